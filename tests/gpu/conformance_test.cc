// The suites that every backend passes, on the device.
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/conformance/backend_conformance.h"
#include "tests/conformance/model_conformance.h"
#include "tests/gpu/checkpoint_folder.h"

namespace anyprec {
namespace {

BackendUnderTest Device() {
  BackendUnderTest backend;
  backend.name = "Gpu";
  backend.create = [](int /*threads*/) { return CreateCudaBackend({}); };
  // As in emulation: tests/kernels/cuda/cuda_backend_test.cc.
  backend.bit_plane_tolerance = [](int, Phase phase) {
    return phase == Phase::kDecode ? 1e-5 : 2e-3;
  };
  return backend;
}

INSTANTIATE_TEST_SUITE_P(Cuda, BackendConformanceTest,
                         testing::Values(Device()),
                         [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(Cuda, ModelConformanceTest,
                         testing::Values(ModelUnderTest{
                             .name = "Gpu",
                             .create = [] { return CreateCudaBackend({}); },
                             .create_unrecorded =
                                 [] {
                                   return CreateCudaBackend({.graphs = false});
                                 },
                             .checkpoint = CheckpointFolder}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace anyprec
