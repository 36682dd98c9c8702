// What the sanitizers are told about emulated threads and the emulator itself.
// Without a sanitizer all of it is empty.
#ifndef ANYPREC_KERNELS_CUDA_EMULATION_SANITIZERS_H_
#define ANYPREC_KERNELS_CUDA_EMULATION_SANITIZERS_H_

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
#endif

namespace anyprec::emulation {

// Hides the emulator's own accesses from TSan for as long as it lives.
class Unseen {
 public:
#if defined(__SANITIZE_THREAD__)
  Unseen() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unseen() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
#else
  Unseen() {}
#endif
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};

// What a thread did before it released `order` happens before what another one
// does after it acquires `order`.
inline void Acquire([[maybe_unused]] void* order) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(order);
#endif
}
inline void Release([[maybe_unused]] void* order) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(order);
#endif
}

}  // namespace anyprec::emulation

#endif  // ANYPREC_KERNELS_CUDA_EMULATION_SANITIZERS_H_
