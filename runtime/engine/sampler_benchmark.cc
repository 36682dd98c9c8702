// Time to sample one token, by method and vocabulary. The logits follow Zipf's
// law in an order of their own: a long tail, so that a nucleus of 0.95 holds
// thousands of tokens, more than those of language models do.
#include <cmath>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include "benchmark/benchmark.h"
#include "runtime/engine/sampler.h"

namespace anyprec {
namespace {

std::vector<float> ZipfLogits(int vocab_size, float exponent) {
  std::vector<float> logits(vocab_size);
  for (int i = 0; i < vocab_size; ++i) {
    logits[i] = -exponent * std::log(static_cast<float>(i + 1));
  }
  std::shuffle(logits.begin(), logits.end(), std::mt19937(1));
  return logits;
}

void Run(benchmark::State& state, const SamplingParams& params,
         std::optional<int> top_logprobs) {
  const std::vector<float> logits =
      ZipfLogits(static_cast<int>(state.range(0)), 1.2f);
  Sampler sampler(params, top_logprobs, {}, 1);
  SamplerScratch scratch;
  int index = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(sampler.Sample(logits, index++, scratch));
  }
}

SamplingParams With(float temperature, int top_k, float top_p) {
  SamplingParams params;
  params.temperature = temperature;
  params.top_k = top_k;
  params.top_p = top_p;
  return params;
}

SamplingParams Penalized() {
  SamplingParams params;
  params.temperature = 0;
  params.repetition_penalty = 1.1f;
  return params;
}

#define ANYPREC_SAMPLER_BENCHMARK(name, ...) \
  BENCHMARK_CAPTURE(Run, name, __VA_ARGS__)  \
      ->Arg(49152)                           \
      ->Arg(128256)                          \
      ->Unit(benchmark::kMicrosecond)

ANYPREC_SAMPLER_BENCHMARK(Greedy, With(0, 0, 1), std::nullopt);
ANYPREC_SAMPLER_BENCHMARK(GreedyLogprobs, With(0, 0, 1), 5);
ANYPREC_SAMPLER_BENCHMARK(GreedyPenalized, Penalized(), std::nullopt);
ANYPREC_SAMPLER_BENCHMARK(Temperature, With(1, 0, 1), std::nullopt);
ANYPREC_SAMPLER_BENCHMARK(TopK40, With(1, 40, 1), std::nullopt);
ANYPREC_SAMPLER_BENCHMARK(TopP95, With(1, 0, 0.95f), std::nullopt);
ANYPREC_SAMPLER_BENCHMARK(TopP50, With(1, 0, 0.5f), std::nullopt);

}  // namespace
}  // namespace anyprec

BENCHMARK_MAIN();
