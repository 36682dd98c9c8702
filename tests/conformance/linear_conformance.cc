// Linear layers: bit planes and dense ones, every precision, awkward shapes,
// groups that mix precisions and phases, and independence of batch mates.
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "tests/conformance/backend_conformance.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

using Type = DenseMatrix::Type;

constexpr Type kDenseTypes[] = {Type::kFloat32, Type::kFloat16, Type::kBFloat16,
                                Type::kInt8};

struct Shape {
  int n;
  int k;
};

std::unique_ptr<LinearWeights> Load(
    absl::StatusOr<std::unique_ptr<LinearWeights>> weights) {
  if (weights.ok()) return *std::move(weights);
  ADD_FAILURE() << weights.status();
  return nullptr;
}

// `weights` times x; rows outside `groups` keep `before`.
std::vector<float> Multiply(Backend& backend, const LinearWeights& weights,
                            std::span<const RowGroup> groups,
                            std::span<const float> x,
                            std::span<const float> before, bool accumulate) {
  auto in = Upload(backend, x);
  auto out = Upload(backend, before);
  const absl::Status status =
      backend.Linear(weights, groups, in->data(), out->data(), accumulate);
  EXPECT_TRUE(status.ok()) << status;
  return Download(backend, out->data(), before.size());
}

// Every backend poisons what it must overwrite.
std::vector<float> Poison(size_t size) {
  return std::vector<float>(size, std::numeric_limits<float>::quiet_NaN());
}

// `own` and `ref` are the same layer in the two backends.
void ExpectSameProducts(const BackendUnderTest& tested, Backend& backend,
                        const LinearWeights& own, Backend& reference,
                        const LinearWeights& ref) {
  for (int precision = 2; precision <= 8; ++precision) {
    for (const int rows : {1, 2, 5, 19}) {
      for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
        const RowGroup group = {0, rows, precision, phase};
        const auto x = RandomFloats(static_cast<size_t>(rows) * own.k(), rows);
        const auto y = Poison(static_cast<size_t>(rows) * own.n());
        const auto got = Multiply(backend, own, {&group, 1}, x, y, false);
        const auto want = Multiply(reference, ref, {&group, 1}, x, y, false);
        EXPECT_LE(MaxError(got, want),
                  tested.bit_plane_tolerance(precision, phase))
            << own.n() << "x" << own.k() << " at " << precision << " bits, "
            << rows << (phase == Phase::kDecode ? " decode" : " prefill")
            << " rows";
      }
    }
  }
}

TEST_P(BackendConformanceTest, BitPlaneLinearMatchesTheReference) {
  constexpr Shape kShapes[] = {{1, 32},   {3, 64},   {16, 512}, {17, 96},
                               {33, 544}, {40, 576}, {5, 1088}, {20, 1536}};
  for (const Shape shape : kShapes) {
    const RandomQuantizedLinear layer(shape.n, shape.k, 2, 8, shape.k);
    const QuantizedLinear view = layer.view();
    auto own = Load(backend_->LoadBitPlanes({&view, 1}));
    auto ref = Load(reference_->LoadBitPlanes({&view, 1}));
    ASSERT_TRUE(own != nullptr && ref != nullptr);
    EXPECT_EQ(own->n(), shape.n);
    EXPECT_EQ(own->k(), shape.k);
    ExpectSameProducts(GetParam(), *backend_, *own, *reference_, *ref);
  }
}

TEST_P(BackendConformanceTest, BinaryCodedLinearMatchesTheReference) {
  struct Case {
    int n, k, group_size;
  };
  // One group, a shorter last one, one of a single word, groups of odd sizes.
  constexpr Case kCases[] = {{1, 32, 32},    {3, 64, 128},   {17, 96, 64},
                             {33, 544, 128}, {40, 576, 128}, {5, 1088, 96},
                             {20, 1536, 32}, {16, 512, 512}};
  for (const Case& c : kCases) {
    SCOPED_TRACE(testing::Message() << "groups of " << c.group_size);
    const RandomQuantizedLinear layer(c.n, c.k, 2, 8, c.k, c.group_size);
    const QuantizedLinear view = layer.view();
    auto own = Load(backend_->LoadBitPlanes({&view, 1}));
    auto ref = Load(reference_->LoadBitPlanes({&view, 1}));
    ASSERT_TRUE(own != nullptr && ref != nullptr);
    EXPECT_EQ(own->n(), c.n);
    EXPECT_EQ(own->k(), c.k);
    ExpectSameProducts(GetParam(), *backend_, *own, *reference_, *ref);
  }
}

