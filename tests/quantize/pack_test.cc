#include "quantize/pack.h"

#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bit_plane.h"

namespace anyprec {
namespace {

TEST(PackTest, RoundTripsThroughBitPlaneMatrix) {
  std::mt19937 random(1);
  for (int bits = 2; bits <= 8; ++bits) {
    for (const int k : {32, 64, 224}) {
      constexpr int kRows = 3;
      const size_t words = static_cast<size_t>(k) / 32;
      std::uniform_int_distribution<int> code(0, (1 << bits) - 1);
      std::vector<uint8_t> codes(kRows * k);
      for (uint8_t& c : codes) c = static_cast<uint8_t>(code(random));
      std::vector<uint32_t> planes(bits * kRows * words, 0xdeadbeef);
      for (int row = 0; row < kRows; ++row) {
        PackRow({codes.data() + row * k, static_cast<size_t>(k)}, bits,
                planes.data() + row * words, kRows * words);
      }
      std::vector<const uint32_t*> pointers;
      for (int i = 0; i < bits; ++i) {
        pointers.push_back(planes.data() + i * kRows * words);
      }
      const BitPlaneMatrix matrix = {pointers, kRows, k};
      for (int row = 0; row < kRows; ++row) {
        for (int column = 0; column < k; ++column) {
          for (int p = 1; p <= bits; ++p) {
            EXPECT_EQ(CodeAt(matrix, p, row, column),
                      codes[row * k + column] >> (bits - p));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace anyprec
