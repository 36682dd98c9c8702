// What the engine adds to a step: planning, sampling, delivery and waking the
// readers, with a model that takes no time. Streams of 49152 logits, as
// SmolLM2's; items are steps.
#include <algorithm>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "kernels/check.h"
#include "runtime/engine/engine_loop.h"

namespace anyprec {
namespace {

constexpr int kVocab = 49152;
constexpr int kMaxTokens = 200;

class InstantRunner : public ModelRunner {
 public:
  explicit InstantRunner(int max_rows) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 3);
    logits_.resize(static_cast<size_t>(max_rows) * kVocab);
    for (float& logit : logits_) logit = normal(random);
    for (int row = 0; row < max_rows; ++row) {  // a clear favourite each
      logits_[static_cast<size_t>(row) * kVocab + random() % kVocab] = 25;
    }
  }
  absl::StatusOr<StepOutput> Execute(const StepPlan& plan) override {
    tokens_.resize(plan.draws.size());
    return StepOutput{
        .logits = std::span(logits_).first(plan.logit_rows.size() * kVocab),
        .tokens = tokens_};
  }

 private:
  std::vector<float> logits_;
  std::vector<TokenId> tokens_;
};

void StepOverhead(benchmark::State& state, float temperature, float top_p) {
  const int streams = static_cast<int>(state.range(0));
  EngineLoopOptions options;
  options.limits = {.vocab_size = kVocab,
                    .min_bits = 3,
                    .max_bits = 8,
                    .max_context_tokens = 4096};
  options.kv_blocks = 4096;
  EngineLoop loop(options, std::make_unique<InstantRunner>(streams), nullptr,
                  StepCostModel());
  for (auto _ : state) {
    std::vector<std::thread> readers;
    for (int i = 0; i < streams; ++i) {
      Request request;
      request.prompt = {1, 2, 3};
      request.stopping.max_tokens = kMaxTokens;
      request.precision.fixed_bits = 3 + i % 6;
      request.sampling.temperature = temperature;
      request.sampling.top_p = top_p;
      auto stream = loop.Submit(std::move(request));
      ANYPREC_CHECK(stream.ok()) << stream.status();
      readers.emplace_back([stream = *std::move(stream)] {
        while (stream->Next().has_value()) continue;
      });
    }
    for (std::thread& reader : readers) reader.join();
  }
  state.SetItemsProcessed(loop.Stats().steps);
}

BENCHMARK_CAPTURE(StepOverhead, Greedy, 0.0f, 1.0f)
    ->Arg(1)
    ->Arg(16)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(StepOverhead, TopP95, 1.0f, 0.95f)
    ->Arg(1)
    ->Arg(16)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(StepOverhead, Temperature, 1.0f, 1.0f)
    ->Arg(16)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace anyprec

BENCHMARK_MAIN();
