#include "kernels/cpu/cpu_backend.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu/isa.h"
#include "tests/conformance/backend_conformance.h"

namespace anyprec {
namespace {

// Every instruction set of this machine in every mode.
std::vector<BackendUnderTest> AllCpuBackends() {
  std::vector<BackendUnderTest> backends;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > DetectIsa()) continue;
    for (const ComputeMode mode :
         {ComputeMode::kInt16, ComputeMode::kFloat32}) {
      const bool exact = mode == ComputeMode::kFloat32;
      BackendUnderTest backend;
      backend.name = absl::StrCat(IsaName(isa), exact ? "Float32" : "Int16");
      backend.create = [isa, mode](int threads) {
        return CreateCpuBackend({.threads = threads, .mode = mode, .isa = isa});
      };
      if (!exact) {
        // Relative errors (bit_plane_linear.h) of some 4e-4 from int16, some
        // 1e-2 from bytes and bfloat16; the largest of thousands of outputs is
        // four times that.
        backend.bit_plane_tolerance = [isa](int precision, Phase phase) {
          const bool coarse = precision <= 5 ||
                              (phase == Phase::kPrefill && isa == Isa::kAvx512);
          return coarse ? 4e-2 : 3e-3;
        };
        // Activations of 16 bits.
        backend.int8_decode_tolerance = 4e-4;
      }
      backends.push_back(backend);
    }
  }
  return backends;
}

INSTANTIATE_TEST_SUITE_P(
    Cpu, BackendConformanceTest, testing::ValuesIn(AllCpuBackends()),
    [](const testing::TestParamInfo<BackendUnderTest>& info) {
      return info.param.name;
    });

TEST(CpuBackendTest, NamesInstructionSetThreadsAndMode) {
  auto backend = CreateCpuBackend({.threads = 2, .isa = Isa::kPortable});
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_EQ((*backend)->name(), "cpu (portable, 2 threads, int16)");
}

TEST(CpuBackendTest, RefusesInstructionSetsThatTheMachineLacks) {
  if (DetectIsa() == Isa::kAvx512) {
    GTEST_SKIP() << "this machine runs every instruction set";
  }
  EXPECT_EQ(CreateCpuBackend({.isa = Isa::kAvx512}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace anyprec
