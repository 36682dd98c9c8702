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

size_t TiledScales(int n, int groups, int precision) {
  return static_cast<size_t>(BandCount(n)) * groups * (1 + precision) *
         kTileRows;
}

void WriteScaleTiles(std::span<const GroupScales> parts, int groups,
                     std::span<Float16> tiles) {
  std::fill(tiles.begin(), tiles.end(), Float16{});
  const int precision = parts[0].precision;
  int row = 0;
  for (const GroupScales& part : parts) {
    const Float16* alpha = part.alpha.data();
    const Float16* beta = part.beta.data();
    const int end = row + static_cast<int>(part.beta.size()) / groups;
    for (; row < end; ++row) {
      for (int group = 0; group < groups; ++group, alpha += precision, ++beta) {
        const size_t band_group =
            static_cast<size_t>(row / kTileRows) * groups + group;
        Float16* const out = tiles.data() +
                             band_group * (1 + precision) * kTileRows +
                             row % kTileRows;
        out[0] = *beta;
        for (int i = 0; i < precision; ++i) out[(1 + i) * kTileRows] = alpha[i];
      }
    }
  }
  ANYPREC_CHECK(tiles.size() == TiledScales(row, groups, precision))
      << tiles.size() << " values for " << row << " rows";
}

}  // namespace anyprec
