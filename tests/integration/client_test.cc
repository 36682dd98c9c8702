// The command-line client against the server binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/integration/test_server.h"

namespace anyprec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ClientTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = new TestServer(QuantizedTinyLlama());
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  static Outcome Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kClientBinary);
    arguments.push_back("--address=" + server_->address());
    return RunToEnd(arguments);
  }

  static nlohmann::json RunJson(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    const Outcome outcome = Run(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output << outcome.errors;
    return nlohmann::json::parse(outcome.output, nullptr,
                                 /*allow_exceptions=*/false);
  }

  static TestServer* server_;
};

TestServer* ClientTest::server_ = nullptr;

TEST_F(ClientTest, GenerateStreamsTextToStdout) {
  const Outcome outcome = Run({"generate", "--bits=8", "--temperature=0",
                               "--max_tokens=12", "Once upon a time"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("there was"));
  EXPECT_THAT(outcome.errors, HasSubstr("12 tokens at 8 bits"));
}

TEST_F(ClientTest, JsonHoldsTextBitsAndTimes) {
  const nlohmann::json json =
      RunJson({"generate", "--bits=3", "--temperature=0", "--max_tokens=6",
               "--ignore_eos", "--prompt=Once upon a time"});
  EXPECT_EQ(json["tokens"], 6);
  EXPECT_EQ(json["bits"].dump(), R"({"3":6})");
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_GT(json["ttft_ms"].get<double>(), 0);
  EXPECT_GT(json["tokens_per_second"].get<double>(), 0);
  EXPECT_FALSE(json["text"].get<std::string>().empty());
}

TEST_F(ClientTest, ErrorsNameTheFieldAndExitWithOne) {
  const Outcome text = Run({"generate", "--bits=9", "x"});
  EXPECT_EQ(text.exit_code, 1);
  EXPECT_THAT(text.errors, AllOf(HasSubstr("INVALID_ARGUMENT"),
                                 HasSubstr("precision.fixed_bits: is 9")));
  const Outcome json = Run({"generate", "--bits=9", "x", "--json"});
  EXPECT_EQ(json.exit_code, 1);
  EXPECT_THAT(json.output, HasSubstr("\"field\":\"precision.fixed_bits\""));
}

TEST_F(ClientTest, WrongUsageExitsWithTwo) {
  EXPECT_EQ(RunToEnd({kClientBinary}).exit_code, 2);
  EXPECT_EQ(RunToEnd({kClientBinary, "frobnicate"}).exit_code, 2);
  const Outcome outcome = RunToEnd({kClientBinary, "generate", "--bit=3"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.errors, HasSubstr("did you mean --bits?"));
}

TEST_F(ClientTest, EveryCommandHasHelp) {
  for (const std::string command :
       {"generate", "chat", "score", "tokenize", "detokenize", "model"}) {
    const Outcome outcome = RunToEnd({kClientBinary, command, "--help"});
    EXPECT_EQ(outcome.exit_code, 0) << command;
    EXPECT_THAT(outcome.output, HasSubstr("--address")) << command;
  }
}

TEST_F(ClientTest, NoServerIsAnErrorRatherThanAWait) {
  const Outcome outcome =
      RunToEnd({kClientBinary, "model", "--address=127.0.0.1:1"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors, HasSubstr("UNAVAILABLE"));
}

TEST_F(ClientTest, ScorePrintsThePerplexity) {
  const nlohmann::json json =
      RunJson({"score", "--bits=6", "Once upon a time there was a girl."});
  EXPECT_EQ(json["bits"], 6);
  EXPECT_GT(json["perplexity"].get<double>(), 1);
  EXPECT_EQ(json["tokens"].size(), json["scored_tokens"].get<size_t>() + 1);
}

TEST_F(ClientTest, TokenizeAndDetokenizeAreInverse) {
  const Outcome ids = Run({"tokenize", "--noadd_special", "a little girl"});
  ASSERT_EQ(ids.exit_code, 0) << ids.errors;
  std::vector<std::string> arguments = {"detokenize"};
  std::istringstream words(ids.output);
  for (std::string word; words >> word;) arguments.push_back(word);
  EXPECT_EQ(Run(arguments).output, "a little girl\n");
}

TEST_F(ClientTest, ModelTellsBytesReadAtEachPrecision) {
  const nlohmann::json json = RunJson({"model"});
  EXPECT_EQ(json["precisions"].size(), 6u);
  EXPECT_GT(json["precisions"]["8"]["weight_bytes_per_token"].get<int64_t>(),
            json["precisions"]["3"]["weight_bytes_per_token"].get<int64_t>());
  EXPECT_GT(json["state"]["resident_bytes"].get<int64_t>(), 0);
  EXPECT_THAT(Run({"model"}).output, HasSubstr("3 bits"));
}

}  // namespace
}  // namespace anyprec
