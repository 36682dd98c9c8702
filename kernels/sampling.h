// How the next token of a row of logits is drawn: the arithmetic that every
// backend has in common, so that one seed gives one token wherever the row
// lies.
//
// Nothing here is left to a math library or to an order of sums. A token's
// weight is an integer of 30 bits, 2^29 for the likeliest: exp((logit - max) /
// temperature) by float operations whose every rounding is told (WeightScale).
// Sums of weights are exact, and so is every cut and every draw:
//
//   Likelier is a larger logit, among equals a lower id. Kept are the `top_k`
//   likeliest tokens; of these the fewest likeliest that weigh NucleusWeight();
//   of those the ones whose logit is max + LeastOffset() or more.
//
//   r(0), r(1), ... are the numbers of RandomStream(seed, index), and place(i)
//   is r(i), scaled from 2^64 down to what there is to choose from.
//   - kFewTokens or fewer are kept: place(0) is in the sum of their weights.
//     The token drawn is the one, by ids, whose share of the sum it lies in.
//   - More are kept (von Neumann's rejection, to look at few of them): the row
//     falls into blocks of kLogitBlock tokens, the last perhaps short. Those
//     whose largest logit survives top_k and min_p weigh as if each of their
//     tokens were their likeliest, w. place(i) is in the sum of that: at
//     w * t + rest in the share of some block, rest < w. Its token t is drawn
//     if its own weight is beyond `rest` and it is kept; else the next number
//     proposes another.
#ifndef ANYPREC_KERNELS_SAMPLING_H_
#define ANYPREC_KERNELS_SAMPLING_H_

#include <cstdint>

namespace anyprec {

// Temperatures below this mean the likeliest token: at 1e-4 a lead of 0.01 in
// the logits is a factor of e^100 in the probabilities.
inline constexpr float kGreedyTemperature = 1e-4f;

// What is drawn from a row that holds an infinity or NaN.
inline constexpr int32_t kNotFinite = -1;

// Few enough that drawing from all of them is cheap; most nuclei of language
// models are smaller.
inline constexpr int kFewTokens = 64;

// Few enough that at least one proposal in so many is drawn; enough that the
// table of blocks is small (2004 for a vocabulary of 128,256).
inline constexpr int kLogitBlock = 64;

// What one row's token is drawn by.
struct TokenDraw {
  int32_t row = 0;
  float temperature = 1.0f;  // finite, at least 0
  int32_t top_k = 0;         // 0: off
  float top_p = 1.0f;        // (0, 1]
  float min_p = 0.0f;        // [0, 1]: relative to the likeliest token
  uint64_t seed = 0;
  int32_t index = 0;  // of the token in its answer

  constexpr bool greedy() const { return temperature < kGreedyTemperature; }
  // Whether top_k of `vocab` tokens, and top_p, leave anything out.
  constexpr bool CutsK(int vocab) const { return top_k > 0 && top_k < vocab; }
  constexpr bool CutsP() const { return top_p < 1.0f; }
};

// Random numbers that are a function of seed, index, purpose and their place in
// the stream: there is no state to carry from token to token or to restore.
class RandomStream {
 public:
  // Draws for one token that must not depend on each other.
  enum class Purpose : uint64_t { kToken, kDraft, kVerdict };

  constexpr RandomStream(uint64_t seed, int index,
                         Purpose purpose = Purpose::kToken)
      : state_(Mix(Mix(seed + kGoldenGamma) +
                   (static_cast<uint64_t>(index) + 1) * kGoldenGamma)) {
    for (uint64_t i = 0; i < static_cast<uint64_t>(purpose); ++i) {
      state_ = Mix(state_ + kGoldenGamma);
    }
  }

  // Number `i` of the stream, of 64 random bits.
  constexpr uint64_t Number(uint64_t i) const {
    return Mix(state_ + (i + 1) * kGoldenGamma);
  }

  // Number `i`, uniform in [0, 1).
  constexpr double Unit(uint64_t i) const {
    return static_cast<double>(Number(i) >> 11) * 0x1p-53;
  }

 private:
  static constexpr uint64_t kGoldenGamma = 0x9e3779b97f4a7c15;

  // The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection that
  // turns a counter into independent-looking bits.
  static constexpr uint64_t Mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

  uint64_t state_;
};

// `random` scaled from 2^64 down to `total`.
constexpr uint64_t ScaleDown(uint64_t random, uint64_t total) {
  __extension__ using uint128 = unsigned __int128;
  return static_cast<uint64_t>((static_cast<uint128>(random) * total) >> 64);
}

// The weight that the fewest likeliest tokens must reach to be `top_p` of
// `total`, which is less than 2^53.
constexpr uint64_t NucleusWeight(float top_p, uint64_t total) {
  const double exact = static_cast<double>(top_p) * static_cast<double>(total);
  const auto floor = static_cast<uint64_t>(exact);
  const uint64_t ceil = static_cast<double>(floor) < exact ? floor + 1 : floor;
  return ceil > 0 ? ceil : 1;
}

// Weights of logits relative to the largest, `max`:
//   x = (logit - max) * scale, -32 if less
//   k = x rounded to a whole number, ties to even
//   p = the polynomial of Exp2Term() in x - k, by Horner's rule
//   weight = p * 2^(k + 29), rounded likewise
// in single precision, with fused multiply-adds for Horner's rule.
struct WeightScale {
  float max = 0;
  float scale = 0;  // log2(e) / temperature
};

// 2^f for |f| <= 1/2, from f^0 up; with its rounding off by 5e-7 of it at most.
// 2^0 is exact.
inline constexpr int kExp2Degree = 5;
constexpr float Exp2Term(int degree) {
  constexpr float kTerms[] = {1.0f,          0.693142831f,   0.240223512f,
                              0.0555740036f, 0.00966628268f, 0.00111255073f};
  return kTerms[degree];
}

// Below it weights are 0.
inline constexpr float kLeastExponent = -32.0f;
inline constexpr float kWeightOne = 0x1p29f;

// x + this, for x of a float's exponents above, has x rounded to a whole number
// in the low bits of its mantissa.
inline constexpr float kRoundingShift = 0x1.8p23f;

// log2(e) / temperature. REQUIRES: not greedy.
float ScaleOf(float temperature);

// On the host.
uint32_t WeightOf(float logit, const WeightScale& weights);

// Where a logit must reach what min_p asks for, relative to the largest: at
// most 0, -infinity where min_p is 0.
float LeastOffset(float min_p, float scale);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_SAMPLING_H_
