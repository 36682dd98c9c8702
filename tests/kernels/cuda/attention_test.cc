// Rotation, the paged cache and attention on the emulated device: every group
// and head size, positions around the borders of splits, and results that keep
// their bits whatever order the device takes.
#include "kernels/cuda/attention.cuh"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/emulation/runtime.h"
#include "kernels/reference/reference_backend.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

// Weighted means of values of variance 1, computed in fp32.
constexpr double kFp32Tolerance = 1e-5;
// A key that is one fp32 ulp off may round to the other side: 2^-11 of it.
constexpr double kFp16Tolerance = 2e-3;
constexpr int kSplit = kAttentionSplitTokens;

std::unique_ptr<Backend> Cuda(const CudaBackendOptions& options = {}) {
  auto backend = CreateCudaBackend(options);
  EXPECT_TRUE(backend.ok()) << backend.status();
  return *std::move(backend);
}

size_t QkvWidth(const AttentionShape& shape) {
  return static_cast<size_t>(shape.heads + 2 * shape.kv_heads) * shape.head_dim;
}

// A table of numbers in the range of cosines and sines.
std::vector<float> Rope(int positions, int head_dim) {
  std::vector<float> rope =
      RandomFloats(static_cast<size_t>(positions) * head_dim, 99);
  for (float& value : rope) value = std::sin(value);
  return rope;
}

// Two sequences on one cache of a backend, in a shuffled order of blocks.
class Cache {
 public:
  //   rope  [positions, head_dim]
  Cache(Backend& backend, const AttentionShape& shape, KvType type,
        std::span<const float> rope, uint32_t seed = 1)
      : backend_(backend), shape_(shape), rope_(Upload(backend, rope)) {
    constexpr int kBlockTokens = 16;
    const int positions = static_cast<int>(rope.size()) / shape.head_dim;
    const int blocks_each = positions / kBlockTokens + 1;
    blocks_.resize(2 * blocks_each);
    std::iota(blocks_.begin(), blocks_.end(), 0);
    std::mt19937 generator(seed);
    std::shuffle(blocks_.begin(), blocks_.end(), generator);
    auto kv = backend.AllocateKv({.layers = 1,
                                  .kv_heads = shape.kv_heads,
                                  .head_dim = shape.head_dim,
                                  .block_tokens = kBlockTokens,
                                  .num_blocks = 2 * blocks_each},
                                 type);
    EXPECT_TRUE(kv.ok()) << kv.status();
    kv_ = *std::move(kv);
  }

  // `rows` rows of sequence 0 or 1 at `position`, from row `first_row` on.
  SequenceRows Rows(int sequence, int position, int rows,
                    int first_row = 0) const {
    const size_t half = blocks_.size() / 2;
    return {first_row, rows, position,
            std::span(blocks_).subspan(sequence * half, half)};
  }

  // Appends rows to the cache and does not attend.
  void Append(const SequenceRows& sequence, std::span<const float> qkv) {
    const auto in = Upload(backend_, qkv);
    const absl::Status append = backend_.RopeAndAppendKv(
        shape_, {&sequence, 1}, rope_->data(), 0, *kv_, in->data());
    EXPECT_TRUE(append.ok()) << append;
  }

  // Appends decode rows and attends, as operations of a step.
  std::vector<float> DecodeStep(std::span<const SequenceRows> sequences,
                                std::span<const float> qkv) {
    const size_t rows = qkv.size() / QkvWidth(shape_);
    const size_t size = rows * shape_.heads * shape_.head_dim;
    const auto in = Upload(backend_, qkv);
    const auto out = Upload(backend_, std::vector<float>(size));
    const std::vector<int32_t> tokens(rows);
    const RowGroup group = {0, static_cast<int>(rows), kMinBits};
    const absl::Status step = backend_.RunStep(
        {.tokens = tokens,
         .sequences = sequences,
         .groups = {&group, 1},
         .shape = shape_,
         .kv = kv_.get()},
        [&] {
          absl::Status status = backend_.RopeAndAppendKv(
              shape_, sequences, rope_->data(), 0, *kv_, in->data());
          status.Update(backend_.Attention(shape_, sequences, 0, *kv_,
                                           in->data(), out->data()));
          return status;
        });
    EXPECT_TRUE(step.ok()) << step;
    return Download(backend_, out->data(), size);
  }

  // Appends rows to the cache and attends; rows of no sequence stay NaN.
  std::vector<float> Step(std::span<const SequenceRows> sequences,
                          std::span<const float> qkv) {
    const size_t rows = qkv.size() / QkvWidth(shape_);
    const size_t size = rows * shape_.heads * shape_.head_dim;
    const auto in = Upload(backend_, qkv);
    const auto out = Upload(
        backend_,
        std::vector<float>(size, std::numeric_limits<float>::quiet_NaN()));
    const absl::Status append = backend_.RopeAndAppendKv(
        shape_, sequences, rope_->data(), 0, *kv_, in->data());
    EXPECT_TRUE(append.ok()) << append;
    const absl::Status attention =
        backend_.Attention(shape_, sequences, 0, *kv_, in->data(), out->data());
    EXPECT_TRUE(attention.ok()) << attention;
    return Download(backend_, out->data(), size);
  }

