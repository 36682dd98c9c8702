// anyprec-loadtest against the real server. Asserts that records are complete
// and promises are checked, never how fast anything was.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/integration/child_process.h"
#include "tests/integration/test_server.h"

namespace anyprec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kLoadTestBinary[] = "tests/load/anyprec-loadtest";
constexpr char kStorm[] = "--classes=tests/load/classes/cancel_storm.json";
constexpr char kMix[] = "--classes=tests/load/classes/chat_and_batch.json";

std::string TempPath(const std::string& name) {
  return ::testing::TempDir() + "/" + name;
}

std::string Read(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path).rdbuf();
  return content.str();
}

Outcome RunLoadTest(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), kLoadTestBinary);
  return RunToEnd(arguments);
}

// The first run's metrics, of a test with warm-up left out.
nlohmann::json Metrics(const TestServer& server,
                       std::vector<std::string> arguments) {
  const std::string path = TempPath("metrics.json");
  arguments.push_back("--target=" + server.address());
  arguments.push_back("--warm_up=0");
  arguments.push_back("--json=" + path);
  const Outcome outcome = RunLoadTest(arguments);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors << outcome.output;
  const nlohmann::json json =
      nlohmann::json::parse(Read(path), nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(json.is_object()) << path;
  return json.is_object() ? json["runs"][0]["metrics"] : json;
}

int64_t Outcomes(const nlohmann::json& requests) {
  int64_t sum = 0;
  for (const char* name :
       {"ok", "refused", "deadline", "cancelled", "error", "lost"}) {
    sum += requests[name].get<int64_t>();
  }
  return sum;
}

class LoadTestTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = new TestServer(QuantizedTinyLlama());
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  static TestServer* server_;
};

TestServer* LoadTestTest::server_ = nullptr;

TEST_F(LoadTestTest, EveryRequestHasAnOutcomeAndReportsItsBits) {
  const std::string csv = TempPath("requests.csv");
  const std::string html = TempPath("report.html");
  const nlohmann::json metrics = Metrics(
      *server_, {"--rate=40", "--duration=2", "--prompt_tokens=4-64",
                 "--output_tokens=1-16", kMix, "--csv=" + csv, "--html=" + html,
                 "--require=lost==0,tokens_below_floor==0",
                 "--require=prompts_below_floor==0,prompt_mean_bits>=3",
                 "--require=answers_without_bits==0,short_answers==0"});
  const nlohmann::json& requests = metrics["requests"];
  EXPECT_GT(requests["planned"], 0);
  EXPECT_EQ(Outcomes(requests), requests["planned"]);
  EXPECT_EQ(requests["error"], 0);
  EXPECT_EQ(metrics["ttft_ms"]["count"], requests["ok"]);
  EXPECT_GE(metrics["mean_bits"], 3);
  EXPECT_EQ(metrics["classes"].size(), 3u);
  const std::string lines = Read(csv);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'),
            requests["planned"].get<int64_t>() + 1);
  EXPECT_THAT(Read(html), AllOf(HasSubstr("<svg"), HasSubstr("</html>")));
}

TEST_F(LoadTestTest, AConcurrencyIsKeptUp) {
  const nlohmann::json metrics =
      Metrics(*server_, {"--concurrency=4", "--duration=1", "--prompt_tokens=8",
                         "--output_tokens=8"});
  EXPECT_GE(metrics["requests"]["ok"], 4);
  EXPECT_EQ(metrics["requests"]["ok"], metrics["requests"]["planned"]);
}

TEST_F(LoadTestTest, CancelledRequestsAreAccountedForAndLeaveNothingBehind) {
  const nlohmann::json metrics =
      Metrics(*server_, {"--rate=100", "--duration=1", "--prompt_tokens=8",
                         "--output_tokens=400", kStorm});
  const nlohmann::json& requests = metrics["requests"];
  EXPECT_GT(requests["cancelled"], 0);
  EXPECT_EQ(
      requests["cancelled"].get<int64_t>() + requests["ok"].get<int64_t>(),
      requests["planned"].get<int64_t>());
  EXPECT_EQ(metrics["lost"], 0);
  const v1::ServerState state = server_->WaitUntilIdle();
  EXPECT_EQ(state.running_requests(), 0);
  EXPECT_EQ(state.kv_blocks_free(), state.kv_blocks_total());
}

