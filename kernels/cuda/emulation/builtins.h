// CUDA's built-in functions for host C++, on top of emulation.h. Included by
// launch.cuh alone.
#ifndef ANYPREC_KERNELS_CUDA_EMULATION_BUILTINS_H_
#define ANYPREC_KERNELS_CUDA_EMULATION_BUILTINS_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>

#include "kernels/cuda/emulation/emulation.h"

#define __launch_bounds__(...)

namespace anyprec::emulation {

template <class T>
T Shuffle(const char* what, uint32_t mask, T value, int source) {
  struct Args {
    T in;
    int source;
    T out;
  } args{value, source, value};
  WarpMeet(what, mask, args, [what](const Lanes<Args>& lanes) {
    for (int i = 0; i < kWarpSize; ++i) {
      if (lanes[i] == nullptr) continue;
      const Args* from = lanes[lanes[i]->source];
      if (from == nullptr) {
        FailCollective("%s from a lane outside the mask", what);
        return;
      }
      lanes[i]->out = from->in;
    }
  });
  return args.out;
}

template <class T, class Op>
T Reduce(const char* what, uint32_t mask, T value, Op op) {
  WarpMeet(what, mask, value, [op](const Lanes<T>& lanes) {
    T* sum = nullptr;
    for (int i = 0; i < kWarpSize; ++i) {
      if (lanes[i] != nullptr && sum != nullptr) *sum = op(*sum, *lanes[i]);
      if (sum == nullptr) sum = lanes[i];
    }
    for (int i = 0; i < kWarpSize; ++i) {
      if (lanes[i] != nullptr) *lanes[i] = *sum;
    }
  });
  return value;
}

}  // namespace anyprec::emulation

inline void __syncthreads(const char* file = __builtin_FILE(),
                          int line = __builtin_LINE()) {
  anyprec::emulation::Barrier(
      0, static_cast<int>(blockDim.x * blockDim.y * blockDim.z),
      {"__syncthreads", file, line});
}
inline void __syncwarp(uint32_t mask = anyprec::emulation::kFullMask) {
  anyprec::emulation::MeetWarp("__syncwarp", mask, /*orders_memory=*/true,
                               nullptr,
                               [](const anyprec::emulation::LaneArguments&) {});
}

template <class T>
T __shfl_sync(uint32_t mask, T v, int source, int width = 32) {
  const int first = anyprec::emulation::Lane() & -width;
  return anyprec::emulation::Shuffle("__shfl_sync", mask, v,
                                     first | (source & (width - 1)));
}
template <class T>
T __shfl_up_sync(uint32_t mask, T v, unsigned delta, int width = 32) {
  const int lane = anyprec::emulation::Lane();
  const int source = lane - static_cast<int>(delta);
  return anyprec::emulation::Shuffle("__shfl_up_sync", mask, v,
                                     source < (lane & -width) ? lane : source);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T v, unsigned delta, int width = 32) {
  const int lane = anyprec::emulation::Lane();
  const int source = lane + static_cast<int>(delta);
  return anyprec::emulation::Shuffle(
      "__shfl_down_sync", mask, v,
      source >= (lane & -width) + width ? lane : source);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T v, int lane_mask, int width = 32) {
  const int lane = anyprec::emulation::Lane();
  const int source = lane ^ lane_mask;
  return anyprec::emulation::Shuffle(
      "__shfl_xor_sync", mask, v,
      source >= (lane & -width) + width ? lane : source);
}
inline unsigned __ballot_sync(uint32_t mask, int predicate) {
  const unsigned bit = predicate != 0 ? 1u << anyprec::emulation::Lane() : 0;
  return anyprec::emulation::Reduce("__ballot_sync", mask, bit,
                                    std::bit_or<>());
}
inline int __any_sync(uint32_t mask, int predicate) {
  return static_cast<int>(__ballot_sync(mask, predicate) != 0);
}
inline int __all_sync(uint32_t mask, int predicate) {
  return static_cast<int>(__ballot_sync(mask, predicate) == mask);
}
inline int __popc(unsigned v) { return std::popcount(v); }
// The lowest bit that is set, from 1; 0 where none is.
inline int __ffs(int v) {
  return v == 0 ? 0 : std::countr_zero(static_cast<unsigned>(v)) + 1;
}
template <class T>
T __reduce_add_sync(uint32_t mask, T v) {
  return anyprec::emulation::Reduce("__reduce_add_sync", mask, v,
                                    std::plus<>());
}
template <class T>
T __reduce_max_sync(uint32_t mask, T v) {
  return anyprec::emulation::Reduce("__reduce_max_sync", mask, v,
                                    [](T a, T b) { return std::max(a, b); });
}

#endif  // ANYPREC_KERNELS_CUDA_EMULATION_BUILTINS_H_
