// BitPlaneLinear against plain loops over CodeAt(), on every instruction set
// that this machine has.
#include "kernels/cpu/bit_plane_linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace anyprec {
namespace {

constexpr int kPlanes = 8;

// Random planes and, at every precision from 2 bits on, random codebooks.
class RandomLayer {
 public:
  RandomLayer(int n, int k, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 0.02f);
    words_.resize(kPlanes);
    for (std::vector<uint32_t>& plane : words_) {
      plane.resize(static_cast<size_t>(n) * k / 32);
      for (uint32_t& word : plane) word = static_cast<uint32_t>(random());
      planes_.push_back(plane.data());
    }
    centroids_.resize(kMaxBits + 1);
    for (int p = kMinBits; p <= kMaxBits; ++p) {
      centroids_[p].resize(static_cast<size_t>(n) << p);
      for (Float16& centroid : centroids_[p]) {
        centroid = ToFloat16(normal(random));
      }
      codebooks_.push_back({.precision = p, .data = centroids_[p]});
    }
    linear_ = {.matrix = {.planes = planes_, .n = n, .k = k},
               .codebooks = codebooks_};
  }

  const QuantizedLinear& linear() const { return linear_; }
  QuantizedLinear& linear() { return linear_; }

  std::vector<Float16>& centroids(int precision) {
    return centroids_[precision];
  }

  double Weight(int precision, int row, int column) const {
    const int code = CodeAt(linear_.matrix, precision, row, column);
    return ToFloat(centroids_[precision][(row << precision) + code]);
  }

 private:
  std::vector<std::vector<uint32_t>> words_;
  std::vector<const uint32_t*> planes_;
  std::vector<std::vector<Float16>> centroids_;
  std::vector<Codebook> codebooks_;
  QuantizedLinear linear_;
};

std::vector<float> RandomActivations(int rows, int k, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(rows) * k);
  for (float& value : x) value = normal(random);
  return x;
}

// A way to compute.
struct Variant {
  Isa isa = Isa::kPortable;
  bool amx = false;
  ComputeMode mode = ComputeMode::kInt16;
};

std::string VariantName(const testing::TestParamInfo<Variant>& info) {
  const Variant& variant = info.param;
  const absl::string_view isa = IsaName(variant.isa);
  std::string name(isa.data(), isa.size());
  if (variant.amx) name += "_amx";
  return name + (variant.mode == ComputeMode::kInt16 ? "_int16" : "_float32");
}

std::vector<Variant> AvailableVariants() {
  std::vector<Variant> variants;
  for (const ComputeMode mode : {ComputeMode::kInt16, ComputeMode::kFloat32}) {
    for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
      if (isa > DetectIsa()) continue;
      variants.push_back({isa, /*amx=*/false, mode});
    }
  }
  if (HasAmx()) {
    variants.push_back({Isa::kAvx512, /*amx=*/true, ComputeMode::kInt16});
  }
  return variants;
}

// Where runs of `columns` that share a scale begin, none of them across scale
// blocks of 512 columns, of which the last takes what is left as well; and k.
std::vector<int> Runs(int k, int columns) {
  std::vector<int> runs;
  const int blocks = std::max(1, (k + 63) / 64 / 8);
  for (int block = 0; block < blocks; ++block) {
    const int end = block == blocks - 1 ? k : 512 * (block + 1);
    for (int i = 512 * block; i < end; i += columns) runs.push_back(i);
  }
  runs.push_back(k);
  return runs;
}

