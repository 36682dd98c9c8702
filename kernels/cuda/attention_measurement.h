// What kernels/cuda/attention_benchmark measures: attention over the paged KV
// cache in fp16 beside the device's own copies, in turns.
//
// The cache has as many layers as it takes to exceed the L2 cache several
// times, and each sample goes once through all of them, so that keys and values
// come from memory as they do in a model. The blocks of the sequences lie in
// random order, as they do in a server that has run for a while.
#ifndef ANYPREC_KERNELS_CUDA_ATTENTION_MEASUREMENT_H_
#define ANYPREC_KERNELS_CUDA_ATTENTION_MEASUREMENT_H_

#include <cstddef>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/measurement.h"

namespace anyprec {

// "32x8x128": heads, KV heads, values in a head. INVALID_ARGUMENT quotes what
// is wrong.
absl::StatusOr<AttentionShape> ParseAttentionShape(absl::string_view text);

struct AttentionMeasurementOptions : MeasurementOptions {
  std::vector<AttentionShape> shapes;
  std::vector<int> contexts;  // positions that a sequence's last row attends to
  std::vector<int> batches;   // sequences that decode together, a row each
  // Rows of a single sequence's prompt, the last of its context; contexts that
  // are shorter are passed over.
  std::vector<int> chunks;
};

struct AttentionTiming {
  AttentionShape shape;
  int context = 0;
  int sequences = 0;
  int rows = 0;                      // of each sequence; 1: it decodes
  size_t kv_bytes = 0;               // of the keys and values, each once
  double operations = 0;             // multiplications and additions
  double us = 0;                     // of a layer
  double copy_bytes_per_second = 0;  // bytes read and bytes written

  double bytes_per_second() const { return kv_bytes / us * 1e6; }
  double of_copy() const { return bytes_per_second() / copy_bytes_per_second; }
  double operations_per_second() const { return operations / us * 1e6; }
};

// Reports each attention as it was measured. Returns how many options.stop left
// out. INVALID_ARGUMENT names the option, RESOURCE_EXHAUSTED where a cache does
// not fit in the device's memory.
absl::StatusOr<int> MeasureAttention(
    const AttentionMeasurementOptions& options, CudaStream& stream,
    absl::FunctionRef<void(const AttentionTiming&)> report);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_ATTENTION_MEASUREMENT_H_