 private:
  Backend& backend_;
  const AttentionShape shape_;
  const std::unique_ptr<Buffer> rope_;
  std::vector<int32_t> blocks_;
  std::unique_ptr<KvStorage> kv_;
};

// A prompt that ends before a split's border, decodes across it beside a
// sequence that begins, and a chunk across the next border.
void ExpectReference(const AttentionShape& shape, KvType type) {
  constexpr int kPositions = 2 * kSplit + 16;
  const auto cuda = Cuda();
  const auto reference = CreateReferenceBackend();
  const std::vector<float> rope = Rope(kPositions, shape.head_dim);
  Cache own(*cuda, shape, type, rope);
  Cache want(*reference, shape, type, rope);
  const std::vector<std::vector<SequenceRows>> steps = {
      {own.Rows(0, 0, kSplit - 2)},
      {own.Rows(0, kSplit - 2, 1), own.Rows(1, 0, 3, 1)},
      {own.Rows(0, kSplit - 1, 1), own.Rows(1, 3, 1, 1)},
      {own.Rows(1, 4, 9), own.Rows(0, kSplit, 1, 9)},
      {own.Rows(0, kSplit + 1, kSplit + 5)},
      {own.Rows(0, 2 * kSplit + 6, 2)},
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    int rows = 0;
    for (const SequenceRows& sequence : steps[i]) rows += sequence.rows;
    const auto qkv = RandomFloats(rows * QkvWidth(shape), i + 1);
    EXPECT_LE(MaxError(own.Step(steps[i], qkv), want.Step(steps[i], qkv)),
              type == KvType::kFloat16 ? kFp16Tolerance : kFp32Tolerance)
        << "step " << i;
  }
}

TEST(CudaAttentionTest, MatchesTheReferenceAtEveryGroupSize) {
  for (const int group : {1, 2, 3, 4, 5, 6, 7, 8, 9, 17}) {
    SCOPED_TRACE(absl::StrCat("groups of ", group));
    ExpectReference({group, 1, 8}, KvType::kFloat32);
  }
}

TEST(CudaAttentionTest, MatchesTheReferenceAtEveryHeadSize) {
  for (const int head_dim : {2, 6, 8, 20, 48, 80, 128, 250, 256}) {
    for (const KvType type : {KvType::kFloat32, KvType::kFloat16}) {
      SCOPED_TRACE(absl::StrCat("heads of ", head_dim));
      ExpectReference({2, 1, head_dim}, type);
    }
  }
}

// The attention of `total` rows of one sequence, chunk after chunk, each beside
// rows of another sequence if `with_mates`.
std::vector<float> InChunks(Backend& backend, const AttentionShape& shape,
                            KvType type, std::span<const int> chunks,
                            bool with_mates, uint32_t block_seed) {
  const int total = std::accumulate(chunks.begin(), chunks.end(), 0);
  const size_t width = QkvWidth(shape);
  const auto qkv = RandomFloats(total * width, 7);
  Cache cache(backend, shape, type, Rope(total, shape.head_dim), block_seed);
  std::vector<float> all;
  int position = 0;
  int mate_position = 0;
  for (const int rows : chunks) {
    const int mate_rows = with_mates ? position % 3 + 1 : 0;
    std::vector<SequenceRows> sequences;
    if (with_mates)
      sequences.push_back(cache.Rows(1, mate_position, mate_rows));
    sequences.push_back(cache.Rows(0, position, rows, mate_rows));
    auto step = RandomFloats(mate_rows * width, position);
    step.insert(step.end(), qkv.begin() + position * width,
                qkv.begin() + (position + rows) * width);
    const auto y = cache.Step(sequences, step);
    const size_t out_width = static_cast<size_t>(shape.heads) * shape.head_dim;
    all.insert(all.end(), y.begin() + mate_rows * out_width, y.end());
    position += rows;
    mate_position += mate_rows;
  }
  return all;
}

