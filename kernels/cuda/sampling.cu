#include <bit>
#include <cfloat>
#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sampling.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace anyprec {
namespace {

constexpr int kWarp = 32;
// Each warp finds the largest logit of a block.
constexpr int kMaximaWarps = 8;
// A row's draw is up to some tens of passes over the blocks that matter, one
// after the other: sixteen warps keep a pass of a whole row short, and the sum
// over them as well.
constexpr int kDrawThreads = 512;
constexpr int kDrawWarps = kDrawThreads / kWarp;

// blockIdx: draw, blocks of logits. A block that holds an infinity or NaN has
// the maximum infinity.
__global__ void __launch_bounds__(kMaximaWarps* kWarp)
    BlockMaximaKernel(const float* x, const PreparedDraw* draws, int n,
                      int blocks, float* maxima) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int block =
      static_cast<int>(blockIdx.y * kMaximaWarps + threadIdx.x / kWarp);
  if (block >= blocks) return;
  x += static_cast<int64_t>(draws[blockIdx.x].row) * n;
  float max = -INFINITY;
  for (int i = lane; i < kLogitBlock; i += kWarp) {
    const int token = block * kLogitBlock + i;
    if (token >= n) break;
    // False for NaN, too.
    max = fabsf(x[token]) < INFINITY ? fmaxf(max, x[token]) : INFINITY;
    if (max == INFINITY) break;
  }
  max = WarpMax(max);
  if (lane == 0)
    maxima[static_cast<int64_t>(blockIdx.x) * blocks + block] = max;
}

// Floats as integers of the same order; both zeros are one.
__device__ uint32_t KeyOf(float value) {
  const uint32_t bits = value == 0 ? 0 : std::bit_cast<uint32_t>(value);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}

__device__ float ValueOf(uint32_t key) {
  return std::bit_cast<float>(key >> 31 != 0 ? key & 0x7fffffffu : ~key);
}

__device__ uint32_t DeviceWeightOf(float logit, const WeightScale& weights) {
  const float x = fmaxf((logit - weights.max) * weights.scale, kLeastExponent);
  const float shifted = x + kRoundingShift;
  const float f = x - (shifted - kRoundingShift);
  float p = Exp2Term(kExp2Degree);
#pragma unroll
  for (int i = kExp2Degree - 1; i >= 0; --i) p = fmaf(p, f, Exp2Term(i));
  const uint32_t bits = std::bit_cast<uint32_t>(p * kWeightOne) +
                        (std::bit_cast<uint32_t>(shifted) << 23);
  return static_cast<uint32_t>(rintf(std::bit_cast<float>(bits)));
}

struct Sum {
  __device__ uint64_t operator()(uint64_t a, uint64_t b) const { return a + b; }
};
struct Max {
  __device__ uint64_t operator()(uint64_t a, uint64_t b) const {
    return a > b ? a : b;
  }
};
struct Min {
  __device__ uint64_t operator()(uint64_t a, uint64_t b) const {
    return a < b ? a : b;
  }
};

struct ReduceShared {
  uint64_t warps[2][kDrawWarps];
};

// Reductions over the block's threads, who all call them together; the result
// is every thread's. Two arrays take turns: who writes to one knows by the
// barrier of the other that all have read it.
class BlockReduction {
 public:
  template <class Op>
  __device__ uint64_t operator()(uint64_t value, Op op) {
    uint64_t* const warps = StaticShared<ReduceShared>().warps[turn_];
    turn_ = 1 - turn_;
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
      value = op(value, __shfl_xor_sync(~0u, value, distance));
    }
    if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = value;
    __syncthreads();
    value = warps[0];
    for (int warp = 1; warp < kDrawWarps; ++warp) {
      value = op(value, warps[warp]);
    }
    return value;
  }

 private:
  int turn_ = 0;
};

// Keeps what is likelier than `logit`, and the tokens that are as likely up to
// `last_equal`.
struct Cut {
  float logit = -INFINITY;
  int last_equal = 0;

  __device__ bool Keeps(float value, int token) const {
    return value > logit || (value == logit && token <= last_equal);
  }
};

struct DrawShared {
  float logits[kFewTokens];  // of the tokens that are kept, by id
  int32_t tokens[kFewTokens];
};

struct ScanShared {
  uint64_t warps[kDrawWarps];
};

// One draw, by all of a block's threads together. What differs from thread to
// thread has "own" in its name.
class RowDraw {
 public:
  __device__ RowDraw(const float* logits, const float* maxima, int n,
                     int blocks, const PreparedDraw& draw, uint64_t* ends)
      : logits_(logits),
        maxima_(maxima),
        n_(n),
        blocks_(blocks),
        draw_(draw),
        ends_(ends) {}

