#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <vector>

namespace anyprec {
namespace {

// A query tile's most rows: max_rows of every instruction set is below.
constexpr int kMaxTileRows = 16;

// The queries [begin, end) of one kv head of one sequence, counted position by
// position: query i is head i % group of the head's group, in row i / group.
struct QueryTile {
  const SequenceRows* sequence;
  int kv_head;
  int begin;
  int end;
};

std::vector<QueryTile> MakeTiles(const AttentionShape& shape,
                                 std::span<const SequenceRows> sequences,
                                 int max_rows) {
  const int group = shape.heads / shape.kv_heads;
  std::vector<QueryTile> tiles;
  for (const SequenceRows& sequence : sequences) {
    const int queries = sequence.rows * group;
    for (int head = 0; head < shape.kv_heads; ++head) {
      for (int begin = 0; begin < queries; begin += max_rows) {
        tiles.push_back(
            {&sequence, head, begin, std::min(queries, begin + max_rows)});
      }
    }
  }
  return tiles;
}

// Working memory of one tile.
struct TileState {
  std::vector<float> queries;  // [head_dim, rows], scaled
  std::vector<float> scores;   // [rows, kKeyChunk]
  std::vector<float> out;      // [rows, value_width]
  float max[kMaxTileRows];
  float sum[kMaxTileRows];
  float rescale[kMaxTileRows];
};

class TileAttention {
 public:
  TileAttention(const CpuKernels& kernels, const AttentionShape& shape,
                int layer, const PagedKv& kv, const QueryTile& tile,
                TileState& state)
      : kernels_(kernels),
        shape_(shape),
        layer_(layer),
        kv_(kv),
        tile_(tile),
        rows_(tile.end - tile.begin),
        group_(shape.heads / shape.kv_heads),
        state_(state) {}

  void Run(const float* qkv, float* y) {
    LoadQueries(qkv);
    // Tiles of the cache that hold positions up to the last query's.
    const int last = Position(rows_ - 1);
    const int block_tokens = kv_.layout().block_tokens;
    const int tiles = last / block_tokens * kv_.tiles_per_block() +
                      last % block_tokens / kPanelRows + 1;
    for (int first = 0; first < tiles; first += kKeyPanels) {
      AttendChunk(Locate(first, std::min(kKeyPanels, tiles - first)));
    }
    StoreResults(y);
  }

 private:
  int Position(int row) const {
    return tile_.sequence->position + (tile_.begin + row) / group_;
  }

  // The index of a query's first float in a matrix of `heads` heads a row.
  size_t HeadOffset(int row, int heads) const {
    const int query = tile_.begin + row;
    const size_t matrix_row = tile_.sequence->first_row + query / group_;
    const int head = tile_.kv_head * group_ + query % group_;
    return (matrix_row * heads + head) * shape_.head_dim;
  }

  void LoadQueries(const float* qkv) {
    const int head_dim = shape_.head_dim;
    const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
    state_.queries.resize(static_cast<size_t>(head_dim) * rows_);
    state_.scores.resize(static_cast<size_t>(rows_) * kKeyChunk);
    state_.out.assign(static_cast<size_t>(rows_) * kv_.value_width(), 0);
    for (int row = 0; row < rows_; ++row) {
      const float* q =
          qkv + HeadOffset(row, shape_.heads + 2 * shape_.kv_heads);
      for (int i = 0; i < head_dim; ++i) {
        state_.queries[i * rows_ + row] = q[i] * scale;
      }
      state_.max[row] = -std::numeric_limits<float>::infinity();
      state_.sum[row] = 0;
    }
  }

  // A chunk of the cache: up to kKeyPanels tiles that follow each other.
  struct Chunk {
    int tiles;
    const void* keys[kKeyPanels];
    const void* values[kKeyPanels];
    int first_position[kKeyPanels];
    int tokens[kKeyPanels];  // 0 from `tiles` on
  };

  Chunk Locate(int first_tile, int tiles) const {
    Chunk chunk = {};
    chunk.tiles = tiles;
    for (int i = 0; i < tiles; ++i) {
      const int index = (first_tile + i) / kv_.tiles_per_block();
      const int tile = (first_tile + i) % kv_.tiles_per_block();
      const int block = tile_.sequence->blocks[index];
      chunk.keys[i] = kv_.keys(layer_, block, tile_.kv_head, tile);
      chunk.values[i] = kv_.values(layer_, block, tile_.kv_head, tile);
      chunk.first_position[i] =
          index * kv_.layout().block_tokens + tile * kPanelRows;
      chunk.tokens[i] = kv_.tile_tokens(tile);
    }
    return chunk;
  }

  // The tokens of the chunk that `row` sees. Empty panels have begin = end = 0.
  KeyRange Visible(const Chunk& chunk, int row) const {
    KeyRange range = {};
    const int seen = Position(row) + 1;
    for (int i = 0; i < kKeyPanels; ++i) {
      range.end[i] =
          std::clamp(seen - chunk.first_position[i], 0, chunk.tokens[i]);
    }
    return range;
  }

