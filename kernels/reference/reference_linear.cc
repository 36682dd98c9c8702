#include "kernels/reference/reference_linear.h"

#include <cstddef>
#include <cstdint>

#include "kernels/check.h"

namespace anyprec {
namespace {

// The parts' planes and codebooks, concatenated along n.
class BitPlaneCopy final : public ReferenceLinear {
 public:
  BitPlaneCopy(int n, std::span<const QuantizedLinear> parts)
      : ReferenceLinear(n, parts[0].matrix.k) {
    planes_.resize(parts[0].matrix.planes.size());
    codebooks_.resize(kMaxBits + 1);
    for (const QuantizedLinear& part : parts) {
      const size_t words = part.matrix.n * part.matrix.words_per_row();
      for (size_t i = 0; i < planes_.size(); ++i) {
        const uint32_t* plane = part.matrix.planes[i];
        planes_[i].insert(planes_[i].end(), plane, plane + words);
      }
      for (const Codebook& codebook : part.codebooks) {
        std::vector<Float16>& stacked = codebooks_[codebook.precision];
        stacked.insert(stacked.end(), codebook.data.begin(),
                       codebook.data.end());
      }
    }
    for (const std::vector<uint32_t>& plane : planes_) {
      plane_pointers_.push_back(plane.data());
    }
  }

  std::vector<float> Row(int row, int precision) const override {
    ANYPREC_CHECK(precision >= 0 && precision <= kMaxBits &&
                  !codebooks_[precision].empty())
        << "precision " << precision << " was not loaded";
    const BitPlaneMatrix matrix = {plane_pointers_, n(), k()};
    const size_t first = static_cast<size_t>(row) << precision;
    const Float16* centroids = codebooks_[precision].data() + first;
    std::vector<float> weights(k());
    for (int column = 0; column < k(); ++column) {
      weights[column] =
          ToFloat(centroids[CodeAt(matrix, precision, row, column)]);
    }
    return weights;
  }

  size_t BytesRead(int precision) const override {
    return precision * planes_[0].size() * sizeof(uint32_t) +
           codebooks_[precision].size() * sizeof(Float16);
  }

  size_t BytesResident() const override {
    size_t bytes = planes_.size() * planes_[0].size() * sizeof(uint32_t);
    for (const std::vector<Float16>& codebook : codebooks_) {
      bytes += codebook.size() * sizeof(Float16);
    }
    return bytes;
  }

 private:
  std::vector<std::vector<uint32_t>> planes_;
  std::vector<const uint32_t*> plane_pointers_;
  std::vector<std::vector<Float16>> codebooks_;  // by precision
};

// The parts' weights, concatenated along n, as fp32.
class DenseCopy final : public ReferenceLinear {
 public:
  DenseCopy(int n, std::span<const DenseMatrix> parts)
      : ReferenceLinear(n, parts[0].k) {
    for (const DenseMatrix& part : parts) {
      const size_t size = static_cast<size_t>(part.n) * part.k;
      for (size_t i = 0; i < size; ++i) weights_.push_back(Weight(part, i));
    }
  }

  std::vector<float> Row(int row, int /*precision*/) const override {
    const auto begin = weights_.begin() + static_cast<ptrdiff_t>(row) * k();
    return {begin, begin + k()};
  }

  size_t BytesRead(int /*precision*/) const override { return BytesResident(); }
  size_t BytesResident() const override {
    return weights_.size() * sizeof(float);
  }

 private:
  static float Weight(const DenseMatrix& matrix, size_t i) {
    switch (matrix.type) {
      case DenseMatrix::Type::kFloat32:
        return static_cast<const float*>(matrix.data)[i];
      case DenseMatrix::Type::kFloat16:
        return ToFloat(static_cast<const Float16*>(matrix.data)[i]);
      case DenseMatrix::Type::kBFloat16:
        return ToFloat(static_cast<const BFloat16*>(matrix.data)[i]);
      case DenseMatrix::Type::kInt8:
        return static_cast<const int8_t*>(matrix.data)[i] *
               matrix.row_scales[i / matrix.k];
    }
    ANYPREC_CHECK(false) << "unknown type";
    return 0;
  }

  std::vector<float> weights_;  // [n, k]
};

}  // namespace

std::unique_ptr<ReferenceLinear> CopyBitPlanes(
    std::span<const QuantizedLinear> parts) {
  int n = 0;
  for (const QuantizedLinear& part : parts) n += part.matrix.n;
  return std::make_unique<BitPlaneCopy>(n, parts);
}

std::unique_ptr<ReferenceLinear> CopyDense(std::span<const DenseMatrix> parts) {
  int n = 0;
  for (const DenseMatrix& part : parts) n += part.n;
  return std::make_unique<DenseCopy>(n, parts);
}

}  // namespace anyprec
