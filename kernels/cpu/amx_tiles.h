// What the AMX kernels share. For translation units compiled for AMX only; see
// bit_plane_avx512.h.
#ifndef ANYPREC_KERNELS_CPU_AMX_TILES_H_
#define ANYPREC_KERNELS_CPU_AMX_TILES_H_

#include <immintrin.h>
#include <stdint.h>

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

}  // namespace
}  // namespace anyprec
// NOLINTEND(google-build-namespaces,misc-definitions-in-headers)

#endif  // ANYPREC_KERNELS_CPU_AMX_TILES_H_
