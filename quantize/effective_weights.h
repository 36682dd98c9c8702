// Sample weights of a row as all quantizers use them, so that their errors
// compare.
#ifndef ANYPREC_QUANTIZE_EFFECTIVE_WEIGHTS_H_
#define ANYPREC_QUANTIZE_EFFECTIVE_WEIGHTS_H_

#include <span>

namespace anyprec {

// A column that the calibration never excited has sample weight zero. It still
// deserves the nearest value: weights below this fraction of the row's mean are
// raised to it. Far above the rounding of the double sums, far below what moves
// an fp16 centroid (2^-11).
inline constexpr double kMinRelativeSampleWeight = 1e-6;

// Scales the weights to mean 1, then raises them to the floor above: only their
// ratios matter. All 1 where they are all zero, or there are none.
//   sample_weights  [k], finite, not negative; or empty
//   weights         [k], output
void EffectiveSampleWeights(std::span<const float> sample_weights,
                            std::span<double> weights);

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_EFFECTIVE_WEIGHTS_H_
