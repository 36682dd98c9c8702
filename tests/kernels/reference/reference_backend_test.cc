// The reference is what others are tested against; it is itself tested against
// cases small enough to compute by hand and against properties of the formulas.
#include "kernels/reference/reference_backend.h"

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/types.h"

namespace anyprec {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;

class ReferenceBackendTest : public testing::Test {
 protected:
  // Operations read and write plain host memory here.
  std::unique_ptr<Backend> backend_ = CreateReferenceBackend();
};

TEST_F(ReferenceBackendTest, AllocatesZerosAndCopies) {
  auto buffer = backend_->Allocate(3);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ((*buffer)->size(), 3u);
  const std::vector<float> values = {1, 2};
  ASSERT_TRUE(backend_->CopyFromHost(values, (*buffer)->data() + 1).ok());
  auto view = backend_->HostView((*buffer)->data(), 3);
  ASSERT_TRUE(view.ok());
  EXPECT_THAT(*view, ElementsAre(0, 1, 2));
}

TEST_F(ReferenceBackendTest, BitPlanesReadTheCodebookOfTheAskedPrecision) {
  // One row: columns 0, 1, 31 have the codes 6 (binary 110), 3 (011), 7 (111)
  // when all three planes are read, and 3, 1, 3 at 2 bits (the first two).
  const std::vector<uint32_t> plane0 = {1u << 0 | 1u << 31};
  const std::vector<uint32_t> plane1 = {1u << 0 | 1u << 1 | 1u << 31};
  const std::vector<uint32_t> plane2 = {1u << 1 | 1u << 31};
  const std::vector<const uint32_t*> planes = {plane0.data(), plane1.data(),
                                               plane2.data()};
  std::vector<Float16> two_bits;
  for (const float c : {0, 10, 20, 30}) two_bits.push_back(ToFloat16(c));
  std::vector<Float16> three_bits;
  for (const float c : {0, 1, 2, 3, 4, 5, 6, 7}) {
    three_bits.push_back(ToFloat16(c));
  }
  const std::vector<Codebook> codebooks = {{2, two_bits}, {3, three_bits}};
  const QuantizedLinear part = {{planes, 1, 32}, codebooks};
  auto layer = backend_->LoadBitPlanes({&part, 1});
  ASSERT_TRUE(layer.ok()) << layer.status();
  EXPECT_EQ((*layer)->n(), 1);
  EXPECT_EQ((*layer)->k(), 32);
  EXPECT_EQ((*layer)->BytesRead(2), 2 * 4u + 4 * 2u);

  std::vector<float> x(2 * 32, 0);
  x[0] = 1;
  x[1] = 100;
  x[31] = 10000;
  x[32] = 1;
  std::vector<float> y = {-1, -1};
  const std::vector<RowGroup> groups = {{0, 1, 2, Phase::kDecode},
                                        {1, 2, 3, Phase::kPrefill}};
  ASSERT_TRUE(
      backend_->Linear(**layer, groups, x.data(), y.data(), false).ok());
  EXPECT_THAT(y, ElementsAre(30 + 100 * 10 + 10000 * 30, 6));
  ASSERT_TRUE(backend_->Linear(**layer, groups, x.data(), y.data(), true).ok());
  EXPECT_THAT(y, ElementsAre(2 * (30 + 100 * 10 + 10000 * 30), 12));
}

TEST_F(ReferenceBackendTest, DenseTypesHoldTheSameNumbers) {
  const std::vector<float> floats = {1, -2, 0.5f, 4, 0, -8};
  std::vector<Float16> halves;
  std::vector<BFloat16> brains;
  for (const float value : floats) {
    halves.push_back(ToFloat16(value));
    brains.push_back(ToBFloat16(value));
  }
  const std::vector<int8_t> bytes = {2, -4, 1, 1, 0, -2};
  const std::vector<float> scales = {0.5f, 4};
  const std::vector<DenseMatrix> matrices = {
      {DenseMatrix::Type::kFloat32, floats.data(), {}, 2, 3},
      {DenseMatrix::Type::kFloat16, halves.data(), {}, 2, 3},
      {DenseMatrix::Type::kBFloat16, brains.data(), {}, 2, 3},
      {DenseMatrix::Type::kInt8, bytes.data(), scales, 2, 3},
  };
  for (const DenseMatrix& matrix : matrices) {
    auto layer = backend_->LoadDense({&matrix, 1});
    ASSERT_TRUE(layer.ok()) << layer.status();
    const std::vector<float> x = {1, 10, 100};
    std::vector<float> y(2);
    const RowGroup group = {0, 1, 0, Phase::kDecode};
    ASSERT_TRUE(
        backend_->Linear(**layer, {&group, 1}, x.data(), y.data(), false).ok());
    EXPECT_THAT(y, ElementsAre(1 - 20 + 50, 4 - 800));
    const std::vector<int32_t> ids = {1, 0};
    std::vector<float> rows(6);
    ASSERT_TRUE(backend_->Embed(**layer, ids, rows.data()).ok());
    EXPECT_THAT(rows, ElementsAre(4, 0, -8, 1, -2, 0.5f));
  }
}

TEST_F(ReferenceBackendTest, ErrorsNameWhatIsWrong) {
  const std::vector<float> values(6);
  const std::vector<DenseMatrix> parts = {
      {DenseMatrix::Type::kFloat32, values.data(), {}, 2, 3},
      {DenseMatrix::Type::kFloat32, values.data(), {}, 3, 2}};
  const absl::Status status = backend_->LoadDense(parts).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("k = 2"));

