// Weights a second that one core quantizes and packs, at the widths of
// SmolLM2-135M and of 7B models. "items_per_second" counts weights.

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "benchmark/benchmark.h"
#include "kernels/types.h"
#include "quantize/binary_coded_row_quantizer.h"
#include "quantize/codebook_row_quantizer.h"
#include "quantize/pack.h"
#include "quantize/row_quantizer.h"

namespace anyprec {
namespace {

void QuantizeRow(benchmark::State& state, RowQuantizer& quantizer,
                 const RowFormat& format) {
  const size_t k = state.range(0);
  const int bits = format.range.parent_bits;
  // Enough rows that branches cannot be learned by heart.
  constexpr size_t kRows = 64;
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 0.03f);
  std::vector<float> weights(kRows * k), sample_weights(k);
  for (float& weight : weights) weight = normal(random);
  for (float& weight : sample_weights) {
    const float activation = normal(random);
    weight = activation * activation;
  }
  std::vector<uint8_t> codes(k);
  std::vector<Float16> stored(format.ValuesPerRow(static_cast<int>(k)));
  std::vector<uint32_t> planes(bits * k / 32);
  size_t row = 0;
  for (auto _ : state) {
    const RowError error = quantizer.Quantize({weights.data() + row * k, k},
                                              sample_weights, codes, stored);
    PackRow(codes, bits, planes.data(), k / 32);
    benchmark::DoNotOptimize(error);
    benchmark::ClobberMemory();
    row = (row + 1) % kRows;
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void ToCodebooks(benchmark::State& state) {
  const RowFormat format = {.range = {static_cast<int>(state.range(1)), 8}};
  CodebookRowQuantizer quantizer(format.range);
  QuantizeRow(state, quantizer, format);
}
BENCHMARK(ToCodebooks)
    ->ArgNames({"k", "seed_bits"})
    ->ArgsProduct({{576, 1536, 4096, 11008}, {3}})
    ->Args({4096, 2})
    ->Args({4096, 4});

void ToBinaryCodes(benchmark::State& state) {
  const RowFormat format = {.range = {static_cast<int>(state.range(1)),
                                      static_cast<int>(state.range(2))},
                            .scheme = Scheme::kBinaryCoded,
                            .group_size = 128};
  BinaryCodedRowQuantizer quantizer(format.range, format.group_size);
  QuantizeRow(state, quantizer, format);
}
BENCHMARK(ToBinaryCodes)
    ->ArgNames({"k", "seed_bits", "parent_bits"})
    ->Args({4096, 2, 4})
    ->Args({4096, 3, 8});

}  // namespace
}  // namespace anyprec

BENCHMARK_MAIN();
