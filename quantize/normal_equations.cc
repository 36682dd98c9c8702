#include "quantize/normal_equations.h"

#include <cmath>

namespace anyprec {
namespace {

// What makes a singular matrix factorizable: of its mean diagonal element. A
// pivot is exact to some 1e-15 of it, so all stay positive; and codes that tell
// columns apart have eigenvalues far above it.
constexpr double kRelativeRidge = 1e-10;

// The lower triangle of the Cholesky factor.
UnknownMatrix Factorize(int size, const UnknownMatrix& matrix, double ridge) {
  UnknownMatrix factor = {};
  for (int row = 0; row < size; ++row) {
    for (int column = 0; column <= row; ++column) {
      double rest = matrix[row][column] + (row == column ? ridge : 0);
      for (int i = 0; i < column; ++i) {
        rest -= factor[row][i] * factor[column][i];
      }
      factor[row][column] =
          row == column ? std::sqrt(rest) : rest / factor[column][column];
    }
  }
  return factor;
}

UnknownVector Substitute(int size, const UnknownMatrix& factor,
                         UnknownVector x) {
  for (int row = 0; row < size; ++row) {
    for (int i = 0; i < row; ++i) x[row] -= factor[row][i] * x[i];
    x[row] /= factor[row][row];
  }
  for (int row = size - 1; row >= 0; --row) {
    for (int i = row + 1; i < size; ++i) x[row] -= factor[i][row] * x[i];
    x[row] /= factor[row][row];
  }
  return x;
}

}  // namespace

UnknownVector SolveNormalEquations(int size, const UnknownMatrix& gram,
                                   const UnknownVector& right) {
  double trace = 0;
  for (int i = 0; i < size; ++i) trace += gram[i][i];
  const UnknownMatrix factor =
      Factorize(size, gram, kRelativeRidge * trace / size);
  UnknownVector x = Substitute(size, factor, right);
  // What the ridge has pulled towards zero, one step of refinement gives back.
  UnknownVector rest = right;
  for (int row = 0; row < size; ++row) {
    for (int i = 0; i < size; ++i) rest[row] -= gram[row][i] * x[i];
  }
  const UnknownVector step = Substitute(size, factor, rest);
  for (int i = 0; i < size; ++i) x[i] += step[i];
  return x;
}

}  // namespace anyprec