  auto layer = backend_->LoadDense({parts.data(), 1});
  ASSERT_TRUE(layer.ok());
  const int32_t id = 2;
  std::vector<float> y(3);
  const absl::Status outside = backend_->Embed(**layer, {&id, 1}, y.data());
  EXPECT_EQ(outside.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(outside.message()), HasSubstr("token id 2"));
}

TEST_F(ReferenceBackendTest, RmsNormScalesToUnitMeanSquareTimesWeight) {
  const std::vector<float> x = {3, -4, 0, 0};  // mean square 25 / 4
  const std::vector<float> weight = {1, 2, 3, 4};
  std::vector<float> y(4);
  ASSERT_TRUE(
      backend_->RmsNorm(x.data(), weight.data(), 1, 4, 0, y.data()).ok());
  EXPECT_THAT(y, ElementsAre(FloatEq(1.2f), FloatEq(-3.2f), 0, 0));
  // epsilon joins the mean square: 6.25 + 93.75 = 10^2.
  ASSERT_TRUE(
      backend_->RmsNorm(x.data(), weight.data(), 1, 4, 93.75f, y.data()).ok());
  EXPECT_THAT(y, ElementsAre(FloatEq(0.3f), FloatEq(-0.8f), 0, 0));
}

TEST_F(ReferenceBackendTest, SiluMulIsGateTimesSigmoidTimesUp) {
  const std::vector<float> gate_up = {0, 2, -2, 100, 5, 3, 3, 2};
  std::vector<float> y(4);
  ASSERT_TRUE(backend_->SiluMul(gate_up.data(), 1, 4, y.data()).ok());
  const float sigmoid = 1 / (1 + std::exp(-2.0f));
  EXPECT_THAT(y, ElementsAre(0, FloatEq(2 * sigmoid * 3),
                             FloatNear(-2 * (1 - sigmoid) * 3, 1e-6), 200));
}

// One layer of a cache of `blocks` blocks of two tokens.
std::unique_ptr<KvStorage> MakeKv(Backend& backend, const AttentionShape& shape,
                                  int blocks, KvType type = KvType::kFloat32) {
  const KvLayout layout = {1, shape.kv_heads, shape.head_dim, 2, blocks};
  auto kv = backend.AllocateKv(layout, type);
  EXPECT_TRUE(kv.ok()) << kv.status();
  return *std::move(kv);
}

TEST_F(ReferenceBackendTest, RopeRotatesPairsAndPreservesNorms) {
  const AttentionShape shape = {1, 1, 4};
  auto kv = MakeKv(*backend_, shape, 2);
  const std::vector<int32_t> blocks = {1, 0};
  // Position 3; cos and sin of the two pairs' angles: 90 and 0 degrees.
  std::vector<float> rope(4 * 4, 0);
  const std::vector<float> quarter_turn = {0, 1, 1, 0};
  std::copy(quarter_turn.begin(), quarter_turn.end(), rope.begin() + 12);
  std::vector<float> qkv = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  const SequenceRows sequence = {0, 1, 3, blocks};
  ASSERT_TRUE(backend_
                  ->RopeAndAppendKv(shape, {&sequence, 1}, rope.data(), 0, *kv,
                                    qkv.data())
                  .ok());
  EXPECT_THAT(qkv, ElementsAre(-3, 2, 1, 4, -7, 6, 5, 8, 9, 10, 11, 12));
}

