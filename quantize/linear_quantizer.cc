#include "quantize/linear_quantizer.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "kernels/check.h"
#include "kernels/largest_weight.h"
#include "kernels/status_macros.h"
#include "quantize/binary_coded_row_quantizer.h"
#include "quantize/codebook_row_quantizer.h"
#include "quantize/pack.h"

namespace anyprec {
namespace {

// Rows that a thread takes at a time: some milliseconds of work, so that the
// scratch memory allocated for them costs nothing, while small layers still
// spread over all threads.
constexpr size_t kRowsPerTask = 16;

double ThreadSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) +
         1e-9 * static_cast<double>(time.tv_nsec);
}

absl::Status CheckRange(absl::string_view name, std::span<const float> weights,
                        int k) {
  for (size_t i = 0; i < weights.size(); ++i) {
    // Negated, so that NaN fails too.
    if (!(std::abs(weights[i]) <= kLargestFloat16)) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": weight at row ", i / k, ", column ", i % k,
                       " is ", weights[i], ", needed is a number within +-",
                       kLargestFloat16, ", the range of fp16"));
    }
  }
  return absl::OkStatus();
}

std::unique_ptr<RowQuantizer> MakeRowQuantizer(const RowFormat& format) {
  if (format.scheme == Scheme::kCodebooks) {
    return std::make_unique<CodebookRowQuantizer>(format.range);
  }
  return std::make_unique<BinaryCodedRowQuantizer>(format.range,
                                                   format.group_size);
}

void AddError(const RowError& from, RowError& to) {
  for (size_t i = 0; i < to.squared_error.size(); ++i) {
    to.squared_error[i] += from.squared_error[i];
  }
  to.squared_norm += from.squared_norm;
}

}  // namespace

void QuantizationTotals::Add(const QuantizationTotals& other) {
  weights += other.weights;
  stored_values += other.stored_values;
  core_seconds += other.core_seconds;
  AddError(other.error, error);
}

LinearPlanes LinearQuantizer::Allocate(int n, int k) const {
  LinearPlanes layer;
  layer.n = n;
  layer.k = k;
  const PrecisionRange& range = format_.range;
  const size_t rows = n;
  const size_t plane_words = rows * (static_cast<size_t>(k) / 32);
  layer.words.resize(range.parent_bits * plane_words);
  layer.values.resize(rows * format_.ValuesPerRow(k));
  for (int plane = 0; plane < range.parent_bits; ++plane) {
    layer.planes.push_back(layer.words.data() + plane * plane_words);
  }
  const std::vector<size_t> fields = format_.Fields(k);
  auto field = fields.begin();
  std::span<const Float16> rest = layer.values;
  const auto next = [&] {
    const std::span<const Float16> values = rest.first(rows * *field++);
    rest = rest.subspan(values.size());
    return values;
  };
  for (int p = range.seed_bits; p <= range.parent_bits; ++p) {
    const std::span<const Float16> values = next();
    if (format_.scheme == Scheme::kCodebooks) {
      layer.codebooks.push_back({p, values});
    } else {
      layer.scales.push_back({p, format_.group_size, values, next()});
    }
  }
  return layer;
}

absl::StatusOr<LinearPlanes> LinearQuantizer::Quantize(
    absl::string_view name, std::span<const float> weights, int n, int k,
    const SampleWeights& sample_weights,
    const std::function<void(int)>& on_rows, QuantizationTotals& totals) {
  ANYPREC_CHECK(n > 0 && k > 0 && k % 32 == 0);
  ANYPREC_CHECK(weights.size() == static_cast<size_t>(n) * k);
  RETURN_IF_ERROR(CheckRange(name, weights, k));

  LinearPlanes layer = Allocate(n, k);
  const size_t words_per_row = static_cast<size_t>(k) / 32;
  const std::vector<size_t> fields = format_.Fields(k);
  std::vector<RowError> errors(n);
  absl::Mutex mutex;
  double core_seconds = 0;  // guarded by mutex
  const auto quantize_rows = [&](size_t begin, size_t end) {
    const double start = ThreadSeconds();
    const std::unique_ptr<RowQuantizer> quantizer = MakeRowQuantizer(format_);
    std::vector<uint8_t> codes(k);
    std::vector<Float16> stored(format_.ValuesPerRow(k));
    for (size_t row = begin; row < end; ++row) {
      errors[row] = quantizer->Quantize(
          weights.subspan(row * k, k),
          sample_weights.Row(static_cast<int>(row)), codes, stored);
      PackRow(codes, format_.range.parent_bits,
              layer.words.data() + row * words_per_row, n * words_per_row);
      size_t offset = 0;  // of the field in the row
      for (const size_t field : fields) {
        std::copy_n(stored.begin() + offset, field,
                    layer.values.begin() + n * offset + row * field);
        offset += field;
      }
    }
    const double seconds = ThreadSeconds() - start;
    if (on_rows) on_rows(static_cast<int>(end - begin));
    absl::MutexLock lock(&mutex);
    core_seconds += seconds;
  };
  pool_.ParallelFor(n, kRowsPerTask, quantize_rows);

  totals.weights += static_cast<int64_t>(n) * k;
  totals.stored_values += static_cast<int64_t>(layer.values.size());
  totals.core_seconds += core_seconds;
  // In row order: sums that do not depend on the threads.
  for (const RowError& error : errors) AddError(error, totals.error);
  return layer;
}

}  // namespace anyprec