  __device__ int32_t Draw() {
    uint64_t own_key = 0;
    for (int b = static_cast<int>(threadIdx.x); b < blocks_;
         b += kDrawThreads) {
      own_key = Max()(own_key, KeyOf(maxima_[b]));
    }
    const float max = ValueOf(static_cast<uint32_t>(reduce_(own_key, Max())));
    if (max == INFINITY) return kNotFinite;
    if (draw_.greedy) return FirstOf(max);
    weights_ = {max, draw_.scale};
    const Cut kept = FindCut();
    const uint64_t count = CountOf(kept);
    return count <= kFewTokens ? DrawFromFew(kept, static_cast<int>(count))
                               : DrawFromMany(kept);
  }

 private:
  // The sum of own_value(logit, token) over the blocks that reach `least`. A
  // warp takes every kDrawWarps-th of them, as likely tokens stand together.
  template <class Value>
  __device__ uint64_t SumOver(float least, const Value& own_value) {
    const int lane = static_cast<int>(threadIdx.x % kWarp);
    const int warp = static_cast<int>(threadIdx.x / kWarp);
    uint64_t own_sum = 0;
    for (int first = warp; first < blocks_; first += kDrawThreads) {
      const int own_block = first + lane * kDrawWarps;
      const bool reaches = own_block < blocks_ && maxima_[own_block] >= least;
      for (unsigned left = __ballot_sync(~0u, reaches); left != 0;
           left &= left - 1) {
        const int block = first + (__ffs(left) - 1) * kDrawWarps;
        for (int i = lane; i < kLogitBlock; i += kWarp) {
          const int token = block * kLogitBlock + i;
          if (token < n_) own_sum += own_value(logits_[token], token);
        }
      }
    }
    return reduce_(own_sum, Sum());
  }

  __device__ uint64_t CountOf(const Cut& kept) {
    if (kept.logit == -INFINITY) return n_;
    return SumOver(kept.logit, [&](float logit, int token) {
      return static_cast<uint64_t>(kept.Keeps(logit, token) ? 1 : 0);
    });
  }

  // The first token whose logit is `value`, which some block's largest is.
  __device__ int32_t FirstOf(float value) {
    uint64_t own_first = n_;
    for (int b = static_cast<int>(threadIdx.x); b < blocks_;
         b += kDrawThreads) {
      if (maxima_[b] != value) continue;
      own_first = b;
      break;
    }
    const int block = static_cast<int>(reduce_(own_first, Min()));
    own_first = n_;
    const int own_token = block * kLogitBlock + static_cast<int>(threadIdx.x);
    if (threadIdx.x < kLogitBlock && own_token < n_ &&
        logits_[own_token] == value) {
      own_first = own_token;
    }
    return static_cast<int32_t>(reduce_(own_first, Min()));
  }

  // Sets least_logit_ as well.
  __device__ Cut FindCut() {
    Cut cut = {-INFINITY, n_ - 1};
    if (draw_.top_k > 0) {
      cut = CutTo(draw_.top_k, cut, LeastOfTop(draw_.top_k),
                  [](float) { return uint64_t{1}; });
    }
    const float least = weights_.max + draw_.least_offset;
    least_logit_ = fmaxf(cut.logit, least);
    if (draw_.top_p < 1.0f) {
      const auto weight_of = [&](float logit) {
        return uint64_t{DeviceWeightOf(logit, weights_)};
      };
      const uint64_t total = SumOver(cut.logit, [&](float logit, int token) {
        return cut.Keeps(logit, token) ? weight_of(logit) : 0;
      });
      cut = CutTo(NucleusWeight(draw_.top_p, total), cut,
                  fmaxf(LeastWithWeight(), -FLT_MAX), weight_of);
    }
    if (least > cut.logit) cut = {least, n_ - 1};
    return cut;
  }

  // `count` tokens or more reach this.
  __device__ float LeastOfTop(int count) {
    if (count > blocks_) return -FLT_MAX;
    uint64_t own_key = ~uint64_t{0};
    for (int b = static_cast<int>(threadIdx.x); b < blocks_;
         b += kDrawThreads) {
      own_key = Min()(own_key, KeyOf(maxima_[b]));
    }
    return ValueOf(static_cast<uint32_t>(reduce_(own_key, Min())));
  }

  // All logits less than this weigh nothing: the exponent is kLeastExponent or
  // less by more than it can be off.
  __device__ float LeastWithWeight() const {
    return weights_.max + 1.01f * kLeastExponent / weights_.scale;
  }

