// The reference backend: the specification of every operation.
//
// Plain loops that accumulate in double and read as the formulas do, against
// which each other backend, instruction set and kernel variant is tested. Slow:
// some hundred million multiplications a second.
#ifndef ANYPREC_KERNELS_REFERENCE_REFERENCE_BACKEND_H_
#define ANYPREC_KERNELS_REFERENCE_REFERENCE_BACKEND_H_

#include <memory>

#include "kernels/backend.h"

namespace anyprec {

std::unique_ptr<Backend> CreateReferenceBackend();

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_REFERENCE_REFERENCE_BACKEND_H_
