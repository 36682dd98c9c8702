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
struct PartialResults {
  float* outputs;  // [slots, head_dim]
  float* maxima;   // [slots]
  float* sums;     // [slots]
};

// Slots are [row of the launch, head, split].
__device__ PartialResults Partials(const AttentionArgs& args) {
  const int64_t slots =
      static_cast<int64_t>(args.rows) * args.heads * args.splits;
  float* const maxima = args.scratch + slots * args.kv.head_dim;
  return {args.scratch, maxima, maxima + slots};
}

__device__ int64_t Slot(const AttentionArgs& args, int row, int head,
                        int split) {
  return (static_cast<int64_t>(row) * args.heads + head) * args.splits + split;
}

// The queries of one KV head in one block.
struct QueryTile {
  RowTile rows;
  int kv_head;
  int first_head;
  int heads;  // of the group, at most kMaxTileQueries
  int split_begin;

  __device__ int queries() const { return rows.rows * heads; }
  __device__ int row(int query) const { return query / heads; }
  __device__ int head(int query) const { return first_head + query % heads; }
  // Tokens of the split that `query` sees.
  __device__ int Visible(int query) const {
    const int seen = rows.position + row(query) + 1 - split_begin;
    return seen < 0 ? 0 : seen < kSplit ? seen : kSplit;
  }
};

// Blocks that the heads of one KV head are cut into.
__host__ __device__ int GroupChunks(int heads, int kv_heads) {
  return (heads / kv_heads + kMaxTileQueries - 1) / kMaxTileQueries;
}

__device__ QueryTile ThisTile(const AttentionArgs& args) {
  const int group = args.heads / args.kv.kv_heads;
  const int chunks = GroupChunks(args.heads, args.kv.kv_heads);
  const int chunk = static_cast<int>(blockIdx.y) % chunks;
  QueryTile tile;
  tile.rows = args.sequences.tiles[blockIdx.x];
  tile.kv_head = static_cast<int>(blockIdx.y) / chunks;
  tile.first_head = tile.kv_head * group + chunk * kMaxTileQueries;
  const int heads_left = group - chunk * kMaxTileQueries;
  tile.heads = heads_left < kMaxTileQueries ? heads_left : kMaxTileQueries;
  tile.split_begin = static_cast<int>(blockIdx.z) * kSplit;
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
          tile_.split_begin + token, tile_.kv_head);
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
        const int64_t slot = SlotOf(query);
        Partials(args_).maxima[slot] = maximum;
        Partials(args_).sums[slot] = sum;
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
      Partials(args_).outputs[SlotOf(query) * head_dim_ + i % head_dim_] = sum;
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

  __device__ int64_t SlotOf(int query) const {
    const int row =
        tile_.rows.first_index - args_.first_index + tile_.row(query);
    return Slot(args_, row, tile_.head(query), static_cast<int>(blockIdx.z));
  }

  const AttentionArgs& args_;
  const QueryTile& tile_;
  const int head_dim_;
  const int seen_by_all_;
  const int seen_by_any_;
  SplitShared<kQueries>& shared_;
};

// blockIdx: tile of rows, KV head and chunk of its group, split.
template <typename Element, int kQueries, int kWidth>
__global__ void __launch_bounds__(kThreads)
    AttendToSplitKernel(AttentionArgs args) {
  const QueryTile tile = ThisTile(args);
  if (tile.Visible(tile.queries() - 1) == 0) return;
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

// blockIdx: tile of rows, head.
__global__ void __launch_bounds__(kThreads)
    CombineSplitsKernel(AttentionArgs args) {
  const RowTile tile = args.sequences.tiles[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y);
  const int head_dim = args.kv.head_dim;
  const PartialResults partials = Partials(args);
  for (int i = threadIdx.x; i < tile.rows * head_dim; i += kThreads) {
    const int row = i / head_dim;
    const int splits = (tile.position + row) / kSplit + 1;
    const int64_t slot =
        Slot(args, tile.first_index - args.first_index + row, head, 0);
    float maximum = -INFINITY;
    for (int split = 0; split < splits; ++split) {
      maximum = fmaxf(maximum, partials.maxima[slot + split]);
    }
    float sum = 0;
    float output = 0;
    for (int split = 0; split < splits; ++split) {
      const float weight = expf(partials.maxima[slot + split] - maximum);
      sum = fmaf(weight, partials.sums[slot + split], sum);
      output = fmaf(weight,
                    partials.outputs[(slot + split) * head_dim + i % head_dim],
                    output);
    }
    const int64_t out_row =
        static_cast<int64_t>(tile.first_row + row) * args.heads + head;
    args.y[out_row * head_dim + i % head_dim] = output / sum;
  }
}

template <typename Element, int kQueries>
cudaError_t LaunchSplits(const AttentionArgs& args, cudaStream_t stream) {
  const int chunks = GroupChunks(args.heads, args.kv.kv_heads);
  const dim3 grid = {static_cast<unsigned>(args.sequences.num_tiles),
                     static_cast<unsigned>(args.kv.kv_heads * chunks),
                     static_cast<unsigned>(args.splits)};
  return Launch(args.kv.head_dim % 8 == 0
                    ? AttendToSplitKernel<Element, kQueries, 8>
                    : AttendToSplitKernel<Element, kQueries, 2>,
                grid, kThreads, 0, stream, args);
}

// The fewest queries that every tile's fit into: a single decode of a model
// without query groups should not pay for eight.
template <typename Element>
cudaError_t LaunchSplitsOf(const AttentionArgs& args, cudaStream_t stream) {
  const int queries = args.max_tile_rows *
                      std::min(kMaxTileQueries, args.heads / args.kv.kv_heads);
  if (queries == 1) return LaunchSplits<Element, 1>(args, stream);
  if (queries <= 4) return LaunchSplits<Element, 4>(args, stream);
  return LaunchSplits<Element, kMaxTileQueries>(args, stream);
}

}  // namespace

cudaError_t LaunchAttention(const AttentionArgs& args, cudaStream_t stream) {
  if (args.sequences.num_tiles == 0) return cudaSuccess;
  const cudaError_t error = args.kv.half ? LaunchSplitsOf<__half>(args, stream)
                                         : LaunchSplitsOf<float>(args, stream);
  if (error != cudaSuccess) return error;
  const dim3 grid = {static_cast<unsigned>(args.sequences.num_tiles),
                     static_cast<unsigned>(args.heads), 1};
  return Launch(CombineSplitsKernel, grid, kThreads, 0, stream, args);
}

}  // namespace anyprec
