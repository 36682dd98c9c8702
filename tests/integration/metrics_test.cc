// The real server's metrics, read as text and by a real Prometheus.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/integration/test_server.h"
#include "tests/server/exposition.h"
#include "tests/server/http_client.h"

namespace anyprec {
namespace {

using ::testing::IsSupersetOf;
using ::testing::Pair;

constexpr char kPrometheusBinary[] = "/usr/bin/prometheus";

// A guard against hanging, far above what a loaded machine takes.
constexpr absl::Duration kPatience = absl::Minutes(2);

class MetricsTest : public ::testing::Test {
 protected:
  static std::string PortFile() {
    return ::testing::TempDir() + "/metrics_port";
  }

  MetricsTest() { EXPECT_TRUE(absl::SimpleAtoi(ReadWord(PortFile()), &port_)); }

  Answer GenerateAt(int bits, int tokens) {
    v1::GenerateRequest request = GreedyRequest("Once upon a time", tokens);
    request.mutable_precision()->set_fixed_bits(bits);
    Answer answer = Generate(server_.stub(), request);
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    return answer;
  }

  Exposition Scrape() const {
    const HttpResponse response = HttpGet(port_, "/metrics");
    EXPECT_EQ(response.status, 200);
    return ParseExposition(response.body);
  }

  TestServer server_{QuantizedTinyLlama(),
                     {"--metrics_port=0", "--metrics_port_file=" + PortFile()}};
  int port_ = 0;
};

TEST_F(MetricsTest, EveryMetricHasItsNameAndType) {
  EXPECT_THAT(
      Scrape().types,
      IsSupersetOf({
          Pair("anyprec_num_requests_running", "gauge"),
          Pair("anyprec_num_requests_waiting", "gauge"),
          Pair("anyprec_kv_cache_usage_perc", "gauge"),
          Pair("anyprec_time_to_first_token_seconds", "histogram"),
          Pair("anyprec_inter_token_latency_seconds", "histogram"),
          Pair("anyprec_request_time_per_output_token_seconds", "histogram"),
          Pair("anyprec_e2e_request_latency_seconds", "histogram"),
          Pair("anyprec_request_queue_time_seconds", "histogram"),
          Pair("anyprec_request_prefill_time_seconds", "histogram"),
          Pair("anyprec_request_decode_time_seconds", "histogram"),
          Pair("anyprec_prompt_tokens_total", "counter"),
          Pair("anyprec_generation_tokens_total", "counter"),
          Pair("anyprec_num_preemptions_total", "counter"),
          Pair("anyprec_request_success_total", "counter"),
          Pair("anyprec_admission_rejections_total", "counter"),
          Pair("anyprec_step_bits", "histogram"),
          Pair("anyprec_precision_changes_total", "counter"),
          Pair("anyprec_slo_attained_total", "counter"),
          Pair("anyprec_predicted_step_seconds_total", "counter"),
          Pair("anyprec_measured_step_seconds_total", "counter"),
          Pair("anyprec_step_measured_by_predicted_ratio", "histogram"),
      }));
}

TEST_F(MetricsTest, CountersAddUpToWhatWasGenerated) {
  const int prompt_tokens = GenerateAt(4, 12).finish.usage().prompt_tokens();
  GenerateAt(8, 5);
  GenerateAt(8, 1);
  v1::GenerateRequest wrong = GreedyRequest("Once", 1);
  wrong.mutable_precision()->set_fixed_bits(9);
  EXPECT_FALSE(Generate(server_.stub(), wrong).status.ok());
  server_.WaitUntilIdle();

  const Exposition metrics = Scrape();
  const auto tokens = [&metrics](const char* of_what, int bits) {
    return metrics.Value(absl::StrCat("anyprec_", of_what,
                                      "_tokens_total{bits=\"", bits, "\"}"));
  };
  EXPECT_EQ(tokens("generation", 4), 12);
  EXPECT_EQ(tokens("generation", 8), 6);
  EXPECT_EQ(metrics.Sum("anyprec_generation_tokens_total"), 18);
  EXPECT_EQ(tokens("prompt", 4), prompt_tokens);
  EXPECT_EQ(tokens("prompt", 8), 2 * prompt_tokens);
  EXPECT_EQ(metrics.Sum("anyprec_prompt_tokens_total"), 3 * prompt_tokens);
  EXPECT_EQ(metrics.Value(
                "anyprec_request_success_total{finished_reason=\"length\"}"),
            3);
  EXPECT_EQ(metrics.Sum("anyprec_request_success_total"), 3);
  EXPECT_EQ(metrics.Value("anyprec_admission_rejections_total{reason="
                          "\"invalid_argument\"}"),
            1);
  EXPECT_EQ(metrics.Value("anyprec_time_to_first_token_seconds_count"), 3);
  EXPECT_EQ(metrics.Value("anyprec_e2e_request_latency_seconds_count"), 3);
  // The answer of one token has none.
  EXPECT_EQ(
      metrics.Value("anyprec_request_time_per_output_token_seconds_count"), 2);
  // Between tokens: 11 times and 4 times.
  EXPECT_EQ(metrics.Value("anyprec_inter_token_latency_seconds_count"), 15);
  // None asked for any.
  EXPECT_EQ(metrics.Sum("anyprec_slo_attained_total"), 0);
  EXPECT_EQ(metrics.Value("anyprec_num_requests_running"), 0);
  EXPECT_EQ(metrics.Value("anyprec_kv_cache_usage_perc"), 0);
}

TEST_F(MetricsTest, SlosAreCountedForRequestsThatAskForThem) {
  v1::GenerateRequest request = GreedyRequest("Once", 4);
  v1::SloSpec* slo = request.mutable_precision()->mutable_slo();
  slo->set_ttft_ms(3.6e6);
  slo->set_tpot_ms(3.6e6);
  slo->set_deadline_ms(3.6e6);
  ASSERT_TRUE(Generate(server_.stub(), request).status.ok());
  const Exposition metrics = Scrape();
  for (const std::string name : {"ttft", "tpot", "deadline"}) {
    EXPECT_EQ(metrics.Value("anyprec_slo_attained_total{attained=\"true\",slo="
                            "\"" +
                            name + "\"}"),
              1);
  }
  EXPECT_EQ(metrics.Sum("anyprec_slo_attained_total"), 3);
}

// A Prometheus on a free port that scrapes 127.0.0.1:`target`.
class Prometheus {
 public:
  explicit Prometheus(int target) : process_(Arguments(target)) {
    // It says where it listens in its log alone.
    const absl::Time give_up = absl::Now() + kPatience;
    while (port_ == 0 && absl::Now() < give_up) {
      absl::SleepFor(absl::Milliseconds(20));
      const std::string log = process_.Errors();
      const std::string before = "\"Listening on\" address=127.0.0.1:";
      const size_t found = log.find(before);
      if (found == log.npos) continue;
      const size_t end = log.find('\n', found);
      if (end == log.npos) continue;
      EXPECT_TRUE(absl::SimpleAtoi(
          log.substr(found + before.size(), end - found - before.size()),
          &port_))
          << log;
    }
    EXPECT_NE(port_, 0) << process_.Errors();
  }