// The largest error that the arithmetic allows for one output, from the
// row of weights `w` and activations `x`.
//
// fp32: k roundings of sums no larger than sum |w x|.
// int16: centroids are off by half of largest / 4096, up to 5 bits by half of
// largest / 96; activations of a scale block by half of the scale, which is the
// block's sum of magnitudes / 523000 or its largest / 32767. Prefill may
// instead
//   - round both to bfloat16, whose relative error is 2^-9, on top of the
//     rounding of centroids, or
//   - up to 4 bits, round the activations of 64 columns, with AMX of 192 within
//     a scale block, to their largest / 127.
double Tolerance(const Variant& variant, int precision, Phase phase,
                 const std::vector<double>& w, const float* x,
                 double largest_centroid) {
  const int k = static_cast<int>(w.size());
  double products = 0;
  double magnitudes = 0;
  for (int i = 0; i < k; ++i) {
    products += std::abs(w[i] * x[i]);
    magnitudes += std::abs(x[i]);
  }
  const double rounding = k * 0x1p-24 * products + 1e-30;
  if (variant.mode == ComputeMode::kFloat32) return rounding;
  const double w_error =
      largest_centroid / (precision <= 5 ? 96 : 4096) / 2 * 1.001;
  const bool bytes =
      phase == Phase::kPrefill && precision <= 4 && variant.isa == Isa::kAvx512;
  if (phase == Phase::kPrefill && variant.amx && !bytes) {
    return rounding + w_error * magnitudes * 1.01 + 2 * 0x1p-8 * products;
  }
  double x_error = 0;
  const std::vector<int> runs = Runs(k, bytes ? (variant.amx ? 192 : 64) : k);
  for (size_t run = 0; run + 1 < runs.size(); ++run) {
    const int first = runs[run];
    const int last = runs[run + 1];
    double sum = 0, largest = 0, weights = 0;
    for (int i = first; i < last; ++i) {
      sum += std::abs(x[i]);
      largest = std::max<double>(largest, std::abs(x[i]));
      weights += std::abs(w[i]) + w_error;
    }
    const double scale =
        bytes ? largest / 127 : std::max(sum / 523000, largest / 32767);
    x_error += scale / 2 * 1.001 * weights;
  }
  return rounding + w_error * magnitudes + x_error;
}

class BitPlaneLinearTest : public testing::TestWithParam<Variant> {
 protected:
  std::unique_ptr<BitPlaneLinear> Load(std::span<const QuantizedLinear> parts) {
    const Variant& variant = GetParam();
    auto linear =
        BitPlaneLinear::Create(parts, variant.mode, variant.isa, variant.amx);
    EXPECT_TRUE(linear.ok()) << linear.status();
    return *std::move(linear);
  }

  std::unique_ptr<BitPlaneLinear> Load(const RandomLayer& layer) {
    return Load(std::span(&layer.linear(), 1));
  }

  void MatMul(const BitPlaneLinear& linear, std::span<const RowGroup> groups,
              const std::vector<float>& x, std::vector<float>& y,
              bool accumulate = false, ThreadPool* pool = nullptr) {
    const absl::Status status =
        linear.MatMul(pool == nullptr ? pool_ : *pool, groups, x.data(),
                      y.data(), accumulate, scratch_);
    ASSERT_TRUE(status.ok()) << status;
  }

  // y of all rows of x as one group.
  std::vector<float> Product(const BitPlaneLinear& linear, int precision,
                             Phase phase, const std::vector<float>& x) {
    const int rows = static_cast<int>(x.size()) / linear.k();
    std::vector<float> y(static_cast<size_t>(rows) * linear.n());
    const RowGroup group = {0, rows, precision, phase};
    MatMul(linear, std::span(&group, 1), x, y);
    return y;
  }

  void ExpectMatchesReference(const RandomLayer& layer, int precision,
                              Phase phase, const std::vector<float>& x,
                              const std::vector<float>& y) {
    const int n = layer.linear().matrix.n;
    const int k = layer.linear().matrix.k;
    const int rows = static_cast<int>(x.size()) / k;
    std::vector<double> w(k);
    for (int row = 0; row < n; ++row) {
      double largest = 0;
      for (int i = 0; i < k; ++i) w[i] = layer.Weight(precision, row, i);
      for (int c = 0; c < 1 << precision; ++c) {
        const Codebook& codebook =
            layer.linear().codebooks[precision - kMinBits];
        largest = std::max<double>(
            largest, std::abs(ToFloat(codebook.data[(row << precision) + c])));
      }
      for (int m = 0; m < rows; ++m) {
        const float* const x_row = x.data() + static_cast<size_t>(m) * k;
        double expected = 0;
        for (int i = 0; i < k; ++i) expected += w[i] * x_row[i];
        const double tolerance =
            Tolerance(GetParam(), precision, phase, w, x_row, largest);
        const double error =
            std::abs(y[static_cast<size_t>(m) * n + row] - expected);
        ASSERT_LE(error, tolerance)
            << precision << " bits, " << n << " x " << k << ", row " << m
            << " of " << rows << ", output " << row;
      }
    }
  }