TEST_P(BackendConformanceTest, DenseLinearMatchesTheReference) {
  constexpr Shape kShapes[] = {{1, 1},    {1, 32},   {7, 33},   {16, 512},
                               {31, 100}, {65, 576}, {130, 77}, {48, 1100}};
  for (const Type type : kDenseTypes) {
    for (const Shape shape : kShapes) {
      const RandomDense layer(type, shape.n, shape.k, shape.k);
      const DenseMatrix view = layer.view();
      auto own = Load(backend_->LoadDense({&view, 1}));
      auto ref = Load(reference_->LoadDense({&view, 1}));
      ASSERT_TRUE(own != nullptr && ref != nullptr);
      for (const int rows : {1, 2, 3, 7, 16, 29, GetParam().max_dense_rows}) {
        for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
          const RowGroup group = {0, rows, 0, phase};
          const auto x =
              RandomFloats(static_cast<size_t>(rows) * shape.k, rows);
          const auto y = Poison(static_cast<size_t>(rows) * shape.n);
          const auto got = Multiply(*backend_, *own, {&group, 1}, x, y, false);
          const auto want =
              Multiply(*reference_, *ref, {&group, 1}, x, y, false);
          const bool int8_decode =
              type == Type::kInt8 && phase == Phase::kDecode;
          EXPECT_LE(MaxError(got, want), int8_decode
                                             ? GetParam().int8_decode_tolerance
                                             : GetParam().dense_tolerance)
              << "type " << static_cast<int>(type) << ", " << shape.n << "x"
              << shape.k << ", " << rows << " rows";
        }
      }
    }
  }
}

TEST_P(BackendConformanceTest, StackedPartsFollowEachOther) {
  constexpr int kDim = 96;
  const RowGroup group = {0, 4, 3, Phase::kDecode};
  const auto x = RandomFloats(4 * kDim, 4);
  for (const int group_size : {0, 64}) {
    const RandomQuantizedLinear q(24, kDim, 3, 4, 1, group_size);
    const RandomQuantizedLinear k(5, kDim, 3, 4, 2, group_size);
    const RandomQuantizedLinear v(9, kDim, 3, 4, 3, group_size);
    const std::vector<QuantizedLinear> planes = {q.view(), k.view(), v.view()};
    auto own = Load(backend_->LoadBitPlanes(planes));
    auto ref = Load(reference_->LoadBitPlanes(planes));
    ASSERT_TRUE(own != nullptr && ref != nullptr);
    ASSERT_EQ(own->n(), 38);
    EXPECT_LE(
        MaxError(
            Multiply(*backend_, *own, {&group, 1}, x, Poison(4 * 38), false),
            Multiply(*reference_, *ref, {&group, 1}, x, Poison(4 * 38), false)),
        GetParam().bit_plane_tolerance(group.precision, group.phase));
  }
  for (const Type type : kDenseTypes) {
    const RandomDense a(type, 3, kDim, 1);
    const RandomDense b(type, 30, kDim, 2);
    const RandomDense c(type, 5, kDim, 3);
    const std::vector<DenseMatrix> parts = {a.view(), b.view(), c.view()};
    auto own = Load(backend_->LoadDense(parts));
    auto ref = Load(reference_->LoadDense(parts));
    EXPECT_LE(
        MaxError(
            Multiply(*backend_, *own, {&group, 1}, x, Poison(4 * 38), false),
            Multiply(*reference_, *ref, {&group, 1}, x, Poison(4 * 38), false)),
        std::max(GetParam().dense_tolerance, GetParam().int8_decode_tolerance));
  }
}

// Groups of mixed precision and phase, with rows between them in no group.
const std::vector<RowGroup> kMixedGroups = {
    {1, 3, 3, Phase::kDecode},   {3, 4, 8, Phase::kDecode},
    {5, 24, 4, Phase::kPrefill}, {24, 25, 3, Phase::kPrefill},
    {26, 27, 3, Phase::kDecode},
};
constexpr int kMixedRows = 28;