  // Of what `cut` keeps, the fewest likeliest tokens whose values sum up to
  // `wanted`, which those from `low` on do.
  template <class Value>
  __device__ Cut CutTo(uint64_t wanted, const Cut& cut, float low,
                       const Value& value_of) {
    const auto sum_from = [&](float least) {
      return SumOver(least, [&](float logit, int token) {
        return logit >= least && cut.Keeps(logit, token) ? value_of(logit) : 0;
      });
    };
    // Bisection: from low_key on there is enough, from high_key on there is
    // not.
    uint32_t low_key = KeyOf(low);
    uint32_t high_key = KeyOf(weights_.max) + 1;
    for (int i = 0; high_key - low_key > 1; ++i) {
      const uint32_t key = Between(low_key, high_key, i);
      if (sum_from(ValueOf(key)) >= wanted) {
        low_key = key;
      } else {
        high_key = key;
      }
    }
    const float logit = ValueOf(low_key);
    const uint64_t above = SumOver(logit, [&](float value, int token) {
      return value > logit && cut.Keeps(value, token) ? value_of(value) : 0;
    });
    const uint64_t each = value_of(logit);
    const uint64_t equals = (wanted - above + each - 1) / each;
    return {logit, LastOfEquals(logit, equals)};
  }

  // A key between two that are not neighbours. Halving the difference of the
  // values finds the neighbourhood in few steps, wherever it lies; halving that
  // of the keys then ends soon, even near zero.
  __device__ static uint32_t Between(uint32_t low, uint32_t high, int step) {
    constexpr int kStepsByValue = 12;
    if (step < kStepsByValue) {
      const uint32_t key = KeyOf(0.5f * ValueOf(low) + 0.5f * ValueOf(high));
      if (low < key && key < high) return key;
    }
    return low + (high - low) / 2;
  }

  // The id of number `count`, from 1, of the tokens whose logit is `value`.
  __device__ int LastOfEquals(float value, uint64_t count) {
    const auto count_to = [&](int last) {
      return SumOver(value, [&](float logit, int token) {
        return static_cast<uint64_t>(logit == value && token <= last ? 1 : 0);
      });
    };
    int low = -1;
    int high = n_ - 1;
    if (count_to(high) == count) return high;
    while (high - low > 1) {
      const int middle = low + (high - low) / 2;
      if (count_to(middle) >= count) {
        high = middle;
      } else {
        low = middle;
      }
    }
    return high;
  }

  // Of `count` tokens that are kept.
  __device__ int32_t DrawFromFew(const Cut& kept, int count) {
    auto& shared = StaticShared<DrawShared>();
    if (threadIdx.x < kWarp) Collect(kept, shared);
    __syncthreads();
    // Few enough for every thread to add them up by itself.
    uint64_t total = 0;
    for (int i = 0; i < count; ++i) {
      total += DeviceWeightOf(shared.logits[i], weights_);
    }
    uint64_t place = ScaleDown(draw_.random.Number(0), total);
    for (int i = 0; i < count; ++i) {
      const uint64_t weight = DeviceWeightOf(shared.logits[i], weights_);
      if (place < weight) return shared.tokens[i];
      place -= weight;
    }
    return kNotFinite;  // not reached: `place` is less than the sum
  }

  // One warp writes down what is kept, by id.
  __device__ void Collect(const Cut& kept, DrawShared& shared) const {
    const int lane = static_cast<int>(threadIdx.x);
    int count = 0;
    for (int first = 0; first < blocks_; first += kWarp) {
      const bool reaches =
          first + lane < blocks_ && maxima_[first + lane] >= kept.logit;
      for (unsigned left = __ballot_sync(~0u, reaches); left != 0;
           left &= left - 1) {
        const int block = first + __ffs(left) - 1;
        for (int i = 0; i < kLogitBlock; i += kWarp) {
          const int token = block * kLogitBlock + i + lane;
          const bool keeps = token < n_ && kept.Keeps(logits_[token], token);
          const unsigned keepers = __ballot_sync(~0u, keeps);
          if (keeps) {
            const int place = count + __popc(keepers & ((1u << lane) - 1));
            shared.logits[place] = logits_[token];
            shared.tokens[place] = token;
          }
          count += __popc(keepers);
        }
      }
    }
  }

  // Each thread tries a proposal of its own; the first that is kept counts.
  __device__ int32_t DrawFromMany(const Cut& kept) {
    const uint64_t total = ScanShares();
    for (uint64_t first = 0;; first += kDrawThreads) {
      const int own_token =
          Propose(draw_.random.Number(first + threadIdx.x), total);
      const float logit = logits_[own_token];
      const bool accepts = own_rest_ < DeviceWeightOf(logit, weights_) &&
                           kept.Keeps(logit, own_token);
      const uint64_t packed = accepts ? uint64_t{threadIdx.x} << 32 |
                                            static_cast<uint32_t>(own_token)
                                      : ~uint64_t{0};
      const uint64_t chosen = reduce_(packed, Min());
      if (chosen != ~uint64_t{0}) return static_cast<int32_t>(chosen);
    }
  }

