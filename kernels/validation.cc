#include "kernels/validation.h"

#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kernels/largest_weight.h"
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

// That codebooks or scales, `what`, are for a precision that the planes have.
absl::Status CheckPrecision(int part, const BitPlaneMatrix& matrix,
                            absl::string_view what, int precision) {
  if (precision < kMinBits ||
      precision > static_cast<int>(matrix.planes.size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "part ", part, " of a linear layer has ", what, " for ", precision,
        " bits, needs ", kMinBits, " to ", matrix.planes.size()));
  }
  return absl::OkStatus();
}

absl::Status CheckSize(int part, int precision, absl::string_view what,
                       size_t found, size_t needed) {
  if (found == needed) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("part ", part, " of a linear layer has ", found, " ", what,
                   " for ", precision, " bits, needs ", needed));
}

absl::Status CheckCodebook(int part, const BitPlaneMatrix& matrix,
                           const Codebook& codebook) {
  const int precision = codebook.precision;
  RETURN_IF_ERROR(CheckPrecision(part, matrix, "a codebook", precision));
  const size_t centroids = static_cast<size_t>(matrix.n) << precision;
  RETURN_IF_ERROR(
      CheckSize(part, precision, "centroids", codebook.data.size(), centroids));
  for (size_t i = 0; i < centroids; ++i) {
    if (!std::isfinite(ToFloat(codebook.data[i]))) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the ", precision, "-bit codebook of part ", part,
          " of a linear layer is not finite in row ", i >> precision));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckScales(int part, const BitPlaneMatrix& matrix,
                         const GroupScales& scales) {
  const int precision = scales.precision;
  RETURN_IF_ERROR(CheckPrecision(part, matrix, "scales", precision));
  if (scales.group_size <= 0 || scales.group_size % 32 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("part ", part, " of a linear layer has groups of ",
                     scales.group_size, " columns, needs a multiple of 32"));
  }
  const size_t row_groups = GroupCount(matrix.k, scales.group_size);
  const size_t groups = matrix.n * row_groups;
  RETURN_IF_ERROR(CheckSize(part, precision, "alphas", scales.alpha.size(),
                            groups * precision));
  RETURN_IF_ERROR(
      CheckSize(part, precision, "betas", scales.beta.size(), groups));
  for (size_t i = 0; i < groups; ++i) {
    const float largest = LargestWeight(
        scales.alpha.subspan(i * precision, precision), scales.beta[i]);
    // Negated, so that NaN fails too.
    if (!(largest <= kLargestFloat16)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the ", precision, "-bit scales of part ", part,
          " of a linear layer add up to ", largest, " in row ", i / row_groups,
          ", group ", i % row_groups, ", needs at most ", kLargestFloat16));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPlanes(int index, const BitPlaneMatrix& matrix,
                         const BitPlaneMatrix& first) {
  RETURN_IF_ERROR(CheckShape(index, matrix.n, matrix.k, first.k));
  if (matrix.k % 32 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("part ", index, " of a linear layer has k = ", matrix.k,
                     ", bit planes need a multiple of 32"));
  }
  if (matrix.planes.size() != first.planes.size() || matrix.planes.empty() ||
      matrix.planes.size() > kMaxBits) {
    return absl::InvalidArgumentError(
        absl::StrCat("part ", index, " of a linear layer has ",
                     matrix.planes.size(), " planes, the first has ",
                     first.planes.size(), ", needs 1 to ", kMaxBits));
  }
  return absl::OkStatus();
}

// `name` is what T is called in messages.
template <class T>
absl::Status CheckAscending(int index, absl::string_view name,
                            std::span<const T> values,
                            std::span<const T> first) {
  if (values.size() != first.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("part ", index, " of a linear layer has ", values.size(),
                     " ", name, "s, the first has ", first.size()));
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const int precision = values[i].precision;
    if (precision != first[i].precision ||
        (i > 0 && precision <= values[i - 1].precision)) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, " ", i, " of part ", index, " of a linear layer is for ",
          precision,
          " bits; needs ascending precisions, the same ones in every part"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckBitPlanePart(int index, const QuantizedLinear& part,
                               const QuantizedLinear& first) {
  RETURN_IF_ERROR(CheckPlanes(index, part.matrix, first.matrix));
  if (part.codebooks.empty() == part.scales.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("part ", index, " of a linear layer has ",
                     part.codebooks.size(), " codebooks and scales for ",
                     part.scales.size(), " precisions, needs one of the two"));
  }
  RETURN_IF_ERROR(
      CheckAscending(index, "codebook", part.codebooks, first.codebooks));
  for (const Codebook& codebook : part.codebooks) {
    RETURN_IF_ERROR(CheckCodebook(index, part.matrix, codebook));
  }
  RETURN_IF_ERROR(CheckAscending(index, "scale", part.scales, first.scales));
  for (const GroupScales& scales : part.scales) {
    RETURN_IF_ERROR(CheckScales(index, part.matrix, scales));
    if (scales.group_size != first.scales[0].group_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "part ", index, " of a linear layer has groups of ",
          scales.group_size, " columns for ", scales.precision, " bits, needs ",
          first.scales[0].group_size, " as elsewhere"));
    }
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