  ThreadPool pool_{{.threads = 2}};
  MatMulScratch scratch_;
};

// Every shape with a few precisions would leave holes, the full product takes
// minutes: each shape meets every precision, batch sizes take turns.
TEST_P(BitPlaneLinearTest, MatchesPlainLoopsAtEveryPrecisionAndShape) {
  constexpr int kDecodeRows[] = {1, 2, 3, 5, 8, 17, 33};
  constexpr int kPrefillRows[] = {1, 7, 64, 129};
  int turn = 0;
  for (const int n : {1, 3, 17, 64}) {
    for (const int k : {32, 64, 96, 480, 512, 544, 576, 1536}) {
      const RandomLayer layer(n, k, 1000 * n + k);
      const auto linear = Load(layer);
      for (int precision = kMinBits; precision <= kMaxBits; ++precision) {
        ++turn;
        const int decode_rows = kDecodeRows[turn % std::size(kDecodeRows)];
        std::vector<float> x = RandomActivations(decode_rows, k, turn);
        ExpectMatchesReference(layer, precision, Phase::kDecode, x,
                               Product(*linear, precision, Phase::kDecode, x));
        const int prefill_rows = kPrefillRows[turn % std::size(kPrefillRows)];
        x = RandomActivations(prefill_rows, k, turn);
        ExpectMatchesReference(layer, precision, Phase::kPrefill, x,
                               Product(*linear, precision, Phase::kPrefill, x));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(BitPlaneLinearTest, RowsDoNotDependOnBatchMates) {
  constexpr int kRows = 70;
  for (const int k : {96, 576, 1536}) {
    const RandomLayer layer(40, k, k);
    const auto linear = Load(layer);
    const std::vector<float> x = RandomActivations(kRows, k, 7);
    for (const int precision : {2, 3, 4, 5, 6, 7, 8}) {
      for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
        const std::vector<float> all = Product(*linear, precision, phase, x);
        for (const int rows : {1, 2, 3, 4, 5, 7, 16, 17, 35, 64}) {
          const int first = kRows - rows;
          const std::vector<float> some(x.begin() + first * k, x.end());
          const std::vector<float> y = Product(*linear, precision, phase, some);
          ASSERT_EQ(0, std::memcmp(y.data(), all.data() + first * linear->n(),
                                   y.size() * sizeof(float)))
              << rows << " rows, " << precision << " bits, k = " << k;
        }
      }
    }
  }
}

TEST_P(BitPlaneLinearTest, ResultDoesNotDependOnThreads) {
  const RandomLayer layer(200, 576, 5);
  const auto linear = Load(layer);
  const std::vector<float> x = RandomActivations(40, 576, 6);
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
    const RowGroup group = {0, 40, 4, phase};
    std::vector<float> expected(40 * 200);
    MatMul(*linear, std::span(&group, 1), x, expected);
    for (const int threads : {1, 3, 5}) {
      ThreadPool pool({.threads = threads});
      std::vector<float> y(40 * 200);
      MatMul(*linear, std::span(&group, 1), x, y, false, &pool);
      ASSERT_EQ(expected, y) << threads << " threads";
    }
  }
}

TEST_P(BitPlaneLinearTest, GroupsOfSeveralPrecisionsShareACall) {
  const RandomLayer layer(33, 544, 11);
  const auto linear = Load(layer);
  const std::vector<float> x = RandomActivations(12, 544, 12);
  const std::vector<RowGroup> groups = {{5, 8, 3, Phase::kDecode},
                                        {0, 2, 8, Phase::kPrefill},
                                        {10, 11, 6, Phase::kDecode},
                                        {4, 4, 4, Phase::kDecode}};
  constexpr float kPoison = -12345.0f;
  std::vector<float> y(12 * 33, kPoison);
  MatMul(*linear, groups, x, y);
  std::vector<bool> covered(12);
  for (const RowGroup& group : groups) {
    for (int row = group.begin; row < group.end; ++row) {
      covered[row] = true;
      const std::vector<float> alone =
          Product(*linear, group.precision, group.phase,
                  {x.begin() + row * 544, x.begin() + (row + 1) * 544});
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), y.begin() + row * 33))
          << "row " << row;
    }
  }
  for (int row = 0; row < 12; ++row) {
    if (covered[row]) continue;
    for (int i = 0; i < 33; ++i) {
      ASSERT_EQ(kPoison, y[row * 33 + i]) << "row " << row << " is in no group";
    }
  }
}

