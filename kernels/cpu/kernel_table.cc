#include "kernels/cpu/kernel_table.h"

#include "kernels/check.h"

namespace anyprec {

const CpuKernels& KernelsFor(Isa isa) {
  ANYPREC_CHECK(isa <= DetectIsa())
      << "this machine does not run " << IsaName(isa);
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return Avx512Kernels();
  if (isa == Isa::kAvx2) return Avx2Kernels();
#endif
  return PortableKernels();
}

}  // namespace anyprec
