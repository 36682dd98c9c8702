#include "quantize/pack.h"

#include "kernels/check.h"

namespace anyprec {
namespace {

// Seen as 8 x 8 bits (byte i is row i), swaps rows and columns: the three steps
// exchange blocks of 1, 2 and 4 bits across the diagonal (Knuth, TAOCP 4A,
// 7.1.3).
uint64_t TransposeBits(uint64_t x) {
  uint64_t swap = (x ^ x >> 7) & 0x00aa00aa00aa00aau;
  x ^= swap ^ swap << 7;
  swap = (x ^ x >> 14) & 0x0000cccc0000ccccu;
  x ^= swap ^ swap << 14;
  swap = (x ^ x >> 28) & 0x00000000f0f0f0f0u;
  return x ^ swap ^ swap << 28;
}

}  // namespace

void PackRow(std::span<const uint8_t> codes, int bits, uint32_t* planes,
             size_t plane_stride) {
  ANYPREC_CHECK(codes.size() % 32 == 0);
  for (size_t word = 0; word < codes.size() / 32; ++word) {
    uint32_t words[8] = {};  // by bit of the code, least significant first
    for (int octet = 0; octet < 4; ++octet) {
      const uint8_t* source = codes.data() + 32 * word + 8 * octet;
      uint64_t block = 0;
      for (int i = 0; i < 8; ++i) block |= uint64_t{source[i]} << (8 * i);
      block = TransposeBits(block);
      for (int bit = 0; bit < bits; ++bit) {
        words[bit] |= static_cast<uint32_t>(block >> (8 * bit) & 255)
                      << (8 * octet);
      }
    }
    for (int plane = 0; plane < bits; ++plane) {
      planes[plane * plane_stride + word] = words[bits - 1 - plane];
    }
  }
}

}  // namespace anyprec
