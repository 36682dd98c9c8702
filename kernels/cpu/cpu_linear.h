// CpuLinear: what all linear layers in CPU memory can do.
#ifndef ANYPREC_KERNELS_CPU_CPU_LINEAR_H_
#define ANYPREC_KERNELS_CPU_CPU_LINEAR_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cpu/huge_pages.h"
#include "kernels/cpu/thread_pool.h"

namespace anyprec {

enum class ComputeMode {
  kInt16,    // int16 products, exact int32 sums; the quick one
  kFloat32,  // fp32 throughout
};

// Memory for packed activations; grows to what the largest call needs. One for
// each thread that calls MatMul.
class MatMulScratch {
 public:
  // 64-byte aligned; valid until the next call.
  absl::StatusOr<uint8_t*> Reserve(size_t bytes);

 private:
  HugePageBuffer buffer_;
};

// Immutable, so safe to read from many threads.
class CpuLinear : public LinearWeights {
 public:
  // Computes the rows of `groups` as Backend::Linear specifies.
  //   x  [rows, k]
  //   y  [rows, n]
  // RESOURCE_EXHAUSTED where scratch memory runs out.
  // REQUIRES: the precision of every group was loaded.
  virtual absl::Status MatMul(ThreadPool& pool,
                              std::span<const RowGroup> groups, const float* x,
                              float* y, bool accumulate,
                              MatMulScratch& scratch) const = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_CPU_LINEAR_H_
