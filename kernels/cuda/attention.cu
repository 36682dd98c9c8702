#include <cmath>
#include <cstdint>

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/kv_element.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace anyprec {
namespace {

constexpr int kWarp = 32;
constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
// Threads that share a token's product with the queries: their loads of 16
// bytes make two whole sectors.
constexpr int kTokenThreads = 4;
constexpr int kSplit = kAttentionSplitTokens;
static_assert(kSplit <= kThreads, "a thread locates a token");

// What one split contributes to one query. The output of n splits whose
// maxima are m_i, sums l_i and outputs o_i is, with m the largest m_i,
//   sum_i exp(m_i - m) o_i / sum_i exp(m_i - m) l_i.
struct PartialResult {
  float* output;  // [head_dim]
  float* maximum;
  float* sum;
};

// In scratch they are [slot of a tile's row, head, split].
__device__ PartialResult Partial(const AttentionArgs& args, const RowTile& tile,
                                 int row, int head, int split) {
  const int64_t splits = AttentionSplits(tile.position + tile.rows);
  const int64_t first = tile.first_slot - args.first_slot + row * splits;
  float* const output =
      args.scratch +
      (first * args.heads + head * splits + split) * (args.kv.head_dim + 2);
  return {output, output + args.kv.head_dim, output + args.kv.head_dim + 1};
}

// The queries of one KV head in one block.
struct QueryTile {
  RowTile rows;
  int kv_head;
  int first_head;
  int heads;  // of the group, at most kMaxTileQueries
  int split;

  __device__ int queries() const { return rows.rows * heads; }
  __device__ int row(int query) const { return query / heads; }
  __device__ int head(int query) const { return first_head + query % heads; }
  __device__ int split_begin() const { return split * kSplit; }
  // Tokens of the split that `query` sees.
  __device__ int Visible(int query) const {
    const int seen = rows.position + row(query) + 1 - split_begin();
    return seen < 0 ? 0 : seen < kSplit ? seen : kSplit;
  }
};

// Blocks that the heads of one KV head are cut into.
__host__ __device__ int GroupChunks(int heads, int kv_heads) {
  return (heads / kv_heads + kMaxTileQueries - 1) / kMaxTileQueries;
}

// `part`: KV head and chunk of its group.
__device__ QueryTile MakeQueryTile(const AttentionArgs& args,
                                   const RowTile& rows, int part, int split) {
  const int group = args.heads / args.kv.kv_heads;
  const int chunks = GroupChunks(args.heads, args.kv.kv_heads);
  const int chunk = part % chunks;
  QueryTile tile;
  tile.rows = rows;
  tile.kv_head = part / chunks;
  tile.first_head = tile.kv_head * group + chunk * kMaxTileQueries;
  const int heads_left = group - chunk * kMaxTileQueries;
  tile.heads = heads_left < kMaxTileQueries ? heads_left : kMaxTileQueries;
  tile.split = split;
  return tile;
}

template <int kQueries>
struct SplitShared {
  alignas(16) float queries[kQueries][kMaxAttentionHeadDim];  // scaled
  // Scores, then exp(score - maximum).
  alignas(16) float weights[kSplit][kQueries];
  int64_t keys[kSplit];  // KeyPiece() of each token
  // Of thread groups that took tokens in turn; a thread holds two values.
  float outputs[kQueries * 2 * kThreads];
};

// One block's work: its stages in the order of their declaration, a barrier
// between each two.
template <typename Element, int kQueries, int kWidth>
class SplitAttention {
 public:
  __device__ SplitAttention(const AttentionArgs& args, const QueryTile& tile)
      : args_(args),
        tile_(tile),
        head_dim_(args.kv.head_dim),
        seen_by_all_(tile.Visible(0)),
        seen_by_any_(tile.Visible(tile.queries() - 1)),
        shared_(StaticShared<SplitShared<kQueries>>()) {}

  // Queries that the tile does not have are zero: they cost nothing more.
  __device__ void LoadQueries() {
    const float scale = 1 / sqrtf(static_cast<float>(head_dim_));
    const int64_t width = args_.heads + 2 * args_.kv.kv_heads;
    for (int i = threadIdx.x; i < kQueries * head_dim_; i += kThreads) {
      const int query = i / head_dim_;
      float value = 0;
      if (query < tile_.queries()) {
        const int64_t row = tile_.rows.first_row + tile_.row(query);
        value = args_.qkv[(row * width + tile_.head(query)) * head_dim_ +
                          i % head_dim_];
      }
      shared_.queries[query][i % head_dim_] = value * scale;
    }
    const int token = threadIdx.x;
    if (token < seen_by_any_) {
      shared_.keys[token] = KeyPiece(
          args_.kv, args_.sequences.block_tables + tile_.rows.first_block,
          tile_.split_begin() + token, tile_.kv_head);
    }
  }

  __device__ void Score() {
    const int part = threadIdx.x % kTokenThreads;
    // All threads go round alike, as the shuffles need whole warps.
    for (int first = 0; first < seen_by_any_;
         first += kThreads / kTokenThreads) {
      const int token = first + static_cast<int>(threadIdx.x) / kTokenThreads;
      float sums[kQueries] = {};
      if (token < seen_by_any_) AddProducts(token, part, sums);
      for (int query = 0; query < kQueries; ++query) {
        sums[query] = WarpSum<kTokenThreads>(sums[query]);
        if (part == 0 && token < seen_by_any_) {
          shared_.weights[token][query] = sums[query];
        }
      }
    }
  }

  // A warp takes a query at a time.
  __device__ void Softmax() {
    const int lane = threadIdx.x % kWarp;
    for (int query = static_cast<int>(threadIdx.x) / kWarp;
         query < tile_.queries(); query += kWarps) {
      const int visible = tile_.Visible(query);
      float maximum = -INFINITY;
      for (int token = lane; token < visible; token += kWarp) {
        maximum = fmaxf(maximum, shared_.weights[token][query]);
      }
      maximum = WarpMax(maximum);
      // Where every score is -infinity each weight is to be zero.
      const float base = maximum == -INFINITY ? 0 : maximum;
      float sum = 0;
      for (int token = lane; token < visible; token += kWarp) {
        const float weight = expf(shared_.weights[token][query] - base);
        shared_.weights[token][query] = weight;
        sum += weight;
      }
      sum = WarpSum(sum);
      if (lane == 0 && visible > 0) {
        *PartialOf(query).maximum = maximum;
        *PartialOf(query).sum = sum;
      }
    }
  }

  // A thread takes two values of each output, for every groups()-th token.
  __device__ void AddValues() {
    const int pairs = head_dim_ / 2;
    const int group = static_cast<int>(threadIdx.x) / pairs;
    const int pair = static_cast<int>(threadIdx.x) % pairs;
    if (group >= groups()) return;
    const auto* const values = static_cast<const Element*>(args_.kv.blocks);
    const int64_t from_key =
        static_cast<int64_t>(args_.kv.kv_heads) * args_.kv.block_tokens;
    const auto value_of = [&](int token) {
      return LoadPair(values + (shared_.keys[token] + from_key) * head_dim_ +
                      2 * pair);
    };
    float sums[kQueries][2] = {};
    int token = group;
    for (; token < seen_by_all_; token += groups()) {
      const float2 value = value_of(token);
      for (int query = 0; query < kQueries; ++query) {
        AddValue(shared_.weights[token][query], value, sums[query]);
      }
    }
    for (; token < seen_by_any_; token += groups()) {
      const float2 value = value_of(token);
      for (int query = 0; query < kQueries; ++query) {
        if (query < tile_.queries() && token < tile_.Visible(query)) {
          AddValue(shared_.weights[token][query], value, sums[query]);
        }
      }
    }
    for (int query = 0; query < kQueries; ++query) {
      float* const to = Output(group, query) + 2 * pair;
      to[0] = sums[query][0];
      to[1] = sums[query][1];
    }
  }

  __device__ void StoreOutputs() {
    for (int i = threadIdx.x; i < tile_.queries() * head_dim_; i += kThreads) {
      const int query = i / head_dim_;
      if (tile_.Visible(query) == 0) continue;
      float sum = 0;
      for (int group = 0; group < groups(); ++group) {
        sum += Output(group, query)[i % head_dim_];
      }
      PartialOf(query).output[i % head_dim_] = sum;
    }
  }

 private:
  // Adds this thread's part of each query's product with a key.
  __device__ void AddProducts(int token, int part, float* sums) const {
    const auto* const key = static_cast<const Element*>(args_.kv.blocks) +
                            shared_.keys[token] * head_dim_;
    for (int i = part * kWidth; i < head_dim_; i += kTokenThreads * kWidth) {
      float values[kWidth];
      LoadElements<kWidth>(key + i, values);
      for (int query = 0; query < kQueries; ++query) {
        for (int j = 0; j < kWidth; ++j) {
          sums[query] =
              fmaf(shared_.queries[query][i + j], values[j], sums[query]);
        }
      }
    }
  }

  __device__ static void AddValue(float weight, float2 value, float* sums) {
    sums[0] = fmaf(weight, value.x, sums[0]);
    sums[1] = fmaf(weight, value.y, sums[1]);
  }

  // Thread groups that take tokens in turn: as many as there are threads for,
  // and a power of two, so that each has equally many of a whole split.
  __device__ int groups() const {
    int groups = kThreads;
    while (groups * head_dim_ / 2 > kThreads) groups /= 2;
    return groups;
  }

  __device__ float* Output(int group, int query) {
    return shared_.outputs + (group * kQueries + query) * head_dim_;
  }

  __device__ PartialResult PartialOf(int query) const {
    return Partial(args_, tile_.rows, tile_.row(query), tile_.head(query),
                   tile_.split);
  }

  const AttentionArgs& args_;
  const QueryTile& tile_;
  const int head_dim_;
  const int seen_by_all_;
  const int seen_by_any_;
  SplitShared<kQueries>& shared_;
};

template <typename Element, int kQueries, int kWidth>
__device__ void AttendToSplit(const AttentionArgs& args,
                              const QueryTile& tile) {
  SplitAttention<Element, kQueries, kWidth> attention(args, tile);
  attention.LoadQueries();
  __syncthreads();
  attention.Score();
  __syncthreads();
  attention.Softmax();
  __syncthreads();
  attention.AddValues();
  __syncthreads();
  attention.StoreOutputs();
}

// blockIdx: tile of rows, KV head and chunk of its group, split.
template <typename Element, int kQueries, int kWidth>
__global__ void __launch_bounds__(kThreads)
    AttendToSplitKernel(AttentionArgs args) {
  const QueryTile tile =
      MakeQueryTile(args, args.sequences.tiles[blockIdx.x],
                    static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z));
  if (tile.Visible(tile.queries() - 1) == 0) return;
  AttendToSplit<Element, kQueries, kWidth>(args, tile);
}

// The last of the tiles whose slots begin at or before `slot`.
__device__ const RowTile& TileOf(const SequenceTilesView& sequences, int slot) {
  int first = 0;
  int count = sequences.num_tiles;
  while (count > 1) {
    const int half = count / 2;
    const bool upper = sequences.tiles[first + half].first_slot <= slot;
    first += upper ? half : 0;
    count = upper ? count - half : half;
  }
  return sequences.tiles[first];
}

// blockIdx: KV head and chunk of its group, first slot. Tiles of at most one
// row, those of none last.
template <typename Element, int kQueries, int kWidth>
__global__ void __launch_bounds__(kThreads)
    AttendToSlotsKernel(AttentionArgs args) {
  const RowTile& last = args.sequences.tiles[args.sequences.num_tiles - 1];
  const int slots = last.first_slot + AttentionSlots(last);
  for (int slot = static_cast<int>(blockIdx.y); slot < slots;
       slot += static_cast<int>(gridDim.y)) {
    const RowTile& rows = TileOf(args.sequences, slot);
    const QueryTile tile = MakeQueryTile(
        args, rows, static_cast<int>(blockIdx.x), slot - rows.first_slot);
    AttendToSplit<Element, kQueries, kWidth>(args, tile);
    __syncthreads();  // before shared memory is written again
  }
}

// blockIdx: tile of rows, head.
__global__ void __launch_bounds__(kThreads)
    CombineSplitsKernel(AttentionArgs args) {
  const RowTile tile = args.sequences.tiles[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y);
  const int head_dim = args.kv.head_dim;
  for (int i = threadIdx.x; i < tile.rows * head_dim; i += kThreads) {
    const int row = i / head_dim;
    const int splits = AttentionSplits(tile.position + row + 1);
    float maximum = -INFINITY;
    for (int split = 0; split < splits; ++split) {
      maximum = fmaxf(maximum, *Partial(args, tile, row, head, split).maximum);
    }
    float sum = 0;
    float output = 0;
    for (int split = 0; split < splits; ++split) {
      const PartialResult partial = Partial(args, tile, row, head, split);
      const float weight = expf(*partial.maximum - maximum);
      sum = fmaf(weight, *partial.sum, sum);
      output = fmaf(weight, partial.output[i % head_dim], output);
    }
    const int64_t out_row =
        static_cast<int64_t>(tile.first_row + row) * args.heads + head;
    args.y[out_row * head_dim + i % head_dim] = output / sum;
  }
}

// A kernel over splits and its grid, by the size of its tiles and elements.
enum class Grid { kSplits, kSlots };

template <Grid kGrid, typename Element, int kQueries>
cudaError_t LaunchSplits(const AttentionArgs& args, dim3 grid,
                         cudaStream_t stream) {
  const auto by_width = [&](auto wide, auto narrow) {
    return Launch(args.kv.head_dim % 8 == 0 ? wide : narrow, grid, kThreads, 0,
                  stream, args);
  };
  if constexpr (kGrid == Grid::kSplits) {
    return by_width(&AttendToSplitKernel<Element, kQueries, 8>,
                    &AttendToSplitKernel<Element, kQueries, 2>);
  } else {
    return by_width(&AttendToSlotsKernel<Element, kQueries, 8>,
                    &AttendToSlotsKernel<Element, kQueries, 2>);
  }
}

// The fewest queries that every tile's fit into: a single decode of a model
// without query groups should not pay for eight.
template <Grid kGrid, typename Element>
cudaError_t LaunchSplitsOf(const AttentionArgs& args, dim3 grid,
                           cudaStream_t stream) {
  const int queries = args.max_tile_rows *
                      std::min(kMaxTileQueries, args.heads / args.kv.kv_heads);
  if (queries == 1) {
    return LaunchSplits<kGrid, Element, 1>(args, grid, stream);
  }
  if (queries <= 4) {
    return LaunchSplits<kGrid, Element, 4>(args, grid, stream);
  }
  return LaunchSplits<kGrid, Element, kMaxTileQueries>(args, grid, stream);
}

template <Grid kGrid>
cudaError_t LaunchBoth(const AttentionArgs& args, dim3 grid,
                       cudaStream_t stream) {
  const cudaError_t error =
      args.kv.half ? LaunchSplitsOf<kGrid, __half>(args, grid, stream)
                   : LaunchSplitsOf<kGrid, float>(args, grid, stream);
  if (error != cudaSuccess) return error;
  const dim3 combine = {static_cast<unsigned>(args.sequences.num_tiles),
                        static_cast<unsigned>(args.heads), 1};
  return Launch(CombineSplitsKernel, combine, kThreads, 0, stream, args);
}

// KV heads, and chunks of their groups.
unsigned Parts(const AttentionArgs& args) {
  return args.kv.kv_heads * GroupChunks(args.heads, args.kv.kv_heads);
}

}  // namespace

cudaError_t LaunchAttention(const AttentionArgs& args, int splits,
                            cudaStream_t stream) {
  if (args.sequences.num_tiles == 0) return cudaSuccess;
  const dim3 grid = {static_cast<unsigned>(args.sequences.num_tiles),
                     Parts(args), static_cast<unsigned>(splits)};
  return LaunchBoth<Grid::kSplits>(args, grid, stream);
}

cudaError_t LaunchDecodeAttention(const AttentionArgs& args, int max_splits,
                                  cudaStream_t stream) {
  // About what fits some 130 multiprocessors at once: 8 blocks each. Fewer
  // would leave some idle; more would begin only to find nothing to do where
  // contexts are short.
  constexpr unsigned kBlocks = 1024;
  const unsigned slots = args.sequences.num_tiles * max_splits;
  const dim3 grid = {Parts(args),
                     std::min(slots, std::max(1u, kBlocks / Parts(args))), 1};
  return LaunchBoth<Grid::kSlots>(args, grid, stream);
}

}  // namespace anyprec
