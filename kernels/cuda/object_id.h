// Numbers that tell objects apart whose addresses may be used again.
#ifndef ANYPREC_KERNELS_CUDA_OBJECT_ID_H_
#define ANYPREC_KERNELS_CUDA_OBJECT_ID_H_

#include <atomic>
#include <cstdint>

namespace anyprec {

// Another one at every call; never 0. Thread-safe.
inline uint64_t NextObjectId() {
  static std::atomic<uint64_t> next{1};
  return next++;
}

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_OBJECT_ID_H_
