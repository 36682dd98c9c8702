// Operations on rows on the emulated device: rows keep their bits whatever
// their batch and whatever order the device takes.
#include "kernels/cuda/row_kernels.cuh"

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/emulation/runtime.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

constexpr int kSizes[] = {1, 31, 255, 256, 257, 1000};
constexpr int kRows = 5;

std::unique_ptr<Backend> CudaUnder(uint64_t seed) {
  emulation::SetSeed(seed);
  auto backend = CreateCudaBackend({});
  EXPECT_TRUE(backend.ok()) << backend.status();
  return *std::move(backend);
}

std::vector<float> Poison(size_t size) {
  return std::vector<float>(size, std::numeric_limits<float>::quiet_NaN());
}

std::vector<float> RmsNorm(Backend& backend, std::span<const float> x, int n) {
  const auto in = Upload(backend, x);
  const auto weight = Upload(backend, RandomFloats(n, 2));
  const auto out = Upload(backend, Poison(x.size()));
  const int rows = static_cast<int>(x.size()) / n;
  EXPECT_TRUE(
      backend.RmsNorm(in->data(), weight->data(), rows, n, 1e-5f, out->data())
          .ok());
  return Download(backend, out->data(), x.size());
}

std::vector<float> SiluMul(Backend& backend, std::span<const float> gate_up,
                           int n) {
  const auto in = Upload(backend, gate_up);
  const auto out = Upload(backend, Poison(gate_up.size() / 2));
  const int rows = static_cast<int>(gate_up.size()) / (2 * n);
  EXPECT_TRUE(backend.SiluMul(in->data(), rows, n, out->data()).ok());
  return Download(backend, out->data(), gate_up.size() / 2);
}

TEST(CudaRowKernelsTest, ARowKeepsItsBitsInAnyOrderAndBatch) {
  for (const int n : kSizes) {
    const size_t size = n;
    const auto x = RandomFloats(kRows * size, 1);
    const auto gate_up = RandomFloats(2 * kRows * size, 3);
    const auto in_order = CudaUnder(0);
    const auto normed = RmsNorm(*in_order, x, n);
    const auto gated = SiluMul(*in_order, gate_up, n);
    for (const uint64_t seed : {1, 2, 3}) {
      const auto shuffled = CudaUnder(seed);
      EXPECT_TRUE(SameBits(RmsNorm(*shuffled, x, n), normed)) << n;
      EXPECT_TRUE(SameBits(SiluMul(*shuffled, gate_up, n), gated)) << n;
      // The last row by itself.
      EXPECT_TRUE(SameBits(RmsNorm(*shuffled, std::span(x).last(size), n),
                           std::span(normed).last(size)))
          << n;
      EXPECT_TRUE(
          SameBits(SiluMul(*shuffled, std::span(gate_up).last(2 * size), n),
                   std::span(gated).last(size)))
          << n;
    }
  }
  emulation::SetSeed(1);
}

}  // namespace
}  // namespace anyprec
