// Bit-plane layers in device memory, and what their products should be.
#ifndef ANYPREC_TESTS_KERNELS_CUDA_DEVICE_BIT_PLANES_H_
#define ANYPREC_TESTS_KERNELS_CUDA_DEVICE_BIT_PLANES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/bit_plane_weights.h"
#include "tests/kernels/cuda/device_vector.h"

namespace anyprec {

// A copy of a layer in tile order.
class DeviceBitPlanes {
 public:
  explicit DeviceBitPlanes(const QuantizedLinear& layer);
  const BitPlaneWeights& view() const { return view_; }

 private:
  std::vector<DeviceVector<uint32_t>> planes_;
  std::vector<DeviceVector<Float16>> values_;  // codebooks or scales
  BitPlaneWeights view_;
};

// An element of x W^T in double, and the sum of |x| |w| that bounds its error.
struct ExactProduct {
  double value = 0;
  double magnitude = 0;
};

// [rows, n], for x[rows, k].
std::vector<ExactProduct> MultiplyExactly(const QuantizedLinear& layer,
                                          int precision,
                                          std::span<const float> x);

}  // namespace anyprec

#endif  // ANYPREC_TESTS_KERNELS_CUDA_DEVICE_BIT_PLANES_H_
