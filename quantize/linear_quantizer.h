// Quantizes one linear layer, rows in parallel: bit planes, and codebooks or
// scales of every precision.
#ifndef ANYPREC_QUANTIZE_LINEAR_QUANTIZER_H_
#define ANYPREC_QUANTIZE_LINEAR_QUANTIZER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"
#include "kernels/bit_plane.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/types.h"
#include "quantize/row_quantizer.h"
#include "quantize/sensitivity.h"

namespace anyprec {

// A quantized layer W[n, k] in memory of its own. Move-only: it holds views of
// itself, which survive a move but not a copy.
struct LinearPlanes {
  LinearPlanes() = default;
  LinearPlanes(LinearPlanes&&) = default;
  LinearPlanes& operator=(LinearPlanes&&) = default;

  int n = 0;
  int k = 0;
  std::vector<uint32_t> words;          // [parent_bits, n, k / 32]
  std::vector<Float16> values;          // [n, field] of each of a row's fields
  std::vector<const uint32_t*> planes;  // into words
  // Into values; one of the two.
  std::vector<Codebook> codebooks;
  std::vector<GroupScales> scales;

  QuantizedLinear View() const { return {{planes, n, k}, codebooks, scales}; }
};

// What the layers quantized so far cost and lost.
struct QuantizationTotals {
  int64_t weights = 0;
  int64_t stored_values = 0;  // in fp16 beside the planes, of all precisions
  RowError error;             // summed over rows
  double core_seconds = 0;    // time of all threads in quantizing and packing

  void Add(const QuantizationTotals& other);
};

class LinearQuantizer {
 public:
  LinearQuantizer(const RowFormat& format, ThreadPool& pool)
      : format_(format), pool_(pool) {}

  // The result does not depend on the number of threads. `name` is for
  // messages; `totals` grows by this layer; `on_rows`, where set, is called
  // from any thread with the number of rows just finished.
  //   weights [n, k], finite; k a multiple of 32
  // INVALID_ARGUMENT where a weight exceeds fp16's range, naming its place.
  absl::StatusOr<LinearPlanes> Quantize(absl::string_view name,
                                        std::span<const float> weights, int n,
                                        int k,
                                        const SampleWeights& sample_weights,
                                        const std::function<void(int)>& on_rows,
                                        QuantizationTotals& totals);

 private:
  LinearPlanes Allocate(int n, int k) const;

  const RowFormat format_;
  ThreadPool& pool_;
};

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_LINEAR_QUANTIZER_H_
