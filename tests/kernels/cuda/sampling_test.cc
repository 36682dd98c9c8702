// Draws on the emulated device: the same tokens whatever order it takes.
#include "kernels/cuda/sampling.cuh"

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/emulation/runtime.h"
#include "kernels/sampling.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

constexpr int kVocab = 5000;
constexpr int kRows = 3;

std::vector<TokenDraw> Draws() {
  std::vector<TokenDraw> draws;
  for (const TokenDraw& method :
       {TokenDraw{.temperature = 0}, TokenDraw{}, TokenDraw{.top_k = 40},
        TokenDraw{.top_k = 400, .top_p = 0.9f}, TokenDraw{.top_p = 0.2f},
        TokenDraw{.top_p = 0.95f}, TokenDraw{.min_p = 0.1f}}) {
    for (int row = 0; row < kRows; ++row) {
      TokenDraw draw = method;
      draw.row = row;
      draw.seed = draws.size();
      draws.push_back(draw);
    }
  }
  return draws;
}

std::vector<int32_t> SampleUnder(uint64_t seed, std::span<const float> x,
                                 std::span<const TokenDraw> draws) {
  emulation::SetSeed(seed);
  const auto backend = CreateCudaBackend({});
  EXPECT_TRUE(backend.ok()) << backend.status();
  const auto in = Upload(**backend, x);
  std::vector<int32_t> tokens(draws.size(), -77);
  EXPECT_TRUE((*backend)->Sample(in->data(), draws, kVocab, tokens).ok());
  return tokens;
}

TEST(CudaSamplingTest, ADrawGivesItsTokenInAnyOrderAndBatch) {
  std::vector<float> x = RandomFloats(kRows * kVocab, 1);
  for (float& logit : x) logit *= 2;
  const std::vector<TokenDraw> draws = Draws();
  const std::vector<int32_t> in_order = SampleUnder(0, x, draws);
  for (const uint64_t seed : {1, 2, 3}) {
    EXPECT_EQ(SampleUnder(seed, x, draws), in_order) << seed;
    const std::span<const TokenDraw> last = std::span(draws).last(1);
    EXPECT_EQ(SampleUnder(seed, x, last)[0], in_order.back()) << seed;
  }
  emulation::SetSeed(1);
}

TEST(CudaSamplingTest, NoDrawsAreNoLaunch) {
  EXPECT_EQ(LaunchSample(nullptr, nullptr, 0, 8, nullptr, nullptr, nullptr),
            cudaSuccess);
}

}  // namespace
}  // namespace anyprec
