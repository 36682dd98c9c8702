#include "kernels/reference/reference_linear.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/check.h"

namespace anyprec {
namespace {

// The parts' planes, concatenated along n.
class StackedPlanes {
 public:
  explicit StackedPlanes(std::span<const QuantizedLinear> parts) {
    planes_.resize(parts[0].matrix.planes.size());
    for (const QuantizedLinear& part : parts) {
      const size_t words = part.matrix.n * part.matrix.words_per_row();
      for (size_t i = 0; i < planes_.size(); ++i) {
        const uint32_t* plane = part.matrix.planes[i];
        planes_[i].insert(planes_[i].end(), plane, plane + words);
      }
    }
    for (const std::vector<uint32_t>& plane : planes_) {
      pointers_.push_back(plane.data());
    }
  }

  BitPlaneMatrix View(int n, int k) const { return {pointers_, n, k}; }
  size_t plane_bytes() const { return planes_[0].size() * sizeof(uint32_t); }
  size_t bytes() const { return planes_.size() * plane_bytes(); }

 private:
  std::vector<std::vector<uint32_t>> planes_;
  std::vector<const uint32_t*> pointers_;
};

void Append(std::span<const Float16> values, std::vector<Float16>& to) {
  to.insert(to.end(), values.begin(), values.end());
}

// Planes with codebooks.
class CodebookCopy final : public ReferenceLinear {
 public:
  CodebookCopy(int n, std::span<const QuantizedLinear> parts)
      : ReferenceLinear(n, parts[0].matrix.k), planes_(parts) {
    for (const QuantizedLinear& part : parts) {
      for (const Codebook& codebook : part.codebooks) {
        Append(codebook.data, codebooks_[codebook.precision]);
      }
    }
  }

  std::vector<float> Row(int row, int precision) const override {
    ANYPREC_CHECK(precision >= 0 && precision <= kMaxBits &&
                  !codebooks_[precision].empty())
        << "precision " << precision << " was not loaded";
    const size_t first = static_cast<size_t>(row) << precision;
    const Float16* centroids = codebooks_[precision].data() + first;
    std::vector<float> weights(k());
    for (int column = 0; column < k(); ++column) {
      weights[column] = ToFloat(
          centroids[CodeAt(planes_.View(n(), k()), precision, row, column)]);
    }
    return weights;
  }

  size_t BytesRead(int precision) const override {
    return precision * planes_.plane_bytes() +
           codebooks_[precision].size() * sizeof(Float16);
  }

  size_t BytesResident() const override {
    size_t bytes = planes_.bytes();
    for (const std::vector<Float16>& codebook : codebooks_) {
      bytes += codebook.size() * sizeof(Float16);
    }
    return bytes;
  }

 private:
  const StackedPlanes planes_;
  std::array<std::vector<Float16>, kMaxBits + 1> codebooks_;  // by precision
};

// Planes with scales.
class BinaryCodedCopy final : public ReferenceLinear {
 public:
  BinaryCodedCopy(int n, std::span<const QuantizedLinear> parts)
      : ReferenceLinear(n, parts[0].matrix.k),
        planes_(parts),
        group_size_(parts[0].scales[0].group_size) {
    for (const QuantizedLinear& part : parts) {
      for (const GroupScales& scales : part.scales) {
        Append(scales.alpha, scales_[scales.precision].alpha);
        Append(scales.beta, scales_[scales.precision].beta);
      }
    }
  }

  std::vector<float> Row(int row, int precision) const override {
    ANYPREC_CHECK(precision >= 0 && precision <= kMaxBits &&
                  !scales_[precision].beta.empty())
        << "precision " << precision << " was not loaded";
    const Scales& scales = scales_[precision];
    const size_t first_group =
        static_cast<size_t>(row) * GroupCount(k(), group_size_);
    std::vector<float> weights(k());
    for (int column = 0; column < k(); ++column) {
      const size_t group = first_group + column / group_size_;
      weights[column] = BinaryCodedWeight(
          CodeAt(planes_.View(n(), k()), precision, row, column),
          std::span(scales.alpha).subspan(group * precision, precision),
          scales.beta[group]);
    }
    return weights;
  }

  size_t BytesRead(int precision) const override {
    return precision * planes_.plane_bytes() + scales_[precision].bytes();
  }

  size_t BytesResident() const override {
    size_t bytes = planes_.bytes();
    for (const Scales& scales : scales_) bytes += scales.bytes();
    return bytes;
  }

 private:
  struct Scales {
    std::vector<Float16> alpha;
    std::vector<Float16> beta;

    size_t bytes() const {
      return (alpha.size() + beta.size()) * sizeof(Float16);
    }
  };

  const StackedPlanes planes_;
  const int group_size_;
  std::array<Scales, kMaxBits + 1> scales_;  // by precision
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
  if (!parts[0].scales.empty()) {
    return std::make_unique<BinaryCodedCopy>(n, parts);
  }
  return std::make_unique<CodebookCopy>(n, parts);
}

std::unique_ptr<ReferenceLinear> CopyDense(std::span<const DenseMatrix> parts) {
  int n = 0;
  for (const DenseMatrix& part : parts) n += part.n;
  return std::make_unique<DenseCopy>(n, parts);
}

}  // namespace anyprec
