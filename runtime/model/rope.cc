#include "runtime/model/rope.h"

#include <cmath>
#include <cstddef>
#include <numbers>

namespace anyprec {
namespace {

// Llama 3 slows down the frequencies whose wavelength exceeds the context it
// was first trained on, keeps the short ones, and blends in between.
double ScaleFrequency(double frequency, const Llama3RopeScaling& scaling) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double context = scaling.original_max_position_embeddings;
  if (wavelength < context / scaling.high_freq_factor) return frequency;
  if (wavelength > context / scaling.low_freq_factor) {
    return frequency / scaling.factor;
  }
  const double blend = (context / wavelength - scaling.low_freq_factor) /
                       (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - blend) * frequency / scaling.factor + blend * frequency;
}

}  // namespace

std::vector<float> RopeTable(const ModelConfig& config, int first,
                             int positions) {
  const int half = config.head_dim / 2;
  std::vector<float> table(static_cast<size_t>(positions) * config.head_dim);
  for (int i = 0; i < half; ++i) {
    double frequency = std::pow(config.rope_theta, -2.0 * i / config.head_dim);
    if (config.rope_scaling.has_value()) {
      frequency = ScaleFrequency(frequency, *config.rope_scaling);
    }
    for (int position = 0; position < positions; ++position) {
      float* row = &table[static_cast<size_t>(position) * config.head_dim];
      const double angle = (first + position) * frequency;
      row[i] = static_cast<float>(std::cos(angle));
      row[half + i] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

}  // namespace anyprec