TEST_F(ReferenceBackendTest, ScoresDependOnDistancesBetweenPositionsAlone) {
  // q and k rotated by the angles of positions p and p + d give the same
  // product for every p: the property that rotary embeddings exist for.
  const AttentionShape shape = {1, 1, 2};
  const float angle = 0.3f;
  std::vector<float> rope;
  for (int position = 0; position < 12; ++position) {
    rope.push_back(std::cos(angle * static_cast<float>(position)));
    rope.push_back(std::sin(angle * static_cast<float>(position)));
  }
  auto kv = MakeKv(*backend_, shape, 6);
  const std::vector<int32_t> blocks = {0, 1, 2, 3, 4, 5};
  std::vector<float> products;
  for (const int position : {0, 4, 9}) {
    std::vector<float> qkv = {1, 2, 3, 4, 0, 0, 1, 2, 3, 4, 0, 0};
    const SequenceRows sequence = {0, 2, position, blocks};
    ASSERT_TRUE(backend_
                    ->RopeAndAppendKv(shape, {&sequence, 1}, rope.data(), 0,
                                      *kv, qkv.data())
                    .ok());
    const float* key = qkv.data() + 2;
    const float* next_query = qkv.data() + 6;
    products.push_back(key[0] * next_query[0] + key[1] * next_query[1]);
  }
  EXPECT_THAT(products, Pointwise(FloatNear(1e-5),
                                  {products[0], products[0], products[0]}));
}

TEST_F(ReferenceBackendTest, AttentionWeightsSumToOne) {
  // Values of all ones come out as ones whatever the scores are.
  const AttentionShape shape = {2, 1, 2};
  auto kv = MakeKv(*backend_, shape, 3);
  const std::vector<int32_t> blocks = {2, 0, 1};
  const std::vector<float> rope(6 * 2, 0.7f);
  std::vector<float> qkv;
  for (int row = 0; row < 5; ++row) {
    const auto r = static_cast<float>(row);
    for (const float value : {r, 1 - r, 2 * r, 3.f, r * r, -r, 1.f, 1.f}) {
      qkv.push_back(value);
    }
  }
  const SequenceRows sequence = {0, 5, 0, blocks};
  ASSERT_TRUE(backend_
                  ->RopeAndAppendKv(shape, {&sequence, 1}, rope.data(), 0, *kv,
                                    qkv.data())
                  .ok());
  std::vector<float> y(5 * 4);
  ASSERT_TRUE(
      backend_->Attention(shape, {&sequence, 1}, 0, *kv, qkv.data(), y.data())
          .ok());
  EXPECT_THAT(y, Pointwise(FloatNear(1e-6), std::vector<float>(20, 1)));
}

TEST_F(ReferenceBackendTest, AttentionIsTheSoftmaxWeightedMeanOfValues) {
  const AttentionShape shape = {1, 1, 2};
  auto kv = MakeKv(*backend_, shape, 1);
  const std::vector<int32_t> blocks = {0};
  const std::vector<float> rope = {1, 0, 1, 0};  // no rotation
  // Scores of the second row: ln 3 for the first key, 0 for the second.
  const float q = std::log(3.0f) * std::sqrt(2.0f);
  std::vector<float> qkv = {0, 0, 1, 0, 8, 4, q, 0, 0, 1, 0, 8};
  const SequenceRows sequence = {0, 2, 0, blocks};
  ASSERT_TRUE(backend_
                  ->RopeAndAppendKv(shape, {&sequence, 1}, rope.data(), 0, *kv,
                                    qkv.data())
                  .ok());
  std::vector<float> y(4);
  ASSERT_TRUE(
      backend_->Attention(shape, {&sequence, 1}, 0, *kv, qkv.data(), y.data())
          .ok());
  // The first row sees itself alone; the second weighs 3 to 1.
  EXPECT_THAT(y, ElementsAre(8, 4, FloatNear(6, 1e-5), FloatNear(5, 1e-5)));
}

TEST_F(ReferenceBackendTest, HalfPrecisionCachesRoundWhatTheyStore) {
  const AttentionShape shape = {1, 1, 2};
  auto kv = MakeKv(*backend_, shape, 1, KvType::kFloat16);
  const std::vector<int32_t> blocks = {0};
  const std::vector<float> rope = {1, 0};
  const float third = 1.0f / 3;
  std::vector<float> qkv = {1, 1, 1, 1, third, 1e6f};
  const SequenceRows sequence = {0, 1, 0, blocks};
  ASSERT_TRUE(backend_
                  ->RopeAndAppendKv(shape, {&sequence, 1}, rope.data(), 0, *kv,
                                    qkv.data())
                  .ok());
  std::vector<float> y(2);
  ASSERT_TRUE(
      backend_->Attention(shape, {&sequence, 1}, 0, *kv, qkv.data(), y.data())
          .ok());
  EXPECT_EQ(y[0], ToFloat(ToFloat16(third)));
  EXPECT_TRUE(std::isinf(y[1]));
}

TEST_F(ReferenceBackendTest, GatherRowsCopiesRows) {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  const std::vector<int32_t> rows = {2, 0};
  std::vector<float> y(4);
  ASSERT_TRUE(backend_->GatherRows(x.data(), rows, 2, y.data()).ok());
  EXPECT_THAT(y, ElementsAre(5, 6, 1, 2));
}

}  // namespace
}  // namespace anyprec
