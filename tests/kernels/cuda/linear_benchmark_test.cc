// The benchmark of linear layers, run on the emulated device: what it reports,
// not how fast that is.
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/emulation/runtime.h"
#include "kernels/cuda/linear_measurement.h"
#include "nlohmann/json.hpp"
#include "tests/integration/child_process.h"

namespace anyprec {
namespace {

using testing::HasSubstr;

std::unique_ptr<CudaStream> NewStream() {
  emulation::ResetDevice();
  auto stream = CudaStream::Create(0);
  EXPECT_TRUE(stream.ok()) << stream.status();
  return *std::move(stream);
}

LinearMeasurementOptions Tiny() {
  LinearMeasurementOptions options;
  options.shapes = {{32, 64}, {17, 96}};
  options.bits = {3, 4};
  options.rows = {1, kMaxDecodeRows + 1};
  options.repeats = 3;
  options.rotation_bytes = 2000;
  options.copy_bytes = 1024;
  return options;
}

TEST(LinearMeasurementTest, ReportsEveryShapeAtEveryPrecisionAndRowCount) {
  for (const bool graph : {false, true}) {
    const auto stream = NewStream();
    LinearMeasurementOptions options = Tiny();
    options.graph = graph;
    std::vector<LinearTiming> timings;
    const auto left_out = MeasureLinear(
        options, /*cublas=*/nullptr, *stream,
        [&](const LinearTiming& timing) { timings.push_back(timing); });
    ASSERT_TRUE(left_out.ok()) << left_out.status();
    EXPECT_EQ(*left_out, 0);
    ASSERT_EQ(timings.size(), 8u);
    size_t i = 0;
    for (const LinearShape& shape : options.shapes) {
      for (const int rows : options.rows) {
        for (const int bits : options.bits) {
          const LinearTiming& timing = timings[i++];
          EXPECT_EQ(timing.shape.n, shape.n);
          EXPECT_EQ(timing.shape.k, shape.k);
          EXPECT_EQ(timing.rows, rows);
          EXPECT_EQ(timing.bits, bits);
          EXPECT_GE(timing.weight_bytes,
                    size_t{1} * bits * shape.n * shape.k / 8);
          EXPECT_GT(timing.us, 0);
          EXPECT_GT(timing.copy_bytes_per_second, 0);
          EXPECT_FALSE(timing.cublas_us.has_value());
        }
      }
    }
  }
}

TEST(LinearMeasurementTest, CountsWhatThereWasNoTimeFor) {
  const auto stream = NewStream();
  LinearMeasurementOptions options = Tiny();
  options.stop = absl::InfinitePast();
  const auto left_out = MeasureLinear(
      options, nullptr, *stream,
      [](const LinearTiming&) { ADD_FAILURE() << "there was no time"; });
  ASSERT_TRUE(left_out.ok()) << left_out.status();
  EXPECT_EQ(*left_out, 8);
}

TEST(LinearMeasurementTest, LayersThatDoNotFitAreAnError) {
  const auto stream = NewStream();
  emulation::SetDeviceMemory(size_t{1} << 20);
  LinearMeasurementOptions options = Tiny();
  options.shapes = {{4096, 4096}};
  EXPECT_EQ(MeasureLinear(options, nullptr, *stream, [](const LinearTiming&) {})
                .status()
                .code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(LinearMeasurementTest, RefusesWhatCannotBeMeasured) {
  const auto stream = NewStream();
  const auto code = [&](const LinearMeasurementOptions& options) {
    return MeasureLinear(options, nullptr, *stream, [](const LinearTiming&) {})
        .status()
        .code();
  };
  LinearMeasurementOptions options = Tiny();
  options.bits = {9};
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = Tiny();
  options.rows = {0};
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = Tiny();
  options.shapes = {{32, 65}};
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = Tiny();
  options.shapes = {};
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseLinearShape("4096").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CublasTest, ALibraryThatIsNotThereIsNamed) {
  const auto stream = NewStream();
  const std::vector<std::string> paths = {"/nowhere/libcublas.so"};
  const absl::Status status = Cublas::Open(paths, *stream).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(paths[0]));
}

Outcome RunBenchmark(const std::vector<std::string>& flags) {
  std::vector<std::string> arguments = {
      "kernels/cuda/linear_benchmark_emulated", "--cublas=false"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return RunToEnd(arguments);
}

TEST(LinearBenchmarkTest, PrintsAndWritesWhatItMeasured) {
  const std::string path = testing::TempDir() + "/linear.json";
  const Outcome outcome = RunBenchmark(
      {"--shapes=32x64", "--bits=3,8", "--rows=1,2", "--repeats=3",
       "--rotation_l2=0", "--copy_bytes=1024", "--graph", "--json=" + path});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("Emulated device, in CUDA graphs"));
  EXPECT_THAT(outcome.output, HasSubstr("32x64"));
  std::ifstream file(path);
  const auto report = nlohmann::json::parse(file);
  EXPECT_EQ(report["benchmark"], "linear");
  EXPECT_EQ(report["device"], "Emulated device");
  EXPECT_EQ(report["graph"], true);
  EXPECT_EQ(report["left_out"], 0);
  ASSERT_EQ(report["results"].size(), 4u);
  EXPECT_EQ(report["results"][3]["bits"], 8);
  EXPECT_EQ(report["results"][3]["rows"], 2);
  EXPECT_FALSE(report["results"][3].contains("speed_up"));
}

TEST(LinearBenchmarkTest, RefusesWrongFlags) {
  for (const std::string flag :
       {"--shapes=big", "--bits=x", "--bits=9", "--rows=0", "--copy_bytes=0"}) {
    const Outcome outcome = RunBenchmark({flag});
    EXPECT_EQ(outcome.exit_code, 2) << flag;
    EXPECT_THAT(outcome.errors, HasSubstr("linear_benchmark: "));
  }
}

}  // namespace
}  // namespace anyprec
