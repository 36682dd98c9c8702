// Quantizes a group of weights to signs and scales (AnyBCQ, ICLR 2026, section
// 3): a weight is beta + the sum of +-alpha, one alpha for each bit of a code.
//
// The first precision is found by alternation: least squares fit the scales to
// the codes, then each code becomes the nearest that the scales can say. Each
// further one adds a bit to the codes, which otherwise stay, and fits scales of
// its own. Beyond the paper, errors are weighted, beta is fitted together with
// the alphas, alternation starts twice, and scales are rounded to fp16 before
// codes are chosen and errors taken: the best of what can be stored is kept.
#ifndef ANYPREC_QUANTIZE_BINARY_CODED_GROUP_H_
#define ANYPREC_QUANTIZE_BINARY_CODED_GROUP_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/bit_plane.h"
#include "kernels/types.h"

namespace anyprec {

// One group at a time; keeps its memory for the next. Deterministic.
// Thread-compatible: one object a thread.
class BinaryCodedGroup {
 public:
  // The group to quantize, which must stay where it is.
  //   values   [size], |x| <= 65504
  //   weights  [size], positive
  // REQUIRES: size > 0.
  void Assign(std::span<const float> values, std::span<const double> weights);

  // Finds codes and scales of the lowest precision. Alphas come out descending
  // and not negative.
  // REQUIRES: Assign(); bits in [kMinBits, kMaxBits].
  void Seed(int bits);

  // Adds a bit to every code, and finds scales anew. squared_error() does not
  // grow.
  // REQUIRES: Seed(); bits() < kMaxBits.
  void AddBit();

  // Of the precision reached; all that follows is.
  int bits() const { return bits_; }
  std::span<const uint8_t> codes() const { return best_.codes; }  // [size]
  std::span<const Float16> alpha() const {                        // [bits]
    return std::span(best_.alpha).first(bits_);
  }
  Float16 beta() const { return best_.beta; }
  // The sum of w * (x - BinaryCodedWeight())^2.
  double squared_error() const { return best_.squared_error; }

 private:
  // Codes and the scales that go with them. |beta| and all |alpha| add up to no
  // more than fp16 holds.
  struct Fit {
    std::vector<uint8_t> codes;
    std::array<Float16, kMaxBits> alpha = {};
    Float16 beta;
    double squared_error = 0;
  };

  void StartGreedily(int bits);
  void StartEvenly();
  void AppendSigns();
  void Alternate(absl::FunctionRef<void()> choose_codes);
  void FitScales();
  void SortScales();
  void ChooseNearestCodes();
  void ChooseLastBits();
  void ComputeLevels();
  double SquaredError() const;

  std::span<const float> values_;
  std::span<const double> weights_;
  double mean_ = 0;              // weighted
  std::vector<double> moments_;  // w * (x - mean)

  int bits_ = 0;
  Fit best_;
  Fit trial_;
  std::vector<uint8_t> previous_codes_;
  std::array<float, 1 << kMaxBits> levels_;  // of trial_, by code
};

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_BINARY_CODED_GROUP_H_
