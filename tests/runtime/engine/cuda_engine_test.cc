// The engine with the embedded model on the emulated device: what that draws is
// what the host would have drawn from its logits.
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/emulation/runtime.h"
#include "runtime/model/llama_model.h"
#include "tests/runtime/engine/small_engine.h"

namespace anyprec {
namespace {

std::unique_ptr<Engine> CudaEngine() {
  auto backend = CreateCudaBackend({});
  EXPECT_TRUE(backend.ok()) << backend.status();
  auto model =
      LlamaModel::LoadCheckpoint("tests/testdata/tiny-llama", {}, **backend);
  EXPECT_TRUE(model.ok()) << model.status();
  auto engine = Engine::Create({.warm_up = absl::ZeroDuration()},
                               *std::move(backend), *std::move(model), nullptr);
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

std::vector<Request> Requests() {
  std::vector<Request> requests;
  for (const SamplingParams& sampling :
       {SamplingParams{.temperature = 0}, SamplingParams{.temperature = 1.5f},
        SamplingParams{.temperature = 2, .top_k = 20},
        SamplingParams{.temperature = 2, .top_k = 100, .top_p = 0.95f},
        SamplingParams{.top_p = 0.8f},
        SamplingParams{.temperature = 4, .top_p = 0.99f},
        SamplingParams{.temperature = 2, .min_p = 0.02f}}) {
    Request request = MakeRequest({1, 403, 407, 261, 378}, 8);
    request.sampling = sampling;
    request.sampling.seed = 100 + requests.size();
    requests.push_back(std::move(request));
  }
  return requests;
}

TEST(CudaEngineTest, TheDeviceDrawsWhatTheHostWouldWhateverTheBatchMates) {
  const std::vector<Request> requests = Requests();
  const auto engine = CudaEngine();
  std::vector<std::vector<TokenId>> by_host;
  for (Request request : requests) {
    request.top_logprobs = 0;  // takes the logits
    by_host.push_back(TokensOf(ReadAll(*Submit(*engine, request))));
  }
  for (const uint64_t seed : {0, 2}) {
    emulation::SetSeed(seed);
    std::vector<std::unique_ptr<ResponseStream>> streams;
    for (const Request& request : requests) {
      streams.push_back(Submit(*engine, request));
    }
    for (size_t i = 0; i < streams.size(); ++i) {
      EXPECT_EQ(TokensOf(ReadAll(*streams[i])), by_host[i]) << i;
    }
  }
  emulation::SetSeed(1);
}

}  // namespace
}  // namespace anyprec
