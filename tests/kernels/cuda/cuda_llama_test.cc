// The embedded model on the emulated device, from its planes to its logits.
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/conformance/model_conformance.h"

namespace anyprec {
namespace {

INSTANTIATE_TEST_SUITE_P(
    Cuda, ModelConformanceTest,
    testing::Values(ModelUnderTest{
        .name = "Emulated",
        .create = [] { return CreateCudaBackend({}); },
        .create_unrecorded =
            [] { return CreateCudaBackend({.graphs = false}); },
        .checkpoint = [] { return "tests/testdata/tiny-llama"; }}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace anyprec