  void AttendChunk(const Chunk& chunk) {
    Score(chunk);
    KeyRange ranges[kMaxTileRows];
    for (int row = 0; row < rows_; ++row) {
      ranges[row] = Visible(chunk, row);
      state_.rescale[row] =
          kernels_.softmax(ranges[row], state_.scores.data() + row * kKeyChunk,
                           &state_.max[row], &state_.sum[row]);
    }
    // What the first row sees, all rows see.
    kernels_.accumulate_values(
        kv_.panel_type(), rows_, ranges[0], state_.scores.data(),
        state_.rescale, chunk.values, kv_.value_width(), state_.out.data());
    // The last row sees the most.
    if (SameRange(ranges[0], ranges[rows_ - 1])) return;
    for (int row = 1; row < rows_; ++row) {
      AccumulateRest(ranges[0], ranges[row], row, chunk.values);
    }
  }

  static bool SameRange(const KeyRange& a, const KeyRange& b) {
    return std::equal(std::begin(a.end), std::end(a.end), b.end);
  }

  // Adds the tokens that `row` sees and the first row does not.
  void AccumulateRest(const KeyRange& common, KeyRange range, int row,
                      const void* const* values) {
    if (SameRange(common, range)) return;
    constexpr float kUnchanged = 1;
    std::copy(std::begin(common.end), std::end(common.end), range.begin);
    kernels_.accumulate_values(
        kv_.panel_type(), 1, range, state_.scores.data() + row * kKeyChunk,
        &kUnchanged, values, kv_.value_width(),
        state_.out.data() + static_cast<size_t>(row) * kv_.value_width());
  }

  void Score(const Chunk& chunk) {
    const int most = kernels_.panels_for_rows(rows_);
    for (int first = 0; first < chunk.tiles;) {
      int panels = most;
      while (panels > chunk.tiles - first) panels /= 2;
      kernels_.multiply(kv_.panel_type(), rows_, panels, state_.queries.data(),
                        chunk.keys + first, shape_.head_dim,
                        state_.scores.data() + first * kPanelRows, kKeyChunk);
      first += panels;
    }
  }

  void StoreResults(float* y) const {
    for (int row = 0; row < rows_; ++row) {
      const float* out =
          state_.out.data() + static_cast<size_t>(row) * kv_.value_width();
      const float inverse = 1 / state_.sum[row];
      float* result = y + HeadOffset(row, shape_.heads);
      for (int i = 0; i < shape_.head_dim; ++i) result[i] = out[i] * inverse;
    }
  }

  const CpuKernels& kernels_;
  const AttentionShape& shape_;
  const int layer_;
  const PagedKv& kv_;
  const QueryTile& tile_;
  const int rows_;
  const int group_;
  TileState& state_;
};

}  // namespace

void RopeAndAppend(ThreadPool& pool, const CpuKernels& kernels,
                   const AttentionShape& shape,
                   std::span<const SequenceRows> sequences, const float* rope,
                   int layer, PagedKv& kv, float* qkv) {
  const size_t head_dim = shape.head_dim;
  const size_t width = (shape.heads + 2 * shape.kv_heads) * head_dim;
  const int block_tokens = kv.layout().block_tokens;
  // Some 20 microseconds of work: below, waking threads costs more.
  const size_t grain = std::max<size_t>(1, 32768 / width);
  for (const SequenceRows& sequence : sequences) {
    pool.ParallelFor(sequence.rows, grain, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        float* const q = qkv + (sequence.first_row + i) * width;
        float* const k = q + shape.heads * head_dim;
        const float* const v = k + shape.kv_heads * head_dim;
        const int position = sequence.position + static_cast<int>(i);
        for (int head = 0; head < shape.heads + shape.kv_heads; ++head) {
          kernels.rotate(rope + position * head_dim, shape.head_dim,
                         q + head * head_dim);
        }
        for (int head = 0; head < shape.kv_heads; ++head) {
          kv.Write(kernels, layer, sequence.blocks[position / block_tokens],
                   position % block_tokens, head, k + head * head_dim,
                   v + head * head_dim);
        }
      }
    });
  }
}

void PagedAttention(ThreadPool& pool, const CpuKernels& kernels,
                    const AttentionShape& shape,
                    std::span<const SequenceRows> sequences, int layer,
                    const PagedKv& kv, const float* qkv, float* y) {
  const std::vector<QueryTile> tiles =
      MakeTiles(shape, sequences, kernels.max_rows);
  pool.ParallelFor(tiles.size(), 1, [&](size_t begin, size_t end) {
    thread_local TileState state;
    for (size_t i = begin; i < end; ++i) {
      TileAttention(kernels, shape, layer, kv, tiles[i], state).Run(qkv, y);
    }
  });
}

}  // namespace anyprec