// What Multiply gives when each row of the groups is a call of its own, on a
// backend with one thread.
std::vector<float> RowByRow(Backend& backend, const LinearWeights& weights,
                            std::span<const float> x,
                            std::span<const float> before, bool accumulate) {
  std::vector<float> y(before.begin(), before.end());
  const size_t n = weights.n();
  const size_t k = weights.k();
  for (const RowGroup& group : kMixedGroups) {
    for (int row = group.begin; row < group.end; ++row) {
      const RowGroup alone = {0, 1, group.precision, group.phase};
      const auto result =
          Multiply(backend, weights, {&alone, 1}, x.subspan(row * k, k),
                   before.subspan(row * n, n), accumulate);
      std::copy(result.begin(), result.end(), y.begin() + row * n);
    }
  }
  return y;
}

TEST_P(BackendConformanceTest, LinearRowsDoNotDependOnBatchMatesOrThreads) {
  constexpr Shape kShapes[] = {{1, 32}, {37, 96}, {50, 1120}, {200, 544}};
  for (const Shape shape : kShapes) {
    const RandomQuantizedLinear codebooks(shape.n, shape.k, 2, 8, 5);
    const RandomQuantizedLinear scales(shape.n, shape.k, 2, 8, 5, 64);
    const auto x = RandomFloats(static_cast<size_t>(kMixedRows) * shape.k, 6);
    const auto y = RandomFloats(static_cast<size_t>(kMixedRows) * shape.n, 7);
    for (const bool accumulate : {false, true}) {
      for (const int threads : {1, 3}) {
        auto one = GetParam().create(1);
        auto many = GetParam().create(threads);
        ASSERT_TRUE(one.ok() && many.ok());
        const auto compare = [&](const LinearWeights& alone,
                                 const LinearWeights& together) {
          EXPECT_TRUE(SameBits(
              RowByRow(**one, alone, x, y, accumulate),
              Multiply(**many, together, kMixedGroups, x, y, accumulate)))
              << shape.n << "x" << shape.k << ", " << threads << " threads";
        };
        for (const QuantizedLinear& planes :
             {codebooks.view(), scales.view()}) {
          compare(*Load((*one)->LoadBitPlanes({&planes, 1})),
                  *Load((*many)->LoadBitPlanes({&planes, 1})));
        }
        for (const Type type : kDenseTypes) {
          const RandomDense dense(type, shape.n, shape.k, 8);
          const DenseMatrix view = dense.view();
          compare(*Load((*one)->LoadDense({&view, 1})),
                  *Load((*many)->LoadDense({&view, 1})));
        }
      }
    }
  }
}

TEST_P(BackendConformanceTest, LinearAddsToWhatIsThereAndLeavesOtherRows) {
  constexpr int kN = 21;
  constexpr int kK = 64;
  const auto x = RandomFloats(kMixedRows * kK, 1);
  auto before = RandomFloats(kMixedRows * kN, 2);
  for (const int row : {0, 4, 25, 27}) {
    before[row * kN] = std::numeric_limits<float>::quiet_NaN();
  }
  for (const int group_size : {0, 64}) {
    const RandomQuantizedLinear layer(kN, kK, 2, 8, 5, group_size);
    const QuantizedLinear view = layer.view();
    auto own = Load(backend_->LoadBitPlanes({&view, 1}));
    auto ref = Load(reference_->LoadBitPlanes({&view, 1}));
    ASSERT_TRUE(own != nullptr && ref != nullptr);
    const auto got = Multiply(*backend_, *own, kMixedGroups, x, before, true);
    const auto want =
        Multiply(*reference_, *ref, kMixedGroups, x, before, true);
    double tolerance = 0;
    for (const RowGroup& group : kMixedGroups) {
      tolerance = std::max(tolerance, GetParam().bit_plane_tolerance(
                                          group.precision, group.phase));
    }
    EXPECT_LE(MaxError(got, want), tolerance);
    for (const int row : {0, 4, 25, 27}) {
      EXPECT_TRUE(SameBits(std::span(got).subspan(row * kN, kN),
                           std::span(before).subspan(row * kN, kN)));
    }
    EXPECT_TRUE(
        SameBits(Multiply(*backend_, *own, {}, x, before, false), before));
  }
}

TEST_P(BackendConformanceTest, LinearOfZerosIsZero) {
  const RandomQuantizedLinear layer(18, 96, 2, 8, 5);
  const QuantizedLinear view = layer.view();
  auto planes = Load(backend_->LoadBitPlanes({&view, 1}));
  const RandomDense dense(Type::kInt8, 18, 96, 1);
  const DenseMatrix dense_view = dense.view();
  auto int8 = Load(backend_->LoadDense({&dense_view, 1}));
  const std::vector<float> zeros(3 * 18);
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
    const RowGroup group = {0, 3, 4, phase};
    const std::vector<float> x(3 * 96);
    EXPECT_EQ(
        Multiply(*backend_, *planes, {&group, 1}, x, Poison(3 * 18), false),
        zeros);
    EXPECT_EQ(Multiply(*backend_, *int8, {&group, 1}, x, Poison(3 * 18), false),
              zeros);
  }
}