TEST_F(LoadTestTest, RequestsWithoutAnOutcomeAreLostAndNotForgotten) {
  // The last one is given up as soon as it is sent.
  const nlohmann::json metrics =
      Metrics(*server_, {"--rate=20", "--arrivals=constant", "--duration=0.5",
                         "--drain_timeout=0", "--prompt_tokens=8",
                         "--output_tokens=400"});
  EXPECT_GT(metrics["lost"], 0);
  EXPECT_EQ(Outcomes(metrics["requests"]), 10);
  EXPECT_EQ(metrics["requests"]["error"], 0);
  EXPECT_EQ(server_->WaitUntilIdle().running_requests(), 0);
}

TEST_F(LoadTestTest, DeadlinesThatNobodyCouldKeepAreMisses) {
  const std::string classes = TempPath("deadline.json");
  std::ofstream(classes) << R"({"classes": [{"name": "a", "deadline_ms": 1}]})";
  const nlohmann::json metrics =
      Metrics(*server_, {"--rate=20", "--arrivals=constant", "--duration=0.5",
                         "--prompt_tokens=8", "--output_tokens=400",
                         "--classes=" + classes});
  // The server foresees most of them.
  EXPECT_EQ(metrics["requests"]["deadline"].get<int>() +
                metrics["requests"]["refused"].get<int>(),
            10);
  EXPECT_EQ(metrics["goodput"], 0);
  EXPECT_EQ(metrics["deadline_attainment"], 0);
}

TEST_F(LoadTestTest, WhatAClassMayAskForAServerTakes) {
  const std::string classes = TempPath("limits.json");
  std::ofstream(classes) << R"({"classes": [
    {"name": "a", "priority": 100, "ttft_ms": 86400000, "tpot_ms": 86400000,
     "deadline_ms": 86400000},
    {"name": "b", "priority": -100, "tpot_ms": 0.001}]})";
  const nlohmann::json metrics =
      Metrics(*server_, {"--rate=20", "--arrivals=constant", "--duration=0.5",
                         "--prompt_tokens=8", "--output_tokens=2",
                         "--classes=" + classes});
  EXPECT_EQ(metrics["requests"]["planned"], 10);
  EXPECT_EQ(metrics["requests"]["error"], 0);
}

TEST_F(LoadTestTest, ARampIsNamedByBothItsRates) {
  const std::string json = TempPath("ramp.json");
  RunLoadTest({"--target=" + server_->address(), "--rate=1", "--ramp_to=9",
               "--warm_up=0", "--duration=1", "--prompt_tokens=8",
               "--output_tokens=2", "--json=" + json});
  EXPECT_EQ(nlohmann::json::parse(Read(json))["runs"][0]["label"],
            "1 to 9 requests/s");
}

TEST_F(LoadTestTest, TokensBelowTheFloorAreSeen) {
  const std::string classes = TempPath("floor.json");
  std::ofstream(classes) << R"({"classes": [{"name": "a", "min_bits": 5}]})";
  const nlohmann::json metrics =
      Metrics(*server_, {"--rate=20", "--arrivals=constant", "--duration=0.5",
                         "--prompt_tokens=4", "--output_tokens=4",
                         "--classes=" + classes, "--fixed_bits=3"});
  EXPECT_EQ(metrics["answers_below_floor"], 10);
  EXPECT_EQ(metrics["tokens_below_floor"], 40);
  EXPECT_EQ(metrics["prompts_below_floor"], 10);
}

TEST_F(LoadTestTest, ASweepAndASearchReportEachRun) {
  const std::string path = TempPath("sweep.json");
  const std::vector<std::string> common = {"--target=" + server_->address(),
                                           "--duration=0.4",
                                           "--warm_up=0",
                                           "--arrivals=constant",
                                           "--prompt_tokens=4",
                                           "--output_tokens=2",
                                           "--json=" + path};
  std::vector<std::string> sweep = common;
  sweep.insert(sweep.end(), {"--base_rate=20", "--rates=0.5,1"});
  ASSERT_EQ(RunLoadTest(sweep).exit_code, 0);
  nlohmann::json json = nlohmann::json::parse(Read(path));
  ASSERT_EQ(json["runs"].size(), 2u);
  EXPECT_EQ(json["runs"][0]["label"], "0.5x");
  EXPECT_EQ(json["runs"][0]["metrics"]["requests"]["planned"], 4);
  EXPECT_EQ(json["runs"][1]["metrics"]["requests"]["planned"], 8);
  std::vector<std::string> search = common;
  search.insert(search.end(),
                {"--find_rate=0.9", "--min_rate=10", "--max_rate=20"});
  const Outcome outcome = RunLoadTest(search);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("goodput >= 90 %"));
  json = nlohmann::json::parse(Read(path));
  EXPECT_EQ(json["highest_rates"][0]["goodput"], 0.9);
}

