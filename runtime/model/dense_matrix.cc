#include "runtime/model/dense_matrix.h"

#include "kernels/check.h"

namespace anyprec {

DenseMatrix ViewDense(const DenseTensor& tensor, const LinearSpec& spec) {
  DenseMatrix matrix = {
      .data = tensor.data.data(), .row_scales = {}, .n = spec.n, .k = spec.k};
  switch (tensor.dtype) {
    case DType::kF32:
      matrix.type = DenseMatrix::Type::kFloat32;
      return matrix;
    case DType::kF16:
      matrix.type = DenseMatrix::Type::kFloat16;
      return matrix;
    case DType::kBF16:
      matrix.type = DenseMatrix::Type::kBFloat16;
      return matrix;
    case DType::kI8:
      matrix.type = DenseMatrix::Type::kInt8;
      return matrix;
    default:
      ANYPREC_CHECK(false) << spec.name << " is " << DTypeName(tensor.dtype);
      return matrix;
  }
}

}  // namespace anyprec