  // Sets ends_[b] to where the shares of the blocks up to b end. Returns the
  // sum of all.
  __device__ uint64_t ScanShares() {
    const int lane = static_cast<int>(threadIdx.x % kWarp);
    const int warp = static_cast<int>(threadIdx.x / kWarp);
    const int each = (blocks_ + kDrawThreads - 1) / kDrawThreads;
    const int own_first = static_cast<int>(threadIdx.x) * each;
    const int own_end = own_first + each < blocks_ ? own_first + each : blocks_;
    uint64_t own_sum = 0;
    for (int b = own_first; b < own_end; ++b) own_sum += Share(b);
    uint64_t own_place = own_sum;  // after it, in its warp
    for (int distance = 1; distance < kWarp; distance *= 2) {
      const uint64_t before = __shfl_up_sync(~0u, own_place, distance);
      if (lane >= distance) own_place += before;
    }
    auto& shared = StaticShared<ScanShared>();
    if (lane == kWarp - 1) shared.warps[warp] = own_place;
    __syncthreads();
    uint64_t total = 0;
    for (int w = 0; w < kDrawWarps; ++w) {
      if (w == warp) own_place += total;
      total += shared.warps[w];
    }
    own_place -= own_sum;
    for (int b = own_first; b < own_end; ++b) {
      own_place += Share(b);
      ends_[b] = own_place;
    }
    __syncthreads();
    return total;
  }

  __device__ uint64_t Share(int block) const {
    if (maxima_[block] < least_logit_) return 0;
    const int left = n_ - block * kLogitBlock;
    return uint64_t{DeviceWeightOf(maxima_[block], weights_)} *
           (left < kLogitBlock ? left : kLogitBlock);
  }

  // The token that `random` proposes; own_rest_ is set.
  __device__ int Propose(uint64_t random, uint64_t total) {
    const uint64_t place = ScaleDown(random, total);
    int low = 0;
    int high = blocks_ - 1;  // the block is in [low, high]
    while (low < high) {
      const int middle = (low + high) / 2;
      if (ends_[middle] > place) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    const uint64_t offset = place - (low == 0 ? 0 : ends_[low - 1]);
    const uint64_t weight = DeviceWeightOf(maxima_[low], weights_);
    own_rest_ = offset % weight;
    return low * kLogitBlock + static_cast<int>(offset / weight);
  }

  const float* const logits_;
  const float* const maxima_;
  const int n_;
  const int blocks_;
  const PreparedDraw& draw_;
  uint64_t* const ends_;
  BlockReduction reduce_;
  WeightScale weights_;
  float least_logit_ = 0;  // that top_k and min_p leave
  uint64_t own_rest_ = 0;
};

// A block is a draw.
__global__ void __launch_bounds__(kDrawThreads)
    DrawKernel(const float* x, const PreparedDraw* draws, int n, int blocks,
               const float* maxima, uint64_t* ends, int32_t* tokens) {
  const int64_t index = blockIdx.x;
  const PreparedDraw& draw = draws[index];
  RowDraw row(x + static_cast<int64_t>(draw.row) * n, maxima + index * blocks,
              n, blocks, draw, ends + index * blocks);
  const int32_t token = row.Draw();
  if (threadIdx.x == 0) tokens[index] = token;
}

int NumBlocks(int n) { return (n + kLogitBlock - 1) / kLogitBlock; }

}  // namespace

PreparedDraw::PreparedDraw(const TokenDraw& draw, int n)
    : row(draw.row),
      greedy(draw.greedy()),
      scale(greedy ? 0 : ScaleOf(draw.temperature)),
      least_offset(greedy ? 0 : LeastOffset(draw.min_p, scale)),
      top_k(draw.CutsK(n) ? draw.top_k : 0),
      top_p(draw.top_p),
      random(draw.seed, draw.index) {}

size_t SampleScratchBytes(int count, int n) {
  return static_cast<size_t>(count) * NumBlocks(n) *
         (sizeof(uint64_t) + sizeof(float));
}

cudaError_t LaunchSample(const float* x, const PreparedDraw* draws, int count,
                         int n, void* scratch, int32_t* tokens,
                         cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  const int blocks = NumBlocks(n);
  auto* const ends = static_cast<uint64_t*>(scratch);
  auto* const maxima =
      reinterpret_cast<float*>(ends + static_cast<size_t>(count) * blocks);
  const dim3 grid = {
      static_cast<unsigned>(count),
      static_cast<unsigned>((blocks + kMaximaWarps - 1) / kMaximaWarps), 1};
  const cudaError_t error =
      Launch(BlockMaximaKernel, grid, kMaximaWarps * kWarp, 0, stream, x, draws,
             n, blocks, maxima);
  if (error != cudaSuccess) return error;
  return Launch(DrawKernel, count, kDrawThreads, 0, stream, x, draws, n, blocks,
                maxima, ends, tokens);
}

}  // namespace anyprec