  // Value by the label `label` of every series that `query` finds.
  std::map<std::string, std::string> Query(const std::string& query,
                                           const std::string& label) const {
    const HttpResponse response =
        HttpGet(port_, "/api/v1/query?query=" + query);
    const nlohmann::json json = nlohmann::json::parse(
        response.body, nullptr, /*allow_exceptions=*/false);
    std::map<std::string, std::string> values;
    // While it starts it answers in words.
    if (!json.is_object() || json.value("status", "") != "success") {
      return values;
    }
    for (const nlohmann::json& series : json["data"]["result"]) {
      values[series["metric"].value(label, "")] =
          series["value"][1].get<std::string>();
    }
    return values;
  }

  std::string Errors() const { return process_.Errors(); }

 private:
  static std::vector<std::string> Arguments(int target) {
    const std::string folder = ::testing::TempDir() + "/prometheus";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory(folder);
    std::ofstream(folder + "/prometheus.yml") << "global:\n"
                                                 "  scrape_interval: 200ms\n"
                                                 "scrape_configs:\n"
                                                 "  - job_name: anyprec\n"
                                                 "    static_configs:\n"
                                                 "      - targets: ['127.0.0.1:"
                                              << target << "']\n";
    return {kPrometheusBinary, "--config.file=" + folder + "/prometheus.yml",
            "--storage.tsdb.path=" + folder + "/data",
            "--web.listen-address=127.0.0.1:0"};
  }

  ChildProcess process_;
  int port_ = 0;
};

TEST_F(MetricsTest, APrometheusScrapesIt) {
  if (access(kPrometheusBinary, X_OK) != 0) {
    GTEST_SKIP() << kPrometheusBinary << " is not installed (see "
                 << "deploy/install_packages.sh --tests)";
  }
  GenerateAt(3, 7);
  GenerateAt(6, 4);
  server_.WaitUntilIdle();
  const Prometheus prometheus(port_);
  const std::map<std::string, std::string> expected = {
      {"3", "7"}, {"4", "0"}, {"5", "0"}, {"6", "4"}, {"7", "0"}, {"8", "0"}};
  const std::map<std::string, std::string> expected_up = {{"anyprec", "1"}};
  std::map<std::string, std::string> found;
  std::map<std::string, std::string> found_up;
  const absl::Time give_up = absl::Now() + kPatience;
  while ((found != expected || found_up != expected_up) &&
         absl::Now() < give_up) {
    absl::SleepFor(absl::Milliseconds(50));
    found = prometheus.Query("anyprec_generation_tokens_total", "bits");
    found_up = prometheus.Query("up", "job");
  }
  EXPECT_EQ(found, expected) << prometheus.Errors();
  EXPECT_EQ(found_up, expected_up) << prometheus.Errors();
}

}  // namespace
}  // namespace anyprec
