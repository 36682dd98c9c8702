// What kernels/cuda/linear_benchmark measures: products of bit-plane layers
// beside cuBLAS in fp16 and beside the device's own copies, in turns, so that
// changing clocks hit all alike.
//
// Layers lie in as many copies as it takes to exceed the L2 cache several
// times, and each sample goes once through all of them, so that weights come
// from memory as they do in a model.
#ifndef ANYPREC_KERNELS_CUDA_LINEAR_MEASUREMENT_H_
#define ANYPREC_KERNELS_CUDA_LINEAR_MEASUREMENT_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/measurement.h"

namespace anyprec {

struct LinearShape {
  int n = 0;
  int k = 0;
};

// "4096x11008": n, then k. INVALID_ARGUMENT quotes what is wrong.
absl::StatusOr<LinearShape> ParseLinearShape(absl::string_view text);

// A layer's copies amount to rotation_bytes at its lowest precision.
struct LinearMeasurementOptions : MeasurementOptions {
  std::vector<LinearShape> shapes;
  std::vector<int> bits;  // within [kMinBits, kMaxBits]
  // M. Up to kMaxDecodeRows are measured as decode rows, more as prefill.
  std::vector<int> rows;
};

inline constexpr int kMaxDecodeRows = 64;

struct LinearTiming {
  LinearShape shape;
  int bits = 0;
  int rows = 0;
  size_t weight_bytes = 0;  // that a product reads: planes and codebook
  double us = 0;            // of a product
  double copy_bytes_per_second = 0;  // bytes read and bytes written
  std::optional<double> cublas_us;   // absent without cuBLAS

  double bytes_per_second() const { return weight_bytes / us * 1e6; }
  double of_copy() const { return bytes_per_second() / copy_bytes_per_second; }
};

// Reports each product as it was measured. `cublas` may be null. Returns how
// many products options.stop left out. INVALID_ARGUMENT names the option,
// RESOURCE_EXHAUSTED where layers do not fit in the device's memory.
absl::StatusOr<int> MeasureLinear(
    const LinearMeasurementOptions& options, Cublas* cublas, CudaStream& stream,
    absl::FunctionRef<void(const LinearTiming&)> report);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_LINEAR_MEASUREMENT_H_