TEST_P(BitPlaneLinearTest, AccumulateAddsToWhatIsThere) {
  const RandomLayer layer(50, 576, 21);
  const auto linear = Load(layer);
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
    const int rows = 21;
    const std::vector<float> x = RandomActivations(rows, 576, 22);
    const std::vector<float> product = Product(*linear, 5, phase, x);
    const std::vector<float> start = RandomActivations(rows, 50, 23);
    std::vector<float> y = start;
    const RowGroup group = {0, rows, 5, phase};
    MatMul(*linear, std::span(&group, 1), x, y, /*accumulate=*/true);
    for (size_t i = 0; i < y.size(); ++i) {
      ASSERT_EQ(start[i] + product[i], y[i]) << "at " << i;
    }
  }
}

TEST_P(BitPlaneLinearTest, StackedPartsGiveTheOutputsOfEach) {
  const RandomLayer a(17, 576, 31);
  const RandomLayer b(5, 576, 32);
  const RandomLayer c(32, 576, 33);
  const QuantizedLinear parts[] = {a.linear(), b.linear(), c.linear()};
  const auto stacked = Load(parts);
  ASSERT_EQ(54, stacked->n());
  const std::vector<float> x = RandomActivations(3, 576, 34);
  for (int precision = kMinBits; precision <= kMaxBits; ++precision) {
    const std::vector<float> y =
        Product(*stacked, precision, Phase::kDecode, x);
    int first = 0;
    for (const RandomLayer* part : {&a, &b, &c}) {
      const int n = part->linear().matrix.n;
      const std::vector<float> alone =
          Product(*Load(*part), precision, Phase::kDecode, x);
      for (int m = 0; m < 3; ++m) {
        for (int i = 0; i < n; ++i) {
          ASSERT_EQ(alone[m * n + i], y[m * 54 + first + i]);
        }
      }
      first += n;
    }
  }
}

TEST_P(BitPlaneLinearTest, OutliersStayWithinTheErrorBound) {
  const int k = 1536;
  const RandomLayer layer(20, k, 41);
  const auto linear = Load(layer);
  std::vector<float> x = RandomActivations(9, k, 42);
  for (int m = 0; m < 9; ++m) {
    x[m * k + 37 * m] = 800.0f;
    x[m * k + 37 * m + 600] = -1e6f;
    x[m * k + k - 1] = 1e-20f;
  }
  for (const int precision : {3, 4, 6, 8}) {
    for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
      ExpectMatchesReference(layer, precision, phase, x,
                             Product(*linear, precision, phase, x));
    }
  }
}

// The int32 sums' worst case: all products of one sign, centroids and
// activations at the ends of their ranges.
TEST_P(BitPlaneLinearTest, LargestSumsDoNotOverflow) {
  for (const int k : {480, 512, 960, 1024}) {
    RandomLayer layer(16, k, 51);
    for (int precision = kMinBits; precision <= kMaxBits; ++precision) {
      for (Float16& c : layer.centroids(precision)) c = ToFloat16(-65504.0f);
    }
    const auto linear = Load(layer);
    for (const float value : {1.0f, -3e4f}) {
      for (const int rows : {1, 16}) {
        const std::vector<float> x(static_cast<size_t>(rows) * k, value);
        for (const int precision : {2, 5, 8}) {
          ExpectMatchesReference(
              layer, precision, Phase::kDecode, x,
              Product(*linear, precision, Phase::kDecode, x));
        }
      }
    }
    // One activation that dominates its block.
    std::vector<float> x(k, 1e-3f);
    x[k / 2] = 1e5f;
    ExpectMatchesReference(layer, 4, Phase::kDecode, x,
                           Product(*linear, 4, Phase::kDecode, x));
  }
}