TEST(CudaAttentionTest, ARowKeepsItsBitsInAnyChunkOrderAndBlocks) {
  constexpr int kWhole[] = {2 * kSplit + 9};
  // As many rows; the third chunk ends just before a border, the seventh
  // crosses one.
  constexpr int kPieces[] = {1, 1, kSplit - 3, 1, 1, 3, kSplit + 1, 4};
  const struct {
    AttentionShape shape;
    KvType type;
  } cases[] = {{{2, 2, 16}, KvType::kFloat32},
               {{4, 2, 6}, KvType::kFloat16},
               {{5, 1, 24}, KvType::kFloat32},
               {{9, 1, 8}, KvType::kFloat16}};
  for (const auto& [shape, type] : cases) {
    SCOPED_TRACE(absl::StrCat(shape.heads, " heads, ", shape.kv_heads,
                              " kv heads of ", shape.head_dim));
    emulation::SetSeed(0);
    const auto in_order = Cuda();
    const auto want = InChunks(*in_order, shape, type, kWhole, false, 1);
    for (const uint64_t seed : {1, 2}) {
      emulation::SetSeed(seed);
      const auto shuffled = Cuda();
      EXPECT_TRUE(SameBits(
          InChunks(*shuffled, shape, type, kWhole, false, seed), want));
      EXPECT_TRUE(SameBits(
          InChunks(*shuffled, shape, type, kPieces, true, seed + 10), want));
    }
  }
  emulation::SetSeed(1);
}

TEST(CudaAttentionTest, RowsThatTakeTurnsForScratchKeepTheirBits) {
  constexpr int kChunks[] = {kSplit + 40, 3, 2};
  const AttentionShape shape = {4, 2, 8};
  const auto want =
      InChunks(*Cuda(), shape, KvType::kFloat32, kChunks, true, 1);
  for (const size_t bytes : {1, 5000, 20000}) {
    const auto backend = Cuda({.attention_scratch_bytes = bytes});
    EXPECT_TRUE(SameBits(
        InChunks(*backend, shape, KvType::kFloat32, kChunks, true, 1), want))
        << bytes;
  }
}

// There, blocks take slots in turn: of 512 KV heads each has two for the 11.
TEST(CudaAttentionTest, RowsInAGraphHaveTheBitsOfOthers) {
  const struct {
    AttentionShape shape;
    KvType type;
  } cases[] = {{{512, 512, 2}, KvType::kFloat32},
               {{9, 1, 8}, KvType::kFloat16},
               {{4, 2, 16}, KvType::kFloat16},
               {{4, 2, 6}, KvType::kFloat32}};
  for (const auto& [shape, type] : cases) {
    SCOPED_TRACE(absl::StrCat(shape.heads, " heads of ", shape.head_dim));
    constexpr int kBefore = 2 * kSplit - 2;
    const size_t width = QkvWidth(shape);
    std::vector<float> rows[2];
    for (const bool graphs : {false, true}) {
      const auto backend = Cuda({.graphs = graphs});
      Cache cache(*backend, shape, type, Rope(3 * kSplit, shape.head_dim));
      cache.Append(cache.Rows(0, 0, kBefore), RandomFloats(kBefore * width, 1));
      // Two rows of two splits, two of three, and one of another sequence.
      const std::vector<SequenceRows> sequences = {cache.Rows(0, kBefore, 4),
                                                   cache.Rows(1, 0, 1, 4)};
      rows[graphs ? 1 : 0] =
          cache.DecodeStep(sequences, RandomFloats(5 * width, 2));
    }
    EXPECT_TRUE(SameBits(rows[1], rows[0]));
  }
}

TEST(CudaAttentionTest, LeavesRowsOfNoSequence) {
  const auto cuda = Cuda();
  const AttentionShape shape = {2, 1, 8};
  Cache cache(*cuda, shape, KvType::kFloat32, Rope(16, shape.head_dim));
  const SequenceRows rows = cache.Rows(0, 0, 2, 1);
  const auto y = cache.Step({&rows, 1}, RandomFloats(4 * QkvWidth(shape), 1));
  const size_t width = static_cast<size_t>(shape.heads) * shape.head_dim;
  for (size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(std::isnan(y[i]), i < width || i >= 3 * width) << i;
  }
}

TEST(CudaAttentionTest, ASplitWithoutFiniteScoresWeighsNothing) {
  const auto cuda = Cuda();
  const AttentionShape shape = {1, 1, 2};
  constexpr int kRows = kSplit + 3;
  std::vector<float> no_rotation;
  std::vector<float> qkv;
  for (int i = 0; i < kRows; ++i) {
    no_rotation.insert(no_rotation.end(), {1, 0});
    const bool far = i < kSplit;
    const float key = far ? -std::numeric_limits<float>::max() : 1.0f;
    qkv.insert(qkv.end(), {1e3f, 1e3f, key, key, far ? 5.0f : 2.0f, 3.0f});
  }
  Cache cache(*cuda, shape, KvType::kFloat32, no_rotation);
  const SequenceRows rows = cache.Rows(0, 0, kRows);
  const auto y = cache.Step({&rows, 1}, qkv);
  EXPECT_THAT(std::span(y).last(2), testing::ElementsAre(2, 3));
}

}  // namespace
}  // namespace anyprec
