#include "tests/conformance/backend_test_data.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "gtest/gtest.h"
#include "kernels/types.h"

namespace anyprec {

std::vector<float> RandomFloats(size_t size, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  for (float& value : values) value = normal(generator);
  return values;
}

namespace {

// Of a variance of `deviation`^2, in fp16.
std::vector<Float16> RandomHalves(size_t size, float deviation, uint32_t seed) {
  std::vector<Float16> halves;
  for (const float value : RandomFloats(size, seed)) {
    halves.push_back(ToFloat16(value * deviation));
  }
  return halves;
}

}  // namespace

RandomQuantizedLinear::RandomQuantizedLinear(int n, int k, int min_precision,
                                             int max_precision, uint32_t seed,
                                             int group_size)
    : n_(n), k_(k) {
  std::mt19937 generator(seed);
  for (int plane = 0; plane < max_precision; ++plane) {
    planes_.emplace_back(static_cast<size_t>(n) * k / 32);
    for (uint32_t& word : planes_.back()) {
      word = static_cast<uint32_t>(generator());
    }
  }
  for (const std::vector<uint32_t>& plane : planes_) {
    plane_pointers_.push_back(plane.data());
  }
  values_.reserve(2 * kMaxBits);  // the views below stay
  for (int p = min_precision; p <= max_precision; ++p) {
    const float deviation = 1 / std::sqrt(static_cast<float>(k));
    if (group_size == 0) {
      codebooks_.push_back(
          {p, values_.emplace_back(RandomHalves(static_cast<size_t>(n) << p,
                                                deviation, seed + p))});
      continue;
    }
    const size_t groups = static_cast<size_t>(n) * GroupCount(k, group_size);
    // A weight is a sum of p + 1 of them.
    const float own = deviation / std::sqrt(static_cast<float>(p + 1));
    const auto& alpha =
        values_.emplace_back(RandomHalves(groups * p, own, seed + p));
    const auto& beta =
        values_.emplace_back(RandomHalves(groups, own, seed + 100 + p));
    scales_.push_back({p, group_size, alpha, beta});
  }
}

QuantizedLinear RandomQuantizedLinear::view() const {
  return {.matrix = {.planes = plane_pointers_, .n = n_, .k = k_},
          .codebooks = codebooks_,
          .scales = scales_};
}

RandomDense::RandomDense(DenseMatrix::Type type, int n, int k, uint32_t seed)
    : type_(type), n_(n), k_(k) {
  const float deviation = 1 / std::sqrt(static_cast<float>(k));
  floats_ = RandomFloats(static_cast<size_t>(n) * k, seed);
  for (float& value : floats_) value *= deviation;
  if (type == DenseMatrix::Type::kInt8) {
    for (int row = 0; row < n; ++row) {
      // Rows of different magnitudes, and the ends of the range.
      const float scale = deviation * static_cast<float>(1 + row % 3) / 128;
      row_scales_.push_back(scale);
      for (int i = 0; i < k; ++i) {
        const float value = floats_[static_cast<size_t>(row) * k + i] / scale;
        bytes_.push_back(static_cast<int8_t>(
            std::clamp(std::round(value), -128.0f, 127.0f)));
      }
    }
  }
  for (const float value : floats_) {
    halves_.push_back(type == DenseMatrix::Type::kFloat16
                          ? ToFloat16(value).bits
                          : ToBFloat16(value).bits);
  }
}

DenseMatrix RandomDense::view() const {
  DenseMatrix matrix;
  matrix.type = type_;
  matrix.n = n_;
  matrix.k = k_;
  switch (type_) {
    case DenseMatrix::Type::kFloat32:
      matrix.data = floats_.data();
      break;
    case DenseMatrix::Type::kFloat16:
    case DenseMatrix::Type::kBFloat16:
      matrix.data = halves_.data();
      break;
    case DenseMatrix::Type::kInt8:
      matrix.data = bytes_.data();
      matrix.row_scales = row_scales_;
      break;
  }
  return matrix;
}

std::unique_ptr<Buffer> Upload(Backend& backend,
                               std::span<const float> values) {
  absl::StatusOr<std::unique_ptr<Buffer>> buffer =
      backend.Allocate(values.size());
  if (!buffer.ok()) {
    ADD_FAILURE() << buffer.status();
    return nullptr;
  }
  const absl::Status status = backend.CopyFromHost(values, (*buffer)->data());
  EXPECT_TRUE(status.ok()) << status;
  return *std::move(buffer);
}

std::vector<float> Download(Backend& backend, const float* data, size_t size) {
  absl::StatusOr<std::span<const float>> view = backend.HostView(data, size);
  if (!view.ok()) {
    ADD_FAILURE() << view.status();
    return std::vector<float>(size);
  }
  return {view->begin(), view->end()};
}

void ExpectWorks(Backend& backend) {
  const auto x = Upload(backend, std::vector<float>{3, 4});
  const auto weight = Upload(backend, std::vector<float>{1, 1});
  ASSERT_TRUE(x != nullptr && weight != nullptr);
  const absl::Status status =
      backend.RmsNorm(x->data(), weight->data(), 1, 2, 0, x->data());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_NEAR(Download(backend, x->data(), 2)[1], 4 / std::sqrt(12.5), 1e-6);
}

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

double MaxError(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double max = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) == 0) continue;
    const double error = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!std::isfinite(error)) return std::numeric_limits<double>::infinity();
    max = std::max(max, error);
  }
  return max;
}

}  // namespace anyprec
