#include "tests/load/load_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/load/record_helpers.h"

namespace anyprec::load {
namespace {

using ::testing::HasSubstr;

// Answers at once up to `capacity` requests a second of a plan, and refuses all
// of one that has more.
class FakeDriver final : public LoadDriver {
 public:
  explicit FakeDriver(double capacity) : capacity_(capacity) {
    model_.name = "fake";
    model_.max_context_tokens = 100;
    model_.bits = {3, 4, 8};
  }

  const TargetModel& model() const override { return model_; }

  std::vector<RequestRecord> Replay(
      std::span<const PlannedRequest> plan) override {
    plans_.emplace_back(plan.begin(), plan.end());
    const double seconds = absl::ToDoubleSeconds(plan.back().at);
    const bool answers =
        static_cast<double>(plan.size()) <= capacity_ * seconds;
    std::vector<RequestRecord> records;
    for (const PlannedRequest& planned : plan) {
      const double at = absl::ToDoubleSeconds(planned.at);
      records.push_back(answers ? Answered(at, {1, 2})
                                : Ended(at, Outcome::kRefused, 1));
    }
    return records;
  }

  std::vector<RequestRecord> KeepBusy(int concurrency, absl::Duration duration,
                                      RequestPlanner& planner) override {
    std::vector<RequestRecord> records;
    for (int i = 0; i < concurrency; ++i) {
      planner.Next(duration / 2);
      records.push_back(Answered(absl::ToDoubleSeconds(duration / 2), {1, 2}));
    }
    return records;
  }

  LoadProgress progress() const override { return {}; }

  const std::vector<std::vector<PlannedRequest>>& plans() const {
    return plans_;
  }

 private:
  const double capacity_;
  TargetModel model_;
  std::vector<std::vector<PlannedRequest>> plans_;
};

LoadTestOptions Options(std::vector<std::string> arguments) {
  arguments.push_back("--target=fake");
  arguments.push_back("--warm_up=0");
  const auto options = ParseLoadTestOptions(arguments);
  EXPECT_TRUE(options.ok()) << options.status();
  return options.ok() ? *options : LoadTestOptions();
}

// Ten requests, one each second.
SessionInputs Inputs() {
  SessionInputs inputs;
  inputs.classes = {RequestClass()};
  for (int i = 0; i < 10; ++i) {
    inputs.trace.push_back({.at = absl::Seconds(i),
                            .prompt_tokens = 20 * (i + 1),
                            .output_tokens = 10});
  }
  return inputs;
}

absl::StatusOr<SessionResult> RunSession(const LoadTestOptions& options,
                                         SessionInputs inputs,
                                         FakeDriver& driver) {
  return LoadSession(options, std::move(inputs), driver).Run();
}

TEST(LoadSessionTest, ASweepMultipliesTheBaseRate) {
  FakeDriver driver(1000);
  const auto result =
      RunSession(Options({"--arrivals=constant", "--duration=10",
                          "--base_rate=4", "--rates=0.5,2", "--label=slo"}),
                 {.classes = {RequestClass()}, .trace = {}}, driver);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(driver.plans().size(), 2u);
  EXPECT_EQ(driver.plans()[0].size(), 20u);
  EXPECT_EQ(driver.plans()[1].size(), 80u);
  EXPECT_EQ(result->runs[1].label, "slo 2x");
  EXPECT_EQ(result->runs[1].settings["rate"], 8);
}

TEST(LoadSessionTest, ATraceKeepsItsTimesUnlessARateIsGiven) {
  FakeDriver driver(1000);
  const std::vector<std::string> replay = {"--arrivals=trace", "--trace=f"};
  ASSERT_TRUE(RunSession(Options(replay), Inputs(), driver).ok());
  EXPECT_EQ(driver.plans()[0].back().at, absl::Seconds(9));
  const auto quicker = RunSession(
      Options({"--arrivals=trace", "--trace=f", "--rate=4"}), Inputs(), driver);
  ASSERT_TRUE(quicker.ok()) << quicker.status();
  EXPECT_EQ(driver.plans()[1].back().at, absl::Seconds(2.25));
  EXPECT_EQ(driver.plans()[1].size(), 10u);
  EXPECT_EQ(quicker->runs[0].settings["duration"], 2.5);
}

TEST(LoadSessionTest, TheModelsContextCutsRequests) {
  FakeDriver driver(1000);
  const auto result =
      RunSession(Options({"--arrivals=trace", "--trace=f"}), Inputs(), driver);
  ASSERT_TRUE(result.ok()) << result.status();
  for (const PlannedRequest& planned : driver.plans()[0]) {
    EXPECT_LE(planned.prompt_tokens + planned.output_tokens, 100);
  }
  EXPECT_EQ(result->runs[0].settings["capped_requests"], 6);
}

TEST(LoadSessionTest, ASearchFindsTheCapacity) {
  FakeDriver driver(20);
  const auto result =
      RunSession(Options({"--arrivals=constant", "--duration=60",
                          "--find_rate=0.9", "--min_rate=1", "--max_rate=100"}),
                 {.classes = {RequestClass()}, .trace = {}}, driver);
  ASSERT_TRUE(result.ok()) << result.status();
  const double found = result->highest_rates[0]["rate_rps"].get<double>();
  EXPECT_LE(found, 20);
  EXPECT_GE(found, 20 / 1.05 - 0.1);  // the plan's own rounding to requests
  EXPECT_EQ(result->runs.size(), driver.plans().size());
}

TEST(LoadSessionTest, AConcurrencyIsReportedAsSuch) {
  FakeDriver driver(1);
  const auto result =
      RunSession(Options({"--concurrency=3", "--duration=2"}),
                 {.classes = {RequestClass()}, .trace = {}}, driver);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->runs[0].settings["concurrency"], 3);
  EXPECT_EQ(result->runs[0].metrics["requests"]["ok"], 3);
}

TEST(LoadSessionTest, NothingMeasuredIsAnError) {
  FakeDriver driver(1);
  LoadTestOptions options = Options({"--rate=10", "--duration=2"});
  options.warm_up = 2;
  EXPECT_THAT(
      std::string(RunSession(options,
                             {.classes = {RequestClass()}, .trace = {}}, driver)
                      .status()
                      .message()),
      HasSubstr("--warm_up is 2"));
}

TEST(LoadDriverTest, ClassesMayAskForWhatTheModelHasOnly) {
  const FakeDriver driver(1);
  RequestClass one;
  one.min_bits = 3;
  one.max_bits = 8;
  EXPECT_TRUE(CheckPrecisions({one}, driver.model()).ok());
  one.min_bits = 5;
  EXPECT_THAT(std::string(CheckPrecisions({one}, driver.model()).message()),
              HasSubstr("class all: min_bits is 5; fake has 3, 4, 8"));
  one.fixed_bits = 4;
  EXPECT_TRUE(CheckPrecisions({one}, driver.model()).ok());
}

TEST(ReadInputsTest, FilesThatCannotBeUsedAreNamed) {
  EXPECT_THAT(std::string(ReadInputs(Options({"--rate=1", "--trace=/no/trace"}))
                              .status()
                              .message()),
              HasSubstr("/no/trace"));
  EXPECT_THAT(
      std::string(ReadInputs(Options({"--rate=1", "--classes=/no/classes"}))
                      .status()
                      .message()),
      HasSubstr("/no/classes"));
}

}  // namespace
}  // namespace anyprec::load
