#include "kernels/validation.h"

#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

absl::Status CheckShape(int part, int n, int k, int first_k) {
  if (n <= 0 || k <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("part ", part, " of a linear layer is ", n, " x ", k,
                     ", needs positive sizes"));
  }
  if (k != first_k) {
    return absl::InvalidArgumentError(
        absl::StrCat("part ", part, " of a linear layer has k = ", k,
                     ", the first has ", first_k));
  }
  return absl::OkStatus();
}

absl::Status CheckCodebook(int part, const BitPlaneMatrix& matrix,
                           const Codebook& codebook) {
  const int precision = codebook.precision;
  if (precision < kMinBits ||
      precision > static_cast<int>(matrix.planes.size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "part ", part, " of a linear layer has a codebook for ", precision,
        " bits, needs ", kMinBits, " to ", matrix.planes.size()));
  }
  const size_t expected = static_cast<size_t>(matrix.n) << precision;
  if (codebook.data.size() != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", precision, "-bit codebook of part ", part,
                     " of a linear layer has ", codebook.data.size(),
                     " centroids, needs ", expected));
  }
  for (size_t i = 0; i < expected; ++i) {
    if (!std::isfinite(ToFloat(codebook.data[i]))) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the ", precision, "-bit codebook of part ", part,
          " of a linear layer is not finite in row ", i >> precision));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckBitPlanePart(int index, const QuantizedLinear& part,
                               const QuantizedLinear& first) {
  const BitPlaneMatrix& matrix = part.matrix;
  RETURN_IF_ERROR(CheckShape(index, matrix.n, matrix.k, first.matrix.k));
  if (matrix.k % 32 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("part ", index, " of a linear layer has k = ", matrix.k,
                     ", bit planes need a multiple of 32"));
  }
  if (matrix.planes.size() != first.matrix.planes.size() ||
      matrix.planes.empty() || matrix.planes.size() > kMaxBits) {
    return absl::InvalidArgumentError(
        absl::StrCat("part ", index, " of a linear layer has ",
                     matrix.planes.size(), " planes, the first has ",
                     first.matrix.planes.size(), ", needs 1 to ", kMaxBits));
  }
  if (part.codebooks.empty() ||
      part.codebooks.size() != first.codebooks.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "part ", index, " of a linear layer has ", part.codebooks.size(),
        " codebooks, the first has ", first.codebooks.size()));
  }
  for (size_t i = 0; i < part.codebooks.size(); ++i) {
    const int precision = part.codebooks[i].precision;
    if (precision != first.codebooks[i].precision ||
        (i > 0 && precision <= part.codebooks[i - 1].precision)) {
      return absl::InvalidArgumentError(
          absl::StrCat("codebook ", i, " of part ", index,
                       " of a linear layer is for ", precision,
                       " bits; needs ascending precisions, the same ones in "
                       "every part"));
    }
    RETURN_IF_ERROR(CheckCodebook(index, matrix, part.codebooks[i]));
  }
  return absl::OkStatus();
}

absl::Status CheckDensePart(int index, const DenseMatrix& part,
                            const DenseMatrix& first) {
  RETURN_IF_ERROR(CheckShape(index, part.n, part.k, first.k));
  if (part.type != first.type) {
    return absl::InvalidArgumentError(
        absl::StrCat("part ", index,
                     " of a linear layer has another type "
                     "than the first"));
  }
  if (part.type != DenseMatrix::Type::kInt8) return absl::OkStatus();
  if (part.row_scales.size() != static_cast<size_t>(part.n)) {
    return absl::InvalidArgumentError(
        absl::StrCat("part ", index, " of an int8 layer has ",
                     part.row_scales.size(), " scales, needs ", part.n));
  }
  for (const float scale : part.row_scales) {
    if (!std::isfinite(scale)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "part ", index, " of an int8 layer has a scale of ", scale));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateBitPlanes(std::span<const QuantizedLinear> parts) {
  if (parts.empty()) {
    return absl::InvalidArgumentError("a linear layer needs at least one part");
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    RETURN_IF_ERROR(CheckBitPlanePart(static_cast<int>(i), parts[i], parts[0]));
  }
  return absl::OkStatus();
}

absl::Status ValidateDense(std::span<const DenseMatrix> parts) {
  if (parts.empty()) {
    return absl::InvalidArgumentError("a linear layer needs at least one part");
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    RETURN_IF_ERROR(CheckDensePart(static_cast<int>(i), parts[i], parts[0]));
  }
  return absl::OkStatus();
}

absl::Status ValidateIds(std::span<const int32_t> ids, int n) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= n) {
      return absl::InvalidArgumentError(
          absl::StrCat("token id ", id, " is outside the vocabulary of ", n));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateKvLayout(const KvLayout& layout) {
  if (layout.layers <= 0 || layout.kv_heads <= 0 || layout.head_dim <= 0 ||
      layout.block_tokens <= 0 || layout.num_blocks <= 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "KV cache of ", layout.layers, " layers, ", layout.kv_heads,
        " heads of ", layout.head_dim, ", ", layout.num_blocks, " blocks of ",
        layout.block_tokens, " tokens: all must be positive"));
  }
  if (layout.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("KV cache with heads of ", layout.head_dim,
                     ": rotary embeddings need an even size"));
  }
  return absl::OkStatus();
}

}  // namespace anyprec