TEST_F(LoadTestTest, ReportsOfSeveralTestsStandSideBySide) {
  const std::string first = TempPath("first.json");
  const std::string html = TempPath("side.html");
  for (const std::string label : {"one", "two"}) {
    ASSERT_EQ(RunLoadTest({"--target=" + server_->address(), "--rate=20",
                           "--duration=0.2", "--warm_up=0", "--label=" + label,
                           "--output_tokens=2", "--json=" + TempPath(label)})
                  .exit_code,
              0);
  }
  const Outcome outcome =
      RunLoadTest({"--compare=" + TempPath("one"),
                   "--compare=" + TempPath("two"), "--html=" + html});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("one"), HasSubstr("two")));
  EXPECT_THAT(Read(html),
              AllOf(HasSubstr("<h3>one</h3>"), HasSubstr("<h3>two</h3>")));
}

TEST_F(LoadTestTest, ARequirementThatDoesNotHoldExitsWithOne) {
  const Outcome outcome = RunLoadTest(
      {"--target=" + server_->address(), "--rate=20", "--duration=0.2",
       "--warm_up=0", "--output_tokens=2", "--require=goodput>=1.5"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors, HasSubstr("FAILED goodput>=1.5"));
}

TEST(LoadTestRefusalTest, AFullQueueRefusesWithRetryInfo) {
  // Two hundred a second of two hundred tokens each for a server that runs one
  // at a time: some must be refused, however fast the machine is.
  TestServer server(QuantizedTinyLlama(),
                    {"--max_sequences=1", "--max_queued_requests=1"});
  const nlohmann::json metrics =
      Metrics(server, {"--rate=200", "--arrivals=constant", "--duration=1",
                       "--prompt_tokens=8", "--output_tokens=200",
                       "--require=refusals.without_retry_info==0,lost==0"});
  EXPECT_GT(metrics["requests"]["refused"], 0);
  EXPECT_EQ(Outcomes(metrics["requests"]), 200);
  EXPECT_EQ(metrics["requests"]["error"], 0);
  EXPECT_EQ(metrics["refusals"]["latency_ms"]["count"],
            metrics["requests"]["refused"]);
  EXPECT_EQ(metrics["reasons"]["refused:QUEUE_FULL"],
            metrics["requests"]["refused"]);
  EXPECT_LT(metrics["goodput"], 1);
}

TEST(LoadTestUsageTest, WrongUsageExitsWithTwoBeforeAnyConnection) {
  const std::string target = "--target=127.0.0.1:1";
  const Outcome flag = RunLoadTest({target, "--rte=1"});
  EXPECT_EQ(flag.exit_code, 2);
  EXPECT_THAT(flag.errors, HasSubstr("did you mean --rate?"));
  const Outcome metric =
      RunLoadTest({target, "--rate=1", "--require=goodputt>=1"});
  EXPECT_EQ(metric.exit_code, 2);
  EXPECT_THAT(metric.errors, HasSubstr("\"goodputt\""));
}

TEST(LoadTestUsageTest, AFileThatCannotBeReadExitsWithTwo) {
  for (const char* flag : {"--trace", "--classes", "--compare", "--simulate"}) {
    std::vector<std::string> arguments = {"--rate=1",
                                          std::string(flag) + "=/no/file"};
    if (flag != std::string("--simulate")) {
      arguments.emplace_back("--target=127.0.0.1:1");
    }
    const Outcome outcome = RunLoadTest(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << flag;
    EXPECT_THAT(outcome.errors, HasSubstr("/no/file")) << flag;
  }
}

TEST(LoadTestUsageTest, NoServerIsAnErrorThatNamesIt) {
  const Outcome outcome =
      RunLoadTest({"--target=127.0.0.1:1", "--rate=1", "--connect_timeout=1"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors, HasSubstr("127.0.0.1:1"));
}

TEST(LoadTestUsageTest, HelpNamesTheFlags) {
  const Outcome outcome = RunLoadTest({"--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("--target"), HasSubstr("--require"),
                    HasSubstr("--find_rate")));
}

}  // namespace
}  // namespace anyprec
