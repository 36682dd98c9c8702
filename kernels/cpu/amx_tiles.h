// What the AMX kernels share. For translation units compiled for AMX only; see
// bit_plane_avx512.h.
#ifndef ANYPREC_KERNELS_CPU_AMX_TILES_H_
#define ANYPREC_KERNELS_CPU_AMX_TILES_H_

#include <immintrin.h>
#include <stdint.h>

#include "kernels/cpu/bit_plane_avx512_panel.h"

// Internal linkage on purpose: code for one instruction set must not be linked
// into code for another.
// NOLINTBEGIN(google-build-namespaces,misc-definitions-in-headers)
namespace anyprec {
namespace {

// Tile registers are 16 rows of 64 bytes throughout.
inline void ConfigureTiles() {
  struct alignas(64) {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  _tile_loadconfig(&config);
}

// gcc does not know that tile loads read memory.
inline __attribute__((always_inline)) void FlushStoresForTiles() {
  asm volatile("" ::: "memory");
}

// Sums of kTiles tiles of weights times kSlices slices of x, up to two of each:
// registers 0 and 1 of the first tile, 2 and 3 of the second.

template <int kTiles, int kSlices>
ANYPREC_INLINE void ZeroSums() {
  _tile_zero(0);
  if constexpr (kSlices == 2) _tile_zero(1);
  if constexpr (kTiles == 2) _tile_zero(2);
  if constexpr (kTiles + kSlices == 4) _tile_zero(3);
}

// The sums of the second slice lie kTileSums after those of the first, those of
// the second tile `stride` after those of the first.
template <int kTiles, int kSlices, typename Sum>
ANYPREC_INLINE void StoreSums(Sum* sums, int stride) {
  _tile_stored(0, sums, kVectorBytes);
  if constexpr (kSlices == 2) _tile_stored(1, sums + kTileSums, kVectorBytes);
  if constexpr (kTiles == 2) _tile_stored(2, sums + stride, kVectorBytes);
  if constexpr (kTiles + kSlices == 4) {
    _tile_stored(3, sums + stride + kTileSums, kVectorBytes);
  }
}

}  // namespace
}  // namespace anyprec
// NOLINTEND(google-build-namespaces,misc-definitions-in-headers)

#endif  // ANYPREC_KERNELS_CPU_AMX_TILES_H_
