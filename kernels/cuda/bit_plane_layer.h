// Bit-plane layers: from the model file's planes to a GPU's memory.
#ifndef ANYPREC_KERNELS_CUDA_BIT_PLANE_LAYER_H_
#define ANYPREC_KERNELS_CUDA_BIT_PLANE_LAYER_H_

#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/linear_layer.h"
#include "kernels/random_layer.h"

namespace anyprec {

// Stacks `parts` along n and copies them in tile order (weight_tiles.h), each
// plane and each precision's codebooks or scales into an allocation of its own.
// Planes that no precision reads are left out. INVALID_ARGUMENT as
// ValidateBitPlanes() says, RESOURCE_EXHAUSTED.
absl::StatusOr<std::unique_ptr<LinearLayer>> LoadBitPlaneLayer(
    std::span<const QuantizedLinear> parts, CudaStream& stream);

// The same of random weights, made on the device; waits for them.
// INVALID_ARGUMENT as ValidateRandomLayer() and ValidateRandomBits() say.
absl::StatusOr<std::unique_ptr<LinearLayer>> LoadRandomBitPlaneLayer(
    const RandomLayer& layer, int min_bits, int max_bits, CudaStream& stream);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_BIT_PLANE_LAYER_H_
