// Views a stored tensor as a backend's dense layer.
#ifndef ANYPREC_RUNTIME_MODEL_DENSE_MATRIX_H_
#define ANYPREC_RUNTIME_MODEL_DENSE_MATRIX_H_

#include "kernels/backend.h"
#include "runtime/format/parent_model_layout.h"
#include "runtime/format/tensor.h"

namespace anyprec {

// REQUIRES: `tensor` holds W[spec.n, spec.k] as kF32, kF16, kBF16 or kI8, as
// the readers of runtime/format guarantee. The view lives as long as `tensor`.
DenseMatrix ViewDense(const DenseTensor& tensor, const LinearSpec& spec);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_MODEL_DENSE_MATRIX_H_
