// Apart from backend.h for code that is compiled for one instruction set, which
// may include nothing with functions in it.
#ifndef ANYPREC_KERNELS_NOT_FINITE_H_
#define ANYPREC_KERNELS_NOT_FINITE_H_

#include <cstdint>

namespace anyprec {

// What Backend::ArgMax() gives for a row that holds an infinity or NaN.
inline constexpr int32_t kNotFinite = -1;

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_NOT_FINITE_H_
