// An engine with a small model of random planes, and what its tests do with it.
#ifndef ANYPREC_TESTS_RUNTIME_ENGINE_SMALL_ENGINE_H_
#define ANYPREC_TESTS_RUNTIME_ENGINE_SMALL_ENGINE_H_

#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/reference/reference_backend.h"
#include "runtime/engine/engine.h"
#include "runtime/model/llama_loader.h"
#include "runtime/model/synthetic_source.h"
#include "tests/runtime/engine/answers.h"

namespace anyprec {

inline constexpr int kVocab = 331;

inline ModelConfig SmallConfig() {
  ModelConfig config;
  config.vocab_size = kVocab;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.max_position_embeddings = 256;
  config.eos_token_ids = {0};
  return config;
}

enum class BackendKind { kReference, kCpuInt16, kCpuFloat32 };

inline std::unique_ptr<Backend> MakeBackend(BackendKind kind) {
  if (kind == BackendKind::kReference) return CreateReferenceBackend();
  CpuBackendOptions options;
  options.threads = 2;
  options.mode = kind == BackendKind::kCpuInt16 ? ComputeMode::kInt16
                                                : ComputeMode::kFloat32;
  return *CreateCpuBackend(options);
}

inline std::unique_ptr<Engine> MakeEngine(const EngineOptions& options,
                                          std::unique_ptr<Backend> backend) {
  SyntheticSource source(SmallConfig(), kMaxBits);
  const LoadOptions load;
  auto model = LlamaLoader(source, load, *backend).Load();
  EXPECT_TRUE(model.ok()) << model.status();
  auto engine =
      Engine::Create(options, std::move(backend), *std::move(model), nullptr);
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

inline std::unique_ptr<Engine> MakeEngine(const EngineOptions& options,
                                          BackendKind kind) {
  return MakeEngine(options, MakeBackend(kind));
}

// A change in the last bit of a logit shows here, long before it changes a
// token.
inline std::vector<float> LogprobsOf(const Chunk& chunk) {
  std::vector<float> logprobs;
  for (const TokenOutput& output : chunk.tokens) {
    logprobs.push_back(output.logprob);
  }
  return logprobs;
}

inline std::unique_ptr<ResponseStream> Submit(Engine& engine,
                                              const Request& request) {
  auto stream = engine.Submit(request);
  EXPECT_TRUE(stream.ok()) << stream.status();
  return *std::move(stream);
}

inline Request MakeRequest(std::vector<TokenId> prompt, int max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.stopping.max_tokens = max_tokens;
  request.stopping.ignore_eos = true;
  request.sampling.seed = 1;
  return request;
}

}  // namespace anyprec

#endif  // ANYPREC_TESTS_RUNTIME_ENGINE_SMALL_ENGINE_H_
