// Linear layers in a GPU's memory.
//
// Thread-compatible.
#ifndef ANYPREC_KERNELS_CUDA_LINEAR_LAYER_H_
#define ANYPREC_KERNELS_CUDA_LINEAR_LAYER_H_

#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/scratch_memory.h"

namespace anyprec {

class LinearLayer : public LinearWeights {
 public:
  // Enqueues y = x W^T, or y += x W^T where `accumulate`, for the rows of
  // `group`.
  //   x  [.., k]   y  [.., n]   the whole matrices, of which `group` names rows
  virtual absl::Status Multiply(const RowGroup& group, const float* x, float* y,
                                bool accumulate, ScratchMemory& scratch,
                                CudaStream& stream) const = 0;
};

// Copies a layer into tile order (weight_tiles.h), each plane and codebook into
// an allocation of its own; planes that no precision reads are left out.
// INVALID_ARGUMENT as ValidateBitPlanes() says, RESOURCE_EXHAUSTED.
absl::StatusOr<std::unique_ptr<LinearLayer>> LoadBitPlaneLayer(
    std::span<const QuantizedLinear> parts, CudaStream& stream);

// A layer whose weights are stored as numbers.
class DenseLayer : public LinearLayer {
 public:
  // Enqueues y[i] = W[ids[i]]; `ids` [count] in device memory.
  virtual absl::Status Embed(const int32_t* ids, int count, float* y,
                             CudaStream& stream) const = 0;
};

// INVALID_ARGUMENT as ValidateDense() says, RESOURCE_EXHAUSTED.
absl::StatusOr<std::unique_ptr<DenseLayer>> LoadDenseLayer(
    std::span<const DenseMatrix> parts, CudaStream& stream);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_LINEAR_LAYER_H_
