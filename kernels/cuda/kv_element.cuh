// Elements of the KV cache in device code: where they lie, and their way to and
// from fp32.
#ifndef ANYPREC_KERNELS_CUDA_KV_ELEMENT_CUH_
#define ANYPREC_KERNELS_CUDA_KV_ELEMENT_CUH_

#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/paged_kv.cuh"

namespace anyprec {

// Which of the layer's [head_dim] pieces is the key of `position`; that of the
// value is kv_heads * block_tokens further on.
//   table  the sequence's block table
__device__ __forceinline__ int64_t KeyPiece(const KvLayerView& kv,
                                            const int32_t* table, int position,
                                            int kv_head) {
  const int64_t block = table[position / kv.block_tokens];
  return (block * 2 * kv.kv_heads + kv_head) * kv.block_tokens +
         position % kv.block_tokens;
}

__device__ __forceinline__ void StoreElement(float value, float* to) {
  *to = value;
}
__device__ __forceinline__ void StoreElement(float value, __half* to) {
  *to = __float2half_rn(value);
}

__device__ __forceinline__ float2 LoadPair(const float* from) {
  return *reinterpret_cast<const float2*>(from);
}
__device__ __forceinline__ float2 LoadPair(const __half* from) {
  return __half22float2(*reinterpret_cast<const __half2*>(from));
}

// kCount, 2 or 8, elements that begin at a multiple of kCount: 8 in one or two
// loads of 16 bytes.
template <int kCount>
__device__ __forceinline__ void LoadElements(const float* from, float* to) {
  static_assert(kCount == 2 || kCount == 8);
  if constexpr (kCount == 2) {
    const float2 pair = LoadPair(from);
    to[0] = pair.x;
    to[1] = pair.y;
  } else {
    for (int i = 0; i < 2; ++i) {
      const float4 four = reinterpret_cast<const float4*>(from)[i];
      to[4 * i] = four.x;
      to[4 * i + 1] = four.y;
      to[4 * i + 2] = four.z;
      to[4 * i + 3] = four.w;
    }
  }
}
template <int kCount>
__device__ __forceinline__ void LoadElements(const __half* from, float* to) {
  static_assert(kCount == 2 || kCount == 8);
  if constexpr (kCount == 2) {
    const float2 pair = LoadPair(from);
    to[0] = pair.x;
    to[1] = pair.y;
  } else {
    const uint4 words = *reinterpret_cast<const uint4*>(from);
    const auto* halves = reinterpret_cast<const __half2*>(&words);
    for (int i = 0; i < 4; ++i) {
      const float2 pair = __half22float2(halves[i]);
      to[2 * i] = pair.x;
      to[2 * i + 1] = pair.y;
    }
  }
}

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_KV_ELEMENT_CUH_
