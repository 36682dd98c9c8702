// Checks of what comes from model files and configuration, shared by the
// backends so that all of them answer a malformed layer alike.
#ifndef ANYPREC_KERNELS_VALIDATION_H_
#define ANYPREC_KERNELS_VALIDATION_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "kernels/backend.h"

namespace anyprec {

// INVALID_ARGUMENT unless `parts` can be stacked into one layer: at least one,
// all of one k and with the same planes, precisions and group size, codebooks
// or scales ascending, finite and of the size that their precision asks for.
absl::Status ValidateBitPlanes(std::span<const QuantizedLinear> parts);

// INVALID_ARGUMENT unless `parts` can be stacked into one layer: at least one,
// all of one type and k, kInt8 with n finite scales.
absl::Status ValidateDense(std::span<const DenseMatrix> parts);

// INVALID_ARGUMENT unless every id is in [0, n).
absl::Status ValidateIds(std::span<const int32_t> ids, int n);

// INVALID_ARGUMENT unless all of `layout` is positive and head_dim even.
absl::Status ValidateKvLayout(const KvLayout& layout);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_VALIDATION_H_
