// Rows of weights that exercise what clustering must cope with: ties, zeros,
// negative values, sample weights of zero and of very different sizes.
#ifndef ANYPREC_TESTS_QUANTIZE_RANDOM_ROWS_H_
#define ANYPREC_TESTS_QUANTIZE_RANDOM_ROWS_H_

#include <cstddef>
#include <random>
#include <vector>

namespace anyprec {

struct RandomRow {
  std::vector<float> values;
  std::vector<float> sample_weights;
};

// `kind` picks one of kRowKinds flavours.
inline constexpr int kRowKinds = 6;

inline RandomRow MakeRandomRow(int kind, size_t k, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::uniform_int_distribution<int> small(-2, 2);
  std::uniform_real_distribution<float> unit(0.0f, 1.0f);
  RandomRow row;
  for (size_t i = 0; i < k; ++i) {
    float value = normal(random);
    float weight = unit(random);
    switch (kind) {
      case 0:  // ordinary
        break;
      case 1:  // ties, zeros of both signs
        value = 0.25f * static_cast<float>(small(random));
        if (value == 0.0f && i % 2 == 0) value = -0.0f;
        break;
      case 2:  // many columns without weight
        if (unit(random) < 0.5f) weight = 0.0f;
        break;
      case 3:  // no weight at all
        weight = 0.0f;
        break;
      case 4:  // sample weights over six decades
        weight = normal(random);
        weight = 1e3f * weight * weight * weight * weight;
        break;
      default:  // far from zero, all negative
        value = -10.0f + 0.01f * value;
        break;
    }
    row.values.push_back(value);
    row.sample_weights.push_back(weight);
  }
  return row;
}

}  // namespace anyprec

#endif  // ANYPREC_TESTS_QUANTIZE_RANDOM_ROWS_H_
