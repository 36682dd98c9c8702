// The benchmark of attention, run on the emulated device: what it reports, not
// how fast that is.
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cuda/attention_measurement.h"
#include "kernels/cuda/emulation/runtime.h"
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

AttentionMeasurementOptions Tiny() {
  AttentionMeasurementOptions options;
  options.shapes = {{4, 4, 8}, {4, 1, 6}};
  options.contexts = {5, 40};
  options.batches = {1, 3};
  options.chunks = {20};
  options.repeats = 3;
  options.rotation_bytes = 2000;
  options.copy_bytes = 1024;
  return options;
}

absl::StatusOr<std::vector<AttentionTiming>> Measure(
    const AttentionMeasurementOptions& options, CudaStream& stream) {
  std::vector<AttentionTiming> timings;
  const auto left_out = MeasureAttention(
      options, stream,
      [&](const AttentionTiming& timing) { timings.push_back(timing); });
  if (!left_out.ok()) return left_out.status();
  EXPECT_EQ(*left_out, 0);
  return timings;
}

TEST(AttentionMeasurementTest, ReportsDecodesAndChunksAtEveryContext) {
  for (const bool graph : {false, true}) {
    const auto stream = NewStream();
    AttentionMeasurementOptions options = Tiny();
    options.graph = graph;
    const auto timings = Measure(options, *stream);
    ASSERT_TRUE(timings.ok()) << timings.status();
    EXPECT_EQ(emulation::KernelFailure(), "");
    // A chunk of 20 rows has no context of 5.
    const std::vector<std::vector<int>> wanted = {
        {5, 1, 1}, {40, 1, 1}, {5, 3, 1}, {40, 3, 1}, {40, 1, 20}};
    ASSERT_EQ(timings->size(), 2 * wanted.size());
    for (size_t i = 0; i < timings->size(); ++i) {
      const AttentionTiming& timing = (*timings)[i];
      EXPECT_EQ(timing.shape.kv_heads, i < wanted.size() ? 4 : 1);
      EXPECT_EQ(
          (std::vector<int>{timing.context, timing.sequences, timing.rows}),
          wanted[i % wanted.size()]);
      EXPECT_GT(timing.us, 0);
      EXPECT_GT(timing.copy_bytes_per_second, 0);
    }
  }
}

TEST(AttentionMeasurementTest, CountsEachKeyOnceAndEachProduct) {
  const auto stream = NewStream();
  AttentionMeasurementOptions options = Tiny();
  options.shapes = {{4, 2, 8}};
  options.contexts = {10};
  options.batches = {3};
  options.chunks = {2};
  const auto timings = Measure(options, *stream);
  ASSERT_TRUE(timings.ok()) << timings.status();
  ASSERT_EQ(timings->size(), 2u);
  // Sequences, positions, keys and values, KV heads, elements, bytes.
  EXPECT_EQ((*timings)[0].kv_bytes, size_t{3} * 10 * 2 * 2 * 8 * 2);
  EXPECT_EQ((*timings)[1].kv_bytes, size_t{1} * 10 * 2 * 2 * 8 * 2);
  // Positions seen by all rows, heads, elements, keys and values, a
  // multiplication and an addition each.
  EXPECT_EQ((*timings)[0].operations, 30 * 4 * 8 * 2 * 2);
  EXPECT_EQ((*timings)[1].operations, 19 * 4 * 8 * 2 * 2);
}

TEST(AttentionMeasurementTest, CountsWhatThereWasNoTimeFor) {
  const auto stream = NewStream();
  AttentionMeasurementOptions options = Tiny();
  options.stop = absl::InfinitePast();
  const auto left_out = MeasureAttention(
      options, *stream,
      [](const AttentionTiming&) { ADD_FAILURE() << "there was no time"; });
  ASSERT_TRUE(left_out.ok()) << left_out.status();
  EXPECT_EQ(*left_out, 10);
}

TEST(AttentionMeasurementTest, ACacheThatDoesNotFitIsAnError) {
  const auto stream = NewStream();
  emulation::SetDeviceMemory(size_t{1} << 20);
  AttentionMeasurementOptions options = Tiny();
  options.contexts = {100000};
  EXPECT_EQ(Measure(options, *stream).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(AttentionMeasurementTest, RefusesWhatCannotBeMeasured) {
  const auto stream = NewStream();
  const auto refused = [&](void (*spoil)(AttentionMeasurementOptions&)) {
    AttentionMeasurementOptions options = Tiny();
    spoil(options);
    return absl::IsInvalidArgument(Measure(options, *stream).status());
  };
  using Options = AttentionMeasurementOptions;
  EXPECT_TRUE(refused([](Options& options) { options.shapes = {{4, 3, 8}}; }));
  EXPECT_TRUE(refused([](Options& options) { options.shapes = {{4, 0, 8}}; }));
  EXPECT_TRUE(refused([](Options& options) { options.shapes = {{4, 4, 7}}; }));
  EXPECT_TRUE(refused([](Options& options) {
    options.shapes = {{4, 4, 512}};
  }));
  EXPECT_TRUE(refused([](Options& options) { options.shapes = {}; }));
  EXPECT_TRUE(refused([](Options& options) { options.contexts = {0}; }));
  EXPECT_TRUE(refused([](Options& options) { options.batches = {0}; }));
  EXPECT_TRUE(refused([](Options& options) { options.chunks = {-1}; }));
  EXPECT_TRUE(refused([](Options& options) { options.repeats = 0; }));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseAttentionShape("32x8").status()));
}

Outcome RunBenchmark(const std::vector<std::string>& flags) {
  std::vector<std::string> arguments = {
      "kernels/cuda/attention_benchmark_emulated"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return RunToEnd(arguments);
}

TEST(AttentionBenchmarkTest, PrintsAndWritesWhatItMeasured) {
  const std::string path = testing::TempDir() + "/attention.json";
  const Outcome outcome =
      RunBenchmark({"--shapes=4x2x8", "--contexts=3,9", "--batches=2",
                    "--chunks=4", "--repeats=3", "--rotation_l2=0",
                    "--copy_bytes=1024", "--graph", "--json=" + path});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("Emulated device, in CUDA graphs"));
  EXPECT_THAT(outcome.output, HasSubstr("4x2x8"));
  std::ifstream file(path);
  const auto report = nlohmann::json::parse(file);
  EXPECT_EQ(report["benchmark"], "attention");
  EXPECT_EQ(report["device"], "Emulated device");
  EXPECT_EQ(report["graph"], true);
  EXPECT_EQ(report["left_out"], 0);
  ASSERT_EQ(report["results"].size(), 3u);
  EXPECT_EQ(report["results"][0]["sequences"], 2);
  EXPECT_EQ(report["results"][2]["rows"], 4);
  EXPECT_EQ(report["results"][2]["context"], 9);
  EXPECT_GT(report["results"][2]["of_copy"], 0);
}

TEST(AttentionBenchmarkTest, RefusesWrongFlags) {
  for (const std::string flag :
       {"--shapes=4x2", "--shapes=4x3x8", "--contexts=x", "--batches=0",
        "--chunks=0", "--copy_bytes=0"}) {
    const Outcome outcome = RunBenchmark({flag});
    EXPECT_EQ(outcome.exit_code, 2) << flag;
    EXPECT_THAT(outcome.errors, HasSubstr("attention_benchmark: "));
  }
}

}  // namespace
}  // namespace anyprec
