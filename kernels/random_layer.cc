#include "kernels/random_layer.h"

#include "absl/strings/str_cat.h"
#include "kernels/bit_plane.h"

namespace anyprec {
namespace {

// Inverts the normal distribution function by bisection. 40 halvings of
// [-8, 8] are beyond fp32.
double NormalQuantile(double probability) {
  double low = -8, high = 8;
  for (int i = 0; i < 40; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < probability ? low : high) =
        middle;
  }
  return low;
}

}  // namespace

std::vector<Float16> RandomCentroids(int bits, int k) {
  const int count = 1 << bits;
  const double scale = 1 / std::sqrt(static_cast<double>(k));
  std::vector<Float16> centroids;
  centroids.reserve(count);
  for (int i = 0; i < count; ++i) {
    const double level = NormalQuantile((i + 0.5) / count);
    centroids.push_back(ToFloat16(static_cast<float>(level * scale)));
  }
  return centroids;
}

absl::Status ValidateRandomLayer(const RandomLayer& layer) {
  if (layer.n > 0 && layer.k > 0 && layer.k % 32 == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a random layer of ", layer.n, " x ", layer.k,
                   ", needs n > 0 and k a positive multiple of 32"));
}

absl::Status ValidateRandomBits(int min_bits, int max_bits) {
  if (kMinBits <= min_bits && min_bits <= max_bits && max_bits <= kMaxBits) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "precisions ", min_bits, " to ", max_bits,
      " of a random layer, needs a range within ", kMinBits, " to ", kMaxBits));
}

}  // namespace anyprec
