// The kernels compiled for one instruction set: see this target's copts.
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/row_kernels-inl.h"

namespace anyprec {

const CpuKernels& Avx512Kernels() { return kKernels; }

}  // namespace anyprec
