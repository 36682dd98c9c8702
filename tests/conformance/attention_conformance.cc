// Rotation, the paged cache and attention: against the reference, and
// independence of chunks, batch mates, threads and of where blocks lie.
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

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "tests/conformance/backend_conformance.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

constexpr int kLayers = 2;

// Cosines and sines for `positions` positions, as the model computes them.
std::vector<float> RopeTable(int positions, int head_dim) {
  std::vector<float> table;
  for (int position = 0; position < positions; ++position) {
    const int half = head_dim / 2;
    std::vector<double> angles(half);
    for (int i = 0; i < half; ++i) {
      angles[i] = position * std::pow(10000.0, -2.0 * i / head_dim);
    }
    for (const double angle : angles) {
      table.push_back(static_cast<float>(std::cos(angle)));
    }
    for (const double angle : angles) {
      table.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return table;
}

// One backend with a cache, fed with sequences piece by piece.
class AttentionRun {
 public:
  AttentionRun(Backend& backend, const AttentionShape& shape, KvType type,
               int block_tokens, int num_blocks, int max_positions)
      : backend_(backend), shape_(shape) {
    const KvLayout layout = {.layers = kLayers,
                             .kv_heads = shape.kv_heads,
                             .head_dim = shape.head_dim,
                             .block_tokens = block_tokens,
                             .num_blocks = num_blocks};
    auto kv = backend.AllocateKv(layout, type);
    EXPECT_TRUE(kv.ok()) << kv.status();
    kv_ = *std::move(kv);
    rope_ = Upload(backend, RopeTable(max_positions, shape.head_dim));
  }

  // Rotates, appends and attends in `layer`. `rotated` receives qkv afterwards.
  std::vector<float> Step(int layer, std::span<const SequenceRows> sequences,
                          std::span<const float> qkv,
                          std::vector<float>* rotated = nullptr) {
    const size_t width = (shape_.heads + 2 * shape_.kv_heads) * shape_.head_dim;
    const size_t rows = qkv.size() / width;
    const size_t size = rows * shape_.heads * shape_.head_dim;
    auto in = Upload(backend_, qkv);
    auto out = Upload(backend_, std::vector<float>(size, NAN));
    const absl::Status append = backend_.RopeAndAppendKv(
        shape_, sequences, rope_->data(), layer, *kv_, in->data());
    EXPECT_TRUE(append.ok()) << append;
    const absl::Status attention = backend_.Attention(
        shape_, sequences, layer, *kv_, in->data(), out->data());
    EXPECT_TRUE(attention.ok()) << attention;
    if (rotated != nullptr) {
      *rotated = Download(backend_, in->data(), qkv.size());
    }
    return Download(backend_, out->data(), size);
  }

  const KvStorage& kv() const { return *kv_; }

 private:
  Backend& backend_;
  const AttentionShape shape_;
  std::unique_ptr<KvStorage> kv_;
  std::unique_ptr<Buffer> rope_;
};

size_t QkvWidth(const AttentionShape& shape) {
  return (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
}

// Blocks [0, count) in a random order, so that tables have holes.
std::vector<int32_t> ShuffledBlocks(int count, uint32_t seed) {
  std::vector<int32_t> blocks(count);
  std::iota(blocks.begin(), blocks.end(), 0);
  std::mt19937 generator(seed);
  std::shuffle(blocks.begin(), blocks.end(), generator);
  return blocks;
}

struct AttentionCase {
  AttentionShape shape;
  KvType type;
  int block_tokens;
};

const std::vector<AttentionCase> kCases = {
    {{1, 1, 2}, KvType::kFloat32, 16},   {{4, 4, 8}, KvType::kFloat32, 16},
    {{6, 2, 16}, KvType::kFloat16, 16},  {{9, 3, 64}, KvType::kFloat32, 16},
    {{9, 3, 64}, KvType::kFloat16, 32},  {{8, 1, 80}, KvType::kFloat32, 16},
    {{8, 2, 128}, KvType::kFloat16, 16}, {{5, 1, 48}, KvType::kFloat32, 5},
    {{14, 2, 24}, KvType::kFloat32, 40},
};

std::string Describe(const AttentionCase& c) {
  return absl::StrCat(c.shape.heads, " heads, ", c.shape.kv_heads,
                      " kv heads of ", c.shape.head_dim, ", ",
                      c.type == KvType::kFloat16 ? "fp16" : "fp32",
                      ", blocks of ", c.block_tokens);
}

TEST_P(BackendConformanceTest, AttentionMatchesTheReference) {
  for (const AttentionCase& c : kCases) {
    SCOPED_TRACE(Describe(c));
    constexpr int kPositions = 300;
    const int num_blocks = 3 * (kPositions / c.block_tokens + 1);
    AttentionRun own(*backend_, c.shape, c.type, c.block_tokens, num_blocks,
                     kPositions);
    AttentionRun ref(*reference_, c.shape, c.type, c.block_tokens, num_blocks,
                     kPositions);
    const std::vector<int32_t> blocks = ShuffledBlocks(num_blocks, 1);
    const std::span<const int32_t> all = blocks;
    const size_t third = num_blocks / 3;
    // Three sequences: a prompt, then decodes and a further chunk side by side.
    std::vector<SequenceRows> sequences = {
        {0, 37, 0, all.subspan(0, third)},
        {37, 1, 0, all.subspan(third, third)},
        {38, 150, 0, all.subspan(2 * third, third)},
    };
    for (int step = 0; step < 3; ++step) {
      const SequenceRows& last = sequences.back();
      const size_t rows = last.first_row + last.rows;
      const auto qkv = RandomFloats(rows * QkvWidth(c.shape), step + 1);
      std::vector<float> rotated_own;
      std::vector<float> rotated_ref;
      for (int layer = 0; layer < kLayers; ++layer) {
        const auto got = own.Step(layer, sequences, qkv, &rotated_own);
        const auto want = ref.Step(layer, sequences, qkv, &rotated_ref);
        EXPECT_LE(MaxError(rotated_own, rotated_ref), GetParam().tolerance);
        // fp16 turns a difference of one fp32 ulp into one of 2^-11 where it
        // falls on a rounding boundary.
        EXPECT_LE(MaxError(got, want),
                  c.type == KvType::kFloat16 ? 2e-3 : GetParam().tolerance);
      }
      for (SequenceRows& sequence : sequences) {
        sequence.position += sequence.rows;
      }
      sequences[0].rows = 1;
      sequences[1] = {1, 20, sequences[1].position, sequences[1].blocks};
      sequences[2] = {21, 3, sequences[2].position, sequences[2].blocks};
    }
  }
}

TEST_P(BackendConformanceTest, AttentionDoesNotDependOnChunksOrBatchMates) {
  for (const AttentionCase& c : kCases) {
    SCOPED_TRACE(Describe(c));
    constexpr int kRows = 170;
    const int blocks_each = kRows / c.block_tokens + 1;
    const auto qkv = RandomFloats(kRows * QkvWidth(c.shape), 3);
    const std::vector<int32_t> blocks = ShuffledBlocks(2 * blocks_each, 2);
    const std::span<const int32_t> own_blocks =
        std::span(blocks).first(blocks_each);
    const std::span<const int32_t> mate_blocks =
        std::span(blocks).last(blocks_each);

    auto one_thread = GetParam().create(1);
    ASSERT_TRUE(one_thread.ok());
    AttentionRun whole(**one_thread, c.shape, c.type, c.block_tokens,
                       2 * blocks_each, kRows);
    const SequenceRows prompt = {0, kRows, 0, own_blocks};
    const auto want = whole.Step(0, {&prompt, 1}, qkv);

    // The same rows in chunks, each beside rows of another sequence.
    AttentionRun chunked(*backend_, c.shape, c.type, c.block_tokens,
                         2 * blocks_each, kRows);
    const size_t width = QkvWidth(c.shape);
    const size_t out_width =
        static_cast<size_t>(c.shape.heads) * c.shape.head_dim;
    int mate_position = 0;
    int position = 0;
    for (const int rows : {1, 1, 13, 2, 60, 1, 29, 63}) {
      const int mate_rows = position % 3 + 1;
      const std::vector<SequenceRows> sequences = {
          {0, mate_rows, mate_position, mate_blocks},
          {mate_rows, rows, position, own_blocks}};
      auto step = RandomFloats(mate_rows * width, position);
      step.insert(step.end(), qkv.begin() + position * width,
                  qkv.begin() + (position + rows) * width);
      const auto got = chunked.Step(0, sequences, step);
      EXPECT_TRUE(SameBits(
          std::span(got).subspan(mate_rows * out_width),
          std::span(want).subspan(position * out_width, rows * out_width)))
          << rows << " rows at " << position;
      mate_position += mate_rows;
      position += rows;
    }
    ASSERT_EQ(position, kRows);
  }
}

TEST_P(BackendConformanceTest, AttentionReadsNothingBeyondItsPosition) {
  // A block that another sequence left full of NaN is handed to a new one.
  const AttentionShape shape = {6, 2, 16};
  AttentionRun run(*backend_, shape, KvType::kFloat32, 16, 4, 64);
  const std::vector<int32_t> blocks = {2, 0, 1};
  const SequenceRows old = {0, 48, 0, blocks};
  run.Step(0, {&old, 1}, std::vector<float>(48 * QkvWidth(shape), NAN));
  const auto qkv = RandomFloats(20 * QkvWidth(shape), 1);
  const SequenceRows fresh = {0, 20, 0, blocks};
  for (const float value : run.Step(0, {&fresh, 1}, qkv)) {
    ASSERT_TRUE(std::isfinite(value));
  }
}

TEST_P(BackendConformanceTest, AttentionToOneKeyReturnsItsValue) {
  const AttentionShape shape = {4, 2, 64};
  AttentionRun run(*backend_, shape, KvType::kFloat32, 16, 1, 1);
  const std::vector<int32_t> blocks = {0};
  const auto qkv = RandomFloats(QkvWidth(shape), 1);
  const SequenceRows sequence = {0, 1, 0, blocks};
  const auto got = run.Step(0, {&sequence, 1}, qkv);
  for (int head = 0; head < 4; ++head) {
    for (int i = 0; i < 64; ++i) {
      EXPECT_NEAR(got[head * 64 + i], qkv[(6 + head / 2) * 64 + i],
                  GetParam().tolerance);
    }
  }
}

TEST_P(BackendConformanceTest, AttentionSurvivesScoresFarApart) {
  const AttentionShape shape = {2, 1, 16};
  AttentionRun own(*backend_, shape, KvType::kFloat32, 16, 20, 300);
  AttentionRun ref(*reference_, shape, KvType::kFloat32, 16, 20, 300);
  std::vector<int32_t> blocks = ShuffledBlocks(20, 1);
  auto qkv = RandomFloats(300 * QkvWidth(shape), 4);
  // Queries and keys, not values: scores reach +-1e4.
  for (size_t i = 0; i < qkv.size(); ++i) {
    if (i % QkvWidth(shape) < 48) qkv[i] *= 50;
  }
  const SequenceRows sequence = {0, 300, 0, blocks};
  // Scores of 1e4 carry an fp32 error of 1e-3, and so do their weights.
  EXPECT_LE(MaxError(own.Step(0, {&sequence, 1}, qkv),
                     ref.Step(0, {&sequence, 1}, qkv)),
            2e-2);
}

TEST_P(BackendConformanceTest, AttentionOfNoSequencesDoesNothing) {
  const AttentionShape shape = {2, 1, 16};
  AttentionRun run(*backend_, shape, KvType::kFloat32, 16, 1, 1);
  EXPECT_TRUE(run.Step(0, {}, {}).empty());
}

TEST_P(BackendConformanceTest, RefusesCachesWithoutASize) {
  for (const KvLayout& layout :
       {KvLayout{0, 1, 8, 16, 4}, KvLayout{1, 0, 8, 16, 4},
        KvLayout{1, 1, 0, 16, 4}, KvLayout{1, 1, 8, 0, 4},
        KvLayout{1, 1, 8, 16, 0}, KvLayout{1, 1, 7, 16, 4}}) {
    EXPECT_EQ(backend_->AllocateKv(layout, KvType::kFloat32).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace anyprec
