#include "quantize/linear_quantizer.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "kernels/bit_plane.h"
#include "kernels/cpu/thread_pool.h"
#include "quantize/binary_coded_row_quantizer.h"
#include "quantize/codebook_row_quantizer.h"
#include "quantize/row_quantizer.h"
#include "quantize/sensitivity.h"
#include "tests/quantize/random_rows.h"

namespace anyprec {
namespace {

constexpr int kN = 53;  // no multiple of a task's rows
constexpr int kK = 96;

std::vector<float> RandomWeights() {
  std::mt19937 random(1);
  std::vector<float> weights;
  for (int row = 0; row < kN; ++row) {
    const RandomRow values = MakeRandomRow(row % kRowKinds, kK, random);
    weights.insert(weights.end(), values.values.begin(), values.values.end());
  }
  return weights;
}

const RowFormat kCodebooks = {.range = {3, 8}};
// Groups of 64 and 32 columns.
const RowFormat kScales = {
    .range = {3, 8}, .scheme = Scheme::kBinaryCoded, .group_size = 64};

LinearPlanes QuantizeWithThreads(int threads, const RowFormat& format,
                                 const SampleWeights& weights,
                                 QuantizationTotals& totals) {
  ThreadPool pool({.threads = threads});
  LinearQuantizer quantizer(format, pool);
  auto planes = quantizer.Quantize("w", RandomWeights(), kN, kK, weights,
                                   nullptr, totals);
  EXPECT_TRUE(planes.ok()) << planes.status();
  return *std::move(planes);
}

std::vector<uint16_t> Bits(const std::vector<Float16>& values) {
  std::vector<uint16_t> bits;
  for (const Float16 value : values) bits.push_back(value.bits);
  return bits;
}

TEST(LinearQuantizerTest, GivesTheSameWhateverTheNumberOfThreads) {
  for (const RowFormat& format : {kCodebooks, kScales}) {
    QuantizationTotals one_total;
    const LinearPlanes one = QuantizeWithThreads(1, format, {}, one_total);
    for (const int threads : {2, 3, 7}) {
      QuantizationTotals total;
      const LinearPlanes many = QuantizeWithThreads(threads, format, {}, total);
      EXPECT_EQ(many.words, one.words);
      EXPECT_EQ(Bits(many.values), Bits(one.values));
      EXPECT_EQ(total.error.squared_error, one_total.error.squared_error);
      EXPECT_EQ(total.error.squared_norm, one_total.error.squared_norm);
    }
  }
}

TEST(LinearQuantizerTest, StoresWhatTheRowQuantizerFinds) {
  std::mt19937 random(2);
  const std::vector<float> weights = RandomWeights();
  const RandomRow sample = MakeRandomRow(4, kK, random);
  QuantizationTotals totals;
  const LinearPlanes planes = QuantizeWithThreads(
      2, kCodebooks, SampleWeights(sample.sample_weights, kK), totals);
  const QuantizedLinear view = planes.View();
  EXPECT_TRUE(view.scales.empty());
  std::vector<uint8_t> codes(kK);
  std::vector<Float16> codebooks(kCodebooks.ValuesPerRow(kK));
  for (int row = 0; row < kN; ++row) {
    CodebookRowQuantizer(kCodebooks.range)
        .Quantize(std::span(weights).subspan(static_cast<size_t>(row) * kK, kK),
                  sample.sample_weights, codes, codebooks);
    size_t offset = 0;
    for (int p = 3; p <= 8; ++p) {
      const Codebook& codebook = view.codebooks[p - 3];
      ASSERT_EQ(codebook.precision, p);
      for (int c = 0; c < 1 << p; ++c) {
        EXPECT_EQ(codebook.data[(static_cast<size_t>(row) << p) + c].bits,
                  codebooks[offset + c].bits);
      }
      offset += size_t{1} << p;
      for (int column = 0; column < kK; ++column) {
        EXPECT_EQ(CodeAt(view.matrix, p, row, column),
                  codes[column] >> (8 - p));
      }
    }
  }
  EXPECT_EQ(totals.weights, kN * kK);
  EXPECT_EQ(totals.stored_values,
            kN * static_cast<int64_t>(kCodebooks.ValuesPerRow(kK)));
}

TEST(LinearQuantizerTest, StoresTheScalesThatTheRowQuantizerFinds) {
  std::mt19937 random(2);
  const std::vector<float> weights = RandomWeights();
  const RandomRow sample = MakeRandomRow(4, kK, random);
  QuantizationTotals totals;
  const LinearPlanes planes = QuantizeWithThreads(
      2, kScales, SampleWeights(sample.sample_weights, kK), totals);
  const QuantizedLinear view = planes.View();
  EXPECT_TRUE(view.codebooks.empty());
  std::vector<uint8_t> codes(kK);
  std::vector<Float16> stored(kScales.ValuesPerRow(kK));
  for (int row = 0; row < kN; ++row) {
    BinaryCodedRowQuantizer(kScales.range, kScales.group_size)
        .Quantize(std::span(weights).subspan(static_cast<size_t>(row) * kK, kK),
                  sample.sample_weights, codes, stored);
    size_t offset = 0;
    for (int p = 3; p <= 8; ++p) {
      const GroupScales& scales = view.scales[p - 3];
      ASSERT_EQ(scales.precision, p);
      ASSERT_EQ(scales.group_size, 64);
      for (int i = 0; i < 2 * p; ++i) {
        EXPECT_EQ(scales.alpha[static_cast<size_t>(row) * 2 * p + i].bits,
                  stored[offset + i].bits);
      }
      for (int group = 0; group < 2; ++group) {
        EXPECT_EQ(scales.beta[static_cast<size_t>(row) * 2 + group].bits,
                  stored[offset + 2 * p + group].bits);
      }
      offset += 2 * p + 2;
      for (int column = 0; column < kK; ++column) {
        EXPECT_EQ(CodeAt(view.matrix, p, row, column),
                  codes[column] >> (8 - p));
      }
    }
  }
  EXPECT_EQ(totals.stored_values,
            kN * static_cast<int64_t>(kScales.ValuesPerRow(kK)));
}

TEST(LinearQuantizerTest, TakesSampleWeightsRowByRow) {
  std::mt19937 random(3);
  std::vector<float> all;
  for (int row = 0; row < kN; ++row) {
    const RandomRow sample = MakeRandomRow(0, kK, random);
    all.insert(all.end(), sample.sample_weights.begin(),
               sample.sample_weights.end());
  }
  const SampleWeights weights(all, kK);
  for (int row = 0; row < kN; ++row) {
    EXPECT_EQ(weights.Row(row).data()[0], all[static_cast<size_t>(row) * kK]);
    EXPECT_EQ(weights.Row(row).size(), static_cast<size_t>(kK));
  }
  EXPECT_TRUE(SampleWeights().Row(3).empty());
}

TEST(LinearQuantizerTest, NamesTheWeightThatIsOutOfRange) {
  ThreadPool pool({.threads = 1});
  LinearQuantizer quantizer({.range = {3, 4}}, pool);
  for (const float bad :
       {70000.0f, -70000.0f, std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> weights(64, 0.5f);
    weights[32 + 5] = bad;
    QuantizationTotals totals;
    const absl::Status status =
        quantizer.Quantize("model.q", weights, 2, 32, {}, nullptr, totals)
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("model.q: weight at row 1, column 5"),
              absl::string_view::npos)
        << status;
  }
}

}  // namespace
}  // namespace anyprec
