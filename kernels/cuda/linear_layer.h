// LinearLayer: what all linear layers in a GPU's memory can do.
//
// Thread-compatible.
#ifndef ANYPREC_KERNELS_CUDA_LINEAR_LAYER_H_
#define ANYPREC_KERNELS_CUDA_LINEAR_LAYER_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/object_id.h"
#include "kernels/cuda/scratch_memory.h"
#include "kernels/cuda/step_table.h"

namespace anyprec {

class LinearLayer : public LinearWeights {
 public:
  // The most that Multiply() takes of its scratch for up to `rows` rows.
  virtual size_t ScratchBytes(int rows) const = 0;

  // Enqueues y = x W^T, or y += x W^T where `accumulate`, for the rows of
  // `group`.
  //   x  [.., k]   y  [.., n]   the whole matrices, of which `group` names rows
  // REQUIRES: the group's precision was loaded.
  virtual absl::Status Multiply(const RowGroup& group, const float* x, float* y,
                                bool accumulate, ScratchMemory& scratch,
                                CudaStream& stream) const = 0;

  // The same for all rows of a step in a table, decode rows; allocates nothing.
  virtual absl::Status MultiplyTable(const StepTableView& table, const float* x,
                                     float* y, bool accumulate,
                                     CudaStream& stream) const = 0;

  // No other layer's.
  uint64_t id() const { return id_; }

 private:
  const uint64_t id_ = NextObjectId();
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_LINEAR_LAYER_H_
