#include "kernels/cuda/emulation/fiber.h"

#include <sys/mman.h>

#include "kernels/check.h"
#include "kernels/cuda/emulation/sanitizers.h"

namespace anyprec::emulation {
namespace {

// Kernels hold little on their stacks, sanitizers a few times as much.
constexpr size_t kStackBytes = 256 << 10;

// Saves the callee-saved registers on this stack and takes up the other one.
[[gnu::naked, gnu::noinline]] void SwitchStack(void** /*from*/, void* /*to*/) {
  asm("push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15;"
      "mov %rsp, (%rdi); mov %rsi, %rsp;"
      "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret");
}

void Switch(Fiber& from, Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from.sanitizer, to.stack, to.stack_bytes);
#elif defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(to.sanitizer, __tsan_switch_to_fiber_no_sync);
#endif
  SwitchStack(&from.stack_pointer, to.stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.sanitizer, nullptr, nullptr);
#endif
}

}  // namespace

FiberPool::FiberPool(void (*entry)(), size_t capacity)
    : entry_(entry), capacity_(capacity) {
  fibers_.reserve(capacity);  // suspended fibers point into it
}

void FiberPool::Prepare(size_t count) {
  ANYPREC_CHECK(count <= capacity_);
  const size_t bytes = capacity_ * kStackBytes;
  if (stacks_ == nullptr) {
    void* stacks = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ANYPREC_CHECK(stacks != MAP_FAILED);
    stacks_ = static_cast<char*>(stacks);
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(stacks_, bytes);
#endif
  }
  while (fibers_.size() < count) {
    char* stack = stacks_ + fibers_.size() * kStackBytes;
    void** top = reinterpret_cast<void**>(stack + kStackBytes) - 2;
    top[0] = reinterpret_cast<void*>(entry_);  // above: six registers
    fibers_.push_back({top - 6, stack, kStackBytes, nullptr});
#if defined(__SANITIZE_THREAD__)
    fibers_.back().sanitizer = __tsan_create_fiber(0);
#endif
  }
#if defined(__SANITIZE_THREAD__)
  scheduler_.sanitizer = __tsan_get_current_fiber();
#endif
}

void FiberPool::Resume(size_t index) { Switch(scheduler_, fibers_[index]); }

void FiberPool::Yield(size_t index) { Switch(fibers_[index], scheduler_); }

void FiberPool::Enter() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_.stack,
                                  &scheduler_.stack_bytes);
#endif
}

void FiberPool::Drop() {
#if defined(__SANITIZE_THREAD__)
  for (Fiber& fiber : fibers_) __tsan_destroy_fiber(fiber.sanitizer);
#endif
  fibers_.clear();
  if (stacks_ != nullptr) munmap(stacks_, capacity_ * kStackBytes);
  stacks_ = nullptr;
}

}  // namespace anyprec::emulation
