// Weights a second that one core quantizes and packs, at the widths of
// SmolLM2-135M and of 7B models. "items_per_second" counts weights.

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "benchmark/benchmark.h"
#include "kernels/types.h"
#include "quantize/pack.h"
#include "quantize/row_quantizer.h"

namespace anyprec {
namespace {

void QuantizeRow(benchmark::State& state) {
  const size_t k = state.range(0);
  const PrecisionRange range = {static_cast<int>(state.range(1)), 8};
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
  RowQuantizer quantizer(range);
  std::vector<uint8_t> codes(k);
  std::vector<Float16> codebooks(range.centroids_per_row());
  std::vector<uint32_t> planes(8 * k / 32);
  size_t row = 0;
  for (auto _ : state) {
    const RowError error = quantizer.Quantize({weights.data() + row * k, k},
                                              sample_weights, codes, codebooks);
    PackRow(codes, 8, planes.data(), k / 32);
    benchmark::DoNotOptimize(error);
    benchmark::ClobberMemory();
    row = (row + 1) % kRows;
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(QuantizeRow)
    ->ArgNames({"k", "seed_bits"})
    ->ArgsProduct({{576, 1536, 4096, 11008}, {3}})
    ->Args({4096, 2})
    ->Args({4096, 4});

}  // namespace
}  // namespace anyprec

BENCHMARK_MAIN();
