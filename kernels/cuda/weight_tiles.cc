#include "kernels/cuda/weight_tiles.h"

#include <algorithm>

#include "kernels/check.h"

namespace anyprec {
namespace {

// Where word `word` of row `row` of a layer with k columns stands.
size_t TiledIndex(int row, int word, int k) {
  constexpr int kWordsPerRow = kTileColumns / 32;
  const size_t band = row / kTileRows;
  const size_t tile = band * TilesPerBand(k) + word / kWordsPerRow;
  const int row_in_tile = row % kTileRows;
  const int word_in_tile = word % kWordsPerRow;
  const int lane = row_in_tile % 8 * 4 + word_in_tile % 4;
  const int in_piece = word_in_tile / 4 * 2 + row_in_tile / 8;
  return tile * kTileWords + lane * 4 + in_piece;
}

}  // namespace

size_t TiledWords(int n, int k) {
  return static_cast<size_t>(BandCount(n)) * TilesPerBand(k) * kTileWords;
}

void WriteTiles(std::span<const PlanePart> parts, int k,
                std::span<uint32_t> tiles) {
  ANYPREC_CHECK(k % 32 == 0) << "k = " << k;
  int n = 0;
  for (const PlanePart& part : parts) n += part.n;
  ANYPREC_CHECK(tiles.size() == TiledWords(n, k))
      << tiles.size() << " words for " << n << " x " << k;
  std::fill(tiles.begin(), tiles.end(), 0);
  int row = 0;
  for (const PlanePart& part : parts) {
    const uint32_t* words = part.words;
    for (const int end = row + part.n; row < end; ++row, words += k / 32) {
      for (int word = 0; word < k / 32; ++word) {
        tiles[TiledIndex(row, word, k)] = words[word];
      }
    }
  }
}

}  // namespace anyprec
