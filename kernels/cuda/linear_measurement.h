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
#include "absl/time/time.h"
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/cuda_stream.h"

namespace anyprec {

struct LinearShape {
  int n = 0;
  int k = 0;
};

// "4096x11008": n, then k. INVALID_ARGUMENT quotes what is wrong.
absl::StatusOr<LinearShape> ParseLinearShape(absl::string_view text);

struct LinearMeasurementOptions {
  std::vector<LinearShape> shapes;
  std::vector<int> bits;  // within [kMinBits, kMaxBits]
  // M. Up to kMaxDecodeRows are measured as decode rows, more as prefill.
  std::vector<int> rows;
  bool graph = false;  // each sample is one CUDA graph
  int repeats = 11;    // samples, of which the median counts
  // That the copies of a layer, at its lowest precision, amount to: several
  // times the L2 cache.
  size_t rotation_bytes = size_t{256} << 20;
  size_t copy_bytes = size_t{256} << 20;     // of a copy, once
  absl::Time stop = absl::InfiniteFuture();  // begin no product after this
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
