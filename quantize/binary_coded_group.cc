#include "quantize/binary_coded_group.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/check.h"
#include "kernels/largest_weight.h"
#include "quantize/normal_equations.h"

namespace anyprec {
namespace {

// As in the paper. Most groups settle earlier.
constexpr int kAlternations = 20;

using CodeSums = std::array<double, 1 << kMaxBits>;

// sums[m] becomes the sum over codes c of sums[c], negated where c and m have
// an odd number of bits in common (the Walsh-Hadamard transform). With sums of
// w by code, that is at once every inner product of bits as signs.
void TransformSigns(int bits, CodeSums& sums) {
  const int codes = 1 << bits;
  for (int half = 1; half < codes; half *= 2) {
    for (int begin = 0; begin < codes; begin += 2 * half) {
      for (int i = begin; i < begin + half; ++i) {
        const double a = sums[i];
        const double b = sums[i + half];
        sums[i] = a + b;
        sums[i + half] = a - b;
      }
    }
  }
}

}  // namespace

void BinaryCodedGroup::Assign(std::span<const float> values,
                              std::span<const double> weights) {
  ANYPREC_CHECK(!values.empty() && values.size() == weights.size());
  values_ = values;
  weights_ = weights;
  bits_ = 0;
  double weight_sum = 0, moment_sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    weight_sum += weights[i];
    moment_sum += weights[i] * values[i];
  }
  mean_ = moment_sum / weight_sum;
  moments_.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    moments_[i] = weights[i] * (values[i] - mean_);
  }
}

void BinaryCodedGroup::Seed(int bits) {
  ANYPREC_CHECK(!values_.empty() && kMinBits <= bits && bits <= kMaxBits);
  const auto choose_codes = [this] {
    SortScales();
    ChooseNearestCodes();
  };
  // Either start may end in the better optimum.
  StartGreedily(bits);
  Alternate(choose_codes);
  StartEvenly();
  Alternate(choose_codes);
}

void BinaryCodedGroup::AddBit() {
  ANYPREC_CHECK(kMinBits <= bits_ && bits_ < kMaxBits);
  trial_ = best_;
  AppendSigns();
  // With a scale of zero the new bit changes nothing, the error included.
  best_ = trial_;
  Alternate([this] { ChooseLastBits(); });
}

// Codes one bit after the other, each the sign of what the least squares of
// those before leave. Until better scales are found the group is its mean,
// which fp16 always holds.
void BinaryCodedGroup::StartGreedily(int bits) {
  bits_ = 0;
  trial_.codes.assign(values_.size(), 0);
  trial_.beta = ToFloat16(static_cast<float>(mean_));
  const Float16 mean = trial_.beta;
  while (bits_ < bits) {
    AppendSigns();
    FitScales();
  }
  best_.codes = trial_.codes;
  best_.alpha = {};
  best_.beta = mean;
  best_.squared_error = 0;
  for (size_t i = 0; i < values_.size(); ++i) {
    const double error = static_cast<double>(values_[i]) - ToFloat(mean);
    best_.squared_error += weights_[i] * error * error;
  }
}

// The group's range in as many equal parts as there are codes.
void BinaryCodedGroup::StartEvenly() {
  const auto [lowest, highest] =
      std::minmax_element(values_.begin(), values_.end());
  const double range = static_cast<double>(*highest) - *lowest;
  if (range == 0) return;
  const int codes = 1 << bits_;
  for (size_t i = 0; i < values_.size(); ++i) {
    const double share = (static_cast<double>(values_[i]) - *lowest) / range;
    trial_.codes[i] = static_cast<uint8_t>(
        std::min(static_cast<int>(share * codes), codes - 1));
  }
}

// A bit more in every code of trial_, the sign of what is left, with a scale of
// zero.
void BinaryCodedGroup::AppendSigns() {
  ComputeLevels();
  for (size_t i = 0; i < values_.size(); ++i) {
    const uint8_t code = trial_.codes[i];
    trial_.codes[i] =
        static_cast<uint8_t>(code << 1 | (values_[i] >= levels_[code]));
  }
  trial_.alpha[bits_++] = Float16();
}

// From trial_.codes on, until they settle; best_ becomes the best that is met.
void BinaryCodedGroup::Alternate(absl::FunctionRef<void()> choose_codes) {
  for (int i = 0; i < kAlternations && best_.squared_error > 0; ++i) {
    previous_codes_ = trial_.codes;
    FitScales();
    // Negated, so that NaN ends it too.
    if (!(LargestWeight(std::span(trial_.alpha).first(bits_), trial_.beta) <=
          kLargestFloat16)) {
      return;
    }
    choose_codes();
    trial_.squared_error = SquaredError();
    if (trial_.squared_error < best_.squared_error) best_ = trial_;
    if (trial_.codes == previous_codes_) return;
  }
}

