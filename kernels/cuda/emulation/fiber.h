// Stacks that one OS thread runs in turn. x86-64 only. Not thread-safe.
#ifndef ANYPREC_KERNELS_CUDA_EMULATION_FIBER_H_
#define ANYPREC_KERNELS_CUDA_EMULATION_FIBER_H_

#include <cstddef>
#include <vector>

namespace anyprec::emulation {

// A stack that another one interrupted.
struct Fiber {
  void* stack_pointer = nullptr;
  const void* stack = nullptr;  // its lowest address
  size_t stack_bytes = 0;
  void* sanitizer = nullptr;  // ASan's fake stack or TSan's fiber
};

// Fibers that all begin in one function, which must never return, and the
// scheduler: whoever calls Resume().
class FiberPool {
 public:
  // The fibers begin in `entry`. At most `capacity` of them.
  FiberPool(void (*entry)(), size_t capacity);
  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;

  // Makes fibers up to `count`, and the calling thread the scheduler.
  void Prepare(size_t count);
  size_t size() const { return fibers_.size(); }

  // Runs fiber `index` until it yields.
  void Resume(size_t index);

  // For fiber `index` itself: returns when it is resumed.
  void Yield(size_t index);

  // Must come first in the entry function.
  void Enter();

  // Forgets all fibers where they stand; nothing on their stacks is destroyed.
  void Drop();

 private:
  void (*const entry_)();
  const size_t capacity_;
  char* stacks_ = nullptr;
  std::vector<Fiber> fibers_;
  Fiber scheduler_;
};

}  // namespace anyprec::emulation

#endif  // ANYPREC_KERNELS_CUDA_EMULATION_FIBER_H_
