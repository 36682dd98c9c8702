// The normal equations of a small weighted least-squares problem.
#ifndef ANYPREC_QUANTIZE_NORMAL_EQUATIONS_H_
#define ANYPREC_QUANTIZE_NORMAL_EQUATIONS_H_

#include <array>

#include "kernels/bit_plane.h"

namespace anyprec {

// An offset and a scale for each bit.
inline constexpr int kMaxUnknowns = kMaxBits + 1;

using UnknownVector = std::array<double, kMaxUnknowns>;
using UnknownMatrix = std::array<UnknownVector, kMaxUnknowns>;

// Solves gram * x = right for the first `size` unknowns, with `gram` symmetric
// and positive semidefinite. Where it is singular (two bits that agree in every
// column, fewer columns than unknowns) x is one of the solutions, and small.
// REQUIRES: 0 < size <= kMaxUnknowns; a positive trace; `right` in the range of
// `gram`, as it is in normal equations.
UnknownVector SolveNormalEquations(int size, const UnknownMatrix& gram,
                                   const UnknownVector& right);

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_NORMAL_EQUATIONS_H_
