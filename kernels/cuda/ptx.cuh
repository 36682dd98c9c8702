// PTX instructions, each beside what it does in emulation. Nothing else has
// inline PTX. No kernel stages by asynchronous copies so far.
#ifndef ANYPREC_KERNELS_CUDA_PTX_CUH_
#define ANYPREC_KERNELS_CUDA_PTX_CUH_

#include <cstdint>

#include "kernels/cuda/launch.cuh"

#ifndef __CUDACC__
#include "kernels/cuda/emulation/mma.h"
#endif

namespace anyprec {

// mma.m16n8k16: c += a b, A [16, 16] row-major and B [16, 8] column-major in
// fp16, C in fp32. Of lane l, with g = l / 4 and t = l % 4, where a word holds
// two neighbours along k:
//   a[r] = word t + 4 (r / 2) of row g + 8 (r % 2)
//   b[r] = word t + 4 r of column g
//   c[i] = row g + 8 (i / 2), column 2 t + i % 2
__device__ __forceinline__ void MmaF16(float* c, const uint32_t* a,
                                       const uint32_t* b) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulation::MmaF16(c, a, b);
#endif
}

// Copies kBytes (4, 8 or 16, aligned) from global to shared memory, some time
// before the CopyWait() of its group.
template <int kBytes>
__device__ __forceinline__ void CopyAsync(void* shared, const void* global) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
#ifdef __CUDACC__
  const uint32_t to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  if constexpr (kBytes == 16) {  // past L1
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 :
                 : "r"(to), "l"(global)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;"
                 :
                 : "r"(to), "l"(global), "n"(kBytes)
                 : "memory");
  }
#else
  emulation::StartCopy(shared, global, kBytes);
#endif
}

// Ends the thread's group of copies.
__device__ __forceinline__ void CopyCommit() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulation::CommitCopies();
#endif
}

// Waits until at most kPending of the thread's committed groups are under way.
// The copies of others need a barrier after it.
template <int kPending>
__device__ __forceinline__ void CopyWait() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;" : : "n"(kPending) : "memory");
#else
  emulation::WaitForCopies(kPending);
#endif
}

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_PTX_CUH_
