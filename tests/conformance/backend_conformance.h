// What every backend must do, as tests against kernels/backend.h alone.
//
// A backend's own test names itself and instantiates the suite:
//
//   INSTANTIATE_TEST_SUITE_P(Cuda, BackendConformanceTest,
//                            testing::Values(BackendUnderTest{...}));
#ifndef ANYPREC_TESTS_CONFORMANCE_BACKEND_CONFORMANCE_H_
#define ANYPREC_TESTS_CONFORMANCE_BACKEND_CONFORMANCE_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/reference/reference_backend.h"

namespace anyprec {

struct BackendUnderTest {
  std::string name;  // letters and digits
  // A backend that uses `threads` threads, where that means anything to it.
  std::function<absl::StatusOr<std::unique_ptr<Backend>>(int threads)> create;
  // Largest error of a linear layer whose outputs have a variance of 1, from
  // activations and weights that are normally distributed.
  std::function<double(int precision, Phase phase)> bit_plane_tolerance =
      [](int, Phase) { return 1e-5; };
  double dense_tolerance = 1e-5;
  double int8_decode_tolerance = 1e-5;
  // Of all other operations, whose results are of the order of 1.
  double tolerance = 1e-5;
  // Rows of the largest products of dense layers; fewer where the device is
  // emulated.
  int max_dense_rows = 90;
  // Rows that each way to sample draws from, likewise.
  int max_draw_rows = 7;
};

inline void PrintTo(const BackendUnderTest& backend, std::ostream* out) {
  *out << backend.name;
}

class BackendConformanceTest : public testing::TestWithParam<BackendUnderTest> {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<Backend>> backend = GetParam().create(2);
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
  }

  std::unique_ptr<Backend> backend_;
  const std::unique_ptr<Backend> reference_ = CreateReferenceBackend();
};

}  // namespace anyprec

#endif  // ANYPREC_TESTS_CONFORMANCE_BACKEND_CONFORMANCE_H_
