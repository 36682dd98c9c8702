// Bytes per second of the checksum, with and without the CPU's instruction.
//   bazel run -c opt //runtime/format:crc32c_benchmark
#include <vector>

#include "benchmark/benchmark.h"
#include "runtime/format/crc32c.h"

namespace anyprec {
namespace {

// Beyond the caches, as a model is.
constexpr size_t kBytes = size_t{256} << 20;

template <uint32_t (*kExtend)(uint32_t, std::span<const std::byte>)>
void BM_Crc32c(benchmark::State& state) {
  const std::vector<std::byte> data(kBytes, std::byte{0x5a});
  for (auto _ : state) benchmark::DoNotOptimize(kExtend(0, data));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBytes));
}

BENCHMARK(BM_Crc32c<ExtendCrc32c>)->Name("Crc32c/Chosen");
BENCHMARK(BM_Crc32c<internal::ExtendCrc32cByTable>)->Name("Crc32c/Table");

}  // namespace
}  // namespace anyprec

BENCHMARK_MAIN();
