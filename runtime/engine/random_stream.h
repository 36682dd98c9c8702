// RandomStream: the random numbers of one draw.
//
// A function of seed, purpose and index, so that there is no state to carry
// from token to token or to restore.
#ifndef ANYPREC_RUNTIME_ENGINE_RANDOM_STREAM_H_
#define ANYPREC_RUNTIME_ENGINE_RANDOM_STREAM_H_

#include <cstdint>

namespace anyprec {

class RandomStream {
 public:
  // Draws for one token that must not depend on each other.
  enum class Purpose : uint64_t { kToken, kDraft, kVerdict };

  RandomStream(uint64_t seed, int index, Purpose purpose = Purpose::kToken)
      : state_(Mix(Mix(seed + kGoldenGamma) +
                   (static_cast<uint64_t>(index) + 1) * kGoldenGamma)) {
    for (uint64_t i = 0; i < static_cast<uint64_t>(purpose); ++i) {
      state_ = Mix(state_ + kGoldenGamma);
    }
  }

  // Uniform in [0, 1).
  double Next() {
    state_ += kGoldenGamma;
    return static_cast<double>(Mix(state_) >> 11) * 0x1p-53;
  }

 private:
  static constexpr uint64_t kGoldenGamma = 0x9e3779b97f4a7c15;

  // The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection that
  // turns a counter into independent-looking bits.
  static uint64_t Mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

  uint64_t state_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_RANDOM_STREAM_H_