TEST_P(BitPlaneLinearTest, ZerosAndTinyActivationsGiveFiniteResults) {
  RandomLayer layer(18, 576, 61);
  for (int c = 0; c < 16; ++c) layer.centroids(4)[16 + c] = Float16{};
  const auto linear = Load(layer);
  for (const float value : {0.0f, 1e-42f, 1e-33f}) {
    for (const int rows : {1, 16}) {
      for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
        const std::vector<float> x(rows * 576, value);
        for (const float y : Product(*linear, 4, phase, x)) {
          ASSERT_LE(std::abs(y), 1e-30f);
        }
      }
    }
  }
  const std::vector<float> y =
      Product(*linear, 4, Phase::kDecode, RandomActivations(1, 576, 62));
  EXPECT_EQ(0.0f, y[1]) << "row 1 has only zero centroids";
}

TEST_P(BitPlaneLinearTest, ActivationsThatAreNotFiniteShowInTheirRowOnly) {
  const RandomLayer layer(18, 576, 71);
  const auto linear = Load(layer);
  for (const float bad : {std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
      std::vector<float> x = RandomActivations(9, 576, 72);
      const std::vector<float> clean = Product(*linear, 3, phase, x);
      x[4 * 576 + 100] = bad;
      const std::vector<float> y = Product(*linear, 3, phase, x);
      for (int m = 0; m < 9; ++m) {
        for (int i = 0; i < 18; ++i) {
          if (m == 4) {
            ASSERT_FALSE(std::isfinite(y[m * 18 + i]));
          } else {
            ASSERT_EQ(clean[m * 18 + i], y[m * 18 + i]);
          }
        }
      }
    }
  }
}

TEST_P(BitPlaneLinearTest, PlanesAboveTheHighestCodebookAreNotKept) {
  RandomLayer layer(32, 512, 81);
  layer.linear().codebooks = layer.linear().codebooks.subspan(1, 2);  // 3, 4
  const auto linear = Load(layer);
  EXPECT_TRUE(linear->HasPrecision(3));
  EXPECT_TRUE(linear->HasPrecision(4));
  EXPECT_FALSE(linear->HasPrecision(2));
  EXPECT_FALSE(linear->HasPrecision(5));
  const size_t plane = 32 * 512 / 8;
  EXPECT_EQ(3 * plane + 32 * (8 * 2 + 4), linear->BytesRead(3));
  EXPECT_EQ(4 * plane + 32 * (16 * 2 + 4), linear->BytesRead(4));
  EXPECT_EQ(4 * plane + 32 * (8 * 2 + 4 + 16 * 2 + 4), linear->BytesResident());
}

TEST_P(BitPlaneLinearTest, InvalidPartsAreAnError) {
  const Variant& variant = GetParam();
  const auto status_of = [&](std::span<const QuantizedLinear> parts) {
    return BitPlaneLinear::Create(parts, variant.mode, variant.isa)
        .status()
        .code();
  };
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, status_of({}));
  const RandomLayer a(4, 64, 91);
  const RandomLayer b(4, 96, 92);
  const QuantizedLinear unequal[] = {a.linear(), b.linear()};
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, status_of(unequal));
  RandomLayer infinite(4, 64, 93);
  infinite.centroids(3)[2] = Float16{0x7c00};
  EXPECT_EQ(absl::StatusCode::kInvalidArgument,
            status_of(std::span(&infinite.linear(), 1)));
}

INSTANTIATE_TEST_SUITE_P(Variants, BitPlaneLinearTest,
                         testing::ValuesIn(AvailableVariants()), VariantName);

}  // namespace
}  // namespace anyprec