// The least squares of all scales for trial_.codes.
void BinaryCodedGroup::FitScales() {
  CodeSums weight_sums, moment_sums;
  std::fill_n(weight_sums.begin(), 1 << bits_, 0.0);
  std::fill_n(moment_sums.begin(), 1 << bits_, 0.0);
  for (size_t i = 0; i < values_.size(); ++i) {
    weight_sums[trial_.codes[i]] += weights_[i];
    moment_sums[trial_.codes[i]] += moments_[i];
  }
  TransformSigns(bits_, weight_sums);
  TransformSigns(bits_, moment_sums);
  // Unknown 0 is the offset from the mean, of no bit; the others are the scales
  // of one bit each, negated, as a bit of 1 is a sign of -1 to the transform.
  std::array<int, kMaxUnknowns> masks = {};
  for (int bit = 0; bit < bits_; ++bit) {
    masks[1 + bit] = 1 << (bits_ - 1 - bit);
  }
  UnknownMatrix gram;
  UnknownVector right;
  for (int i = 0; i <= bits_; ++i) {
    right[i] = moment_sums[masks[i]];
    for (int j = 0; j <= bits_; ++j) {
      gram[i][j] = weight_sums[masks[i] ^ masks[j]];
    }
  }
  const UnknownVector solution = SolveNormalEquations(bits_ + 1, gram, right);
  trial_.beta = ToFloat16(static_cast<float>(mean_ + solution[0]));
  for (int bit = 0; bit < bits_; ++bit) {
    trial_.alpha[bit] = ToFloat16(static_cast<float>(-solution[1 + bit]));
  }
}

// Renames codes: what they can say stays the same.
void BinaryCodedGroup::SortScales() {
  const auto alpha = std::span(trial_.alpha).first(bits_);
  for (Float16& scale : alpha) scale.bits &= 0x7fffu;  // its absolute value
  // Halves that are not negative are in the order of their bits.
  std::sort(alpha.begin(), alpha.end(),
            [](Float16 a, Float16 b) { return a.bits > b.bits; });
}

void BinaryCodedGroup::ChooseNearestCodes() {
  ComputeLevels();
  const size_t codes = size_t{1} << bits_;
  std::array<uint8_t, 1 << kMaxBits> by_level;
  for (size_t c = 0; c < codes; ++c) by_level[c] = static_cast<uint8_t>(c);
  std::sort(by_level.begin(), by_level.begin() + codes,
            [this](uint8_t a, uint8_t b) {
              return std::pair(levels_[a], a) < std::pair(levels_[b], b);
            });
  // Where the nearest level changes.
  std::array<double, 1 << kMaxBits> borders;
  for (size_t i = 0; i + 1 < codes; ++i) {
    borders[i] = 0.5 * (static_cast<double>(levels_[by_level[i]]) +
                        levels_[by_level[i + 1]]);
  }
  for (size_t i = 0; i < values_.size(); ++i) {
    // A binary search without branches, which could not be predicted.
    size_t at = 0;
    for (size_t step = codes / 2; step > 0; step /= 2) {
      at += values_[i] >= borders[at + step - 1] ? step : 0;
    }
    trial_.codes[i] = by_level[at];
  }
}

void BinaryCodedGroup::ChooseLastBits() {
  ComputeLevels();
  for (size_t i = 0; i < values_.size(); ++i) {
    const double value = values_[i];
    const uint8_t zero = trial_.codes[i] & 0xfeu;
    const uint8_t one = trial_.codes[i] | 1u;
    trial_.codes[i] =
        std::abs(value - levels_[one]) <= std::abs(value - levels_[zero])
            ? one
            : zero;
  }
}

// As BinaryCodedWeight() adds them up, for all codes at once.
void BinaryCodedGroup::ComputeLevels() {
  levels_[0] = ToFloat(trial_.beta);
  for (int bit = 0; bit < bits_; ++bit) {
    const float scale = ToFloat(trial_.alpha[bit]);
    // Downwards: prefix c makes way for 2 c and 2 c + 1.
    for (int c = (1 << bit) - 1; c >= 0; --c) {
      const float level = levels_[c];
      levels_[2 * c] = level - scale;
      levels_[2 * c + 1] = level + scale;
    }
  }
}

double BinaryCodedGroup::SquaredError() const {
  double sum = 0;
  for (size_t i = 0; i < values_.size(); ++i) {
    const double error =
        static_cast<double>(values_[i]) - levels_[trial_.codes[i]];
    sum += weights_[i] * error * error;
  }
  return sum;
}

}  // namespace anyprec