TEST_P(BackendConformanceTest, EmbedReturnsTheStoredRowsExactly) {
  constexpr int kVocabulary = 77;
  constexpr int kDim = 45;
  const std::vector<int32_t> ids = {0, 76, 3, 3, 40};
  for (const Type type : kDenseTypes) {
    const RandomDense table(type, kVocabulary, kDim, 9);
    const DenseMatrix view = table.view();
    auto own = Load(backend_->LoadDense({&view, 1}));
    auto ref = Load(reference_->LoadDense({&view, 1}));
    auto y_own = Upload(*backend_, Poison(ids.size() * kDim));
    auto y_ref = Upload(*reference_, Poison(ids.size() * kDim));
    ASSERT_TRUE(backend_->Embed(*own, ids, y_own->data()).ok());
    ASSERT_TRUE(reference_->Embed(*ref, ids, y_ref->data()).ok());
    EXPECT_TRUE(
        SameBits(Download(*backend_, y_own->data(), ids.size() * kDim),
                 Download(*reference_, y_ref->data(), ids.size() * kDim)));
    for (const int32_t id : {-1, kVocabulary}) {
      EXPECT_EQ(backend_->Embed(*own, {&id, 1}, y_own->data()).code(),
                absl::StatusCode::kInvalidArgument);
    }
  }
}

TEST_P(BackendConformanceTest, RandomLayersAreTheReferences) {
  // A wrong code is off by 1 / sqrt(k), far beyond the tolerance at high bits.
  for (const RandomLayer layer :
       {RandomLayer{17, 96, 1}, RandomLayer{33, 544, 2}}) {
    auto own = Load(backend_->LoadRandomBitPlanes(layer, 3, 8));
    auto ref = Load(reference_->LoadRandomBitPlanes(layer, 3, 8));
    ASSERT_TRUE(own != nullptr && ref != nullptr);
    for (int precision = 3; precision <= 8; ++precision) {
      const RowGroup group = {0, 2, precision, Phase::kDecode};
      const auto x = RandomFloats(size_t{2} * layer.k, precision);
      const auto y = Poison(size_t{2} * layer.n);
      EXPECT_LE(MaxError(Multiply(*backend_, *own, {&group, 1}, x, y, false),
                         Multiply(*reference_, *ref, {&group, 1}, x, y, false)),
                GetParam().bit_plane_tolerance(precision, group.phase))
          << layer.n << "x" << layer.k << " at " << precision << " bits";
    }
    for (const Type type : {Type::kInt8, Type::kFloat16}) {
      auto own_dense = Load(backend_->LoadRandomDense(layer, type));
      auto ref_dense = Load(reference_->LoadRandomDense(layer, type));
      ASSERT_TRUE(own_dense != nullptr && ref_dense != nullptr);
      const std::vector<int32_t> ids = {0, 5, layer.n - 1};
      const auto poison = Poison(ids.size() * layer.k);
      auto y_own = Upload(*backend_, poison);
      auto y_ref = Upload(*reference_, poison);
      ASSERT_TRUE(backend_->Embed(*own_dense, ids, y_own->data()).ok());
      ASSERT_TRUE(reference_->Embed(*ref_dense, ids, y_ref->data()).ok());
      EXPECT_TRUE(
          SameBits(Download(*backend_, y_own->data(), poison.size()),
                   Download(*reference_, y_ref->data(), poison.size())));
    }
  }
}

TEST_P(BackendConformanceTest, RefusesRandomLayersThatThereAreNone) {
  const auto expect_refused = [](const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  };
  expect_refused(backend_->LoadRandomBitPlanes({0, 64, 1}, 3, 8).status());
  expect_refused(backend_->LoadRandomBitPlanes({4, 65, 1}, 3, 8).status());
  expect_refused(backend_->LoadRandomBitPlanes({4, 64, 1}, 4, 3).status());
  expect_refused(backend_->LoadRandomBitPlanes({4, 64, 1}, 3, 9).status());
  expect_refused(backend_->LoadRandomDense({4, 0, 1}, Type::kFloat16).status());
  expect_refused(
      backend_->LoadRandomDense({4, 64, 1}, Type::kFloat32).status());
}

