// What the embedded model must come to on a device, beside the CPU in fp32.
//
// A backend's own test instantiates the suite, as with BackendConformanceTest.
#ifndef ANYPREC_TESTS_CONFORMANCE_MODEL_CONFORMANCE_H_
#define ANYPREC_TESTS_CONFORMANCE_MODEL_CONFORMANCE_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"

namespace anyprec {

struct ModelUnderTest {
  std::string name;  // letters and digits
  std::function<absl::StatusOr<std::unique_ptr<Backend>>()> create;
  // One that runs no step as a record of an earlier one; null where none does.
  std::function<absl::StatusOr<std::unique_ptr<Backend>>()> create_unrecorded =
      nullptr;
  // The folder of tiny-llama, asked for when tests run.
  std::function<std::string()> checkpoint;
};

inline void PrintTo(const ModelUnderTest& model, std::ostream* out) {
  *out << model.name;
}

class ModelConformanceTest : public testing::TestWithParam<ModelUnderTest> {};

}  // namespace anyprec

#endif  // ANYPREC_TESTS_CONFORMANCE_MODEL_CONFORMANCE_H_