TEST_P(BackendConformanceTest, LayersSayWhatTheyReadAndHold) {
  constexpr int kN = 64;
  constexpr int kK = 512;
  for (const int group_size : {0, 128}) {
    const RandomQuantizedLinear layer(kN, kK, 3, 6, 1, group_size);
    const QuantizedLinear view = layer.view();
    auto planes = Load(backend_->LoadBitPlanes({&view, 1}));
    ASSERT_TRUE(planes != nullptr);
    for (int precision = 3; precision <= 6; ++precision) {
      const size_t bytes = planes->BytesRead(precision);
      EXPECT_GE(bytes, static_cast<size_t>(precision) * kN * kK / 8);
      EXPECT_LE(bytes, planes->BytesResident());
    }
    EXPECT_LT(planes->BytesRead(3), planes->BytesRead(6));
  }
  const RandomDense dense(Type::kInt8, kN, kK, 1);
  const DenseMatrix dense_view = dense.view();
  auto int8 = Load(backend_->LoadDense({&dense_view, 1}));
  EXPECT_GE(int8->BytesRead(0), static_cast<size_t>(kN) * kK);
}

TEST_P(BackendConformanceTest, RefusesLayersThatDoNotFitTogether) {
  const auto expect_refused = [](const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  };
  expect_refused(backend_->LoadBitPlanes({}).status());
  expect_refused(backend_->LoadDense({}).status());

  const RandomQuantizedLinear a(4, 64, 3, 4, 1);
  const RandomQuantizedLinear other_k(4, 96, 3, 4, 1);
  const RandomQuantizedLinear other_precisions(4, 64, 3, 5, 1);
  std::vector<QuantizedLinear> parts = {a.view(), other_k.view()};
  expect_refused(backend_->LoadBitPlanes(parts).status());
  parts[1] = other_precisions.view();
  expect_refused(backend_->LoadBitPlanes(parts).status());
  // Another scheme, another group size, both schemes, none.
  const RandomQuantizedLinear scales(4, 64, 3, 4, 1, 32);
  const RandomQuantizedLinear other_groups(4, 64, 3, 4, 1, 64);
  parts[1] = scales.view();
  expect_refused(backend_->LoadBitPlanes(parts).status());
  parts = {scales.view(), other_groups.view()};
  expect_refused(backend_->LoadBitPlanes(parts).status());
  parts = {scales.view()};
  parts[0].codebooks = a.view().codebooks;
  expect_refused(backend_->LoadBitPlanes(parts).status());
  parts[0].codebooks = {};
  parts[0].scales = {};
  expect_refused(backend_->LoadBitPlanes(parts).status());

  // A centroid that is no number.
  const RandomQuantizedLinear b(4, 64, 3, 3, 1);
  std::vector<Float16> centroids(32);
  centroids[17] = ToFloat16(std::numeric_limits<float>::infinity());
  const Codebook codebook = {3, centroids};
  QuantizedLinear infinite = b.view();
  infinite.codebooks = {&codebook, 1};
  expect_refused(backend_->LoadBitPlanes({&infinite, 1}).status());

  // Scales of too few groups, of odd groups, and beyond fp16.
  const auto expect_scales_refused = [&](const GroupScales& changed) {
    QuantizedLinear linear = scales.view();
    linear.scales = {&changed, 1};
    expect_refused(backend_->LoadBitPlanes({&linear, 1}).status());
  };
  const GroupScales good = scales.view().scales[0];
  GroupScales changed = good;
  changed.beta = good.beta.subspan(1);
  expect_scales_refused(changed);
  changed = good;
  changed.alpha = good.alpha.subspan(1);
  expect_scales_refused(changed);
  changed = good;
  changed.group_size = 16;
  expect_scales_refused(changed);
  const std::vector<Float16> large(good.alpha.size(), ToFloat16(30000));
  changed = good;
  changed.alpha = large;
  expect_scales_refused(changed);

  const RandomDense dense(Type::kInt8, 4, 64, 1);
  const RandomDense other_type(Type::kFloat16, 4, 64, 1);
  std::vector<DenseMatrix> matrices = {dense.view(), other_type.view()};
  expect_refused(backend_->LoadDense(matrices).status());
  DenseMatrix no_scales = dense.view();
  no_scales.row_scales = {};
  expect_refused(backend_->LoadDense({&no_scales, 1}).status());
}

}  // namespace
}  // namespace anyprec
