// The command-line client against the server binary.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/integration/test_server.h"

namespace anyprec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

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

  // In a shell, where $anyprec is the client and knows no server yet.
  static Outcome RunShell(const std::string& command) {
    return RunToEnd({"/bin/sh", "-c",
                     std::string("anyprec=") + kClientBinary +
                         " address=" + server_->address() + "; " + command});
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
  EXPECT_EQ(Run({"model", "--timeout_ms=-1"}).exit_code, 2);
  EXPECT_THAT(Run({"generate", "--logprobs=1", "a"}).errors,
              HasSubstr("--logprobs needs --json"));
}

TEST_F(ClientTest, AddressesAreChecked) {
  for (const std::string address :
       {"", "localhost", ":1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536",
        "127.0.0.1:x"}) {
    const Outcome outcome =
        RunToEnd({kClientBinary, "model", "--address=" + address});
    EXPECT_EQ(outcome.exit_code, 2) << address;
    EXPECT_THAT(outcome.errors, HasSubstr("--address is \"" + address + "\""));
  }
}

TEST_F(ClientTest, TheWrongPortsCommandIsExplained) {
  const Outcome outcome = Run({"admin", "stats"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors, HasSubstr("--admin_port"));
}

TEST_F(ClientTest, WordsThatACommandDoesNotTakeAreRefused) {
  const Outcome model = Run({"model", "foo"});
  EXPECT_EQ(model.exit_code, 2);
  EXPECT_THAT(model.errors, HasSubstr("\"foo\""));
  const Outcome prompts = Run({"generate", "--prompt=a", "b"});
  EXPECT_EQ(prompts.exit_code, 2);
  EXPECT_THAT(prompts.errors, HasSubstr("\"b\" beside --prompt"));
}

TEST_F(ClientTest, TextsThatAreNoUtf8AreRefusedBeforeTheyAreSent) {
  for (const std::string command : {"generate", "chat", "score", "tokenize"}) {
    const Outcome outcome = Run({command, "ab\xFF\xFE"});
    EXPECT_EQ(outcome.exit_code, 2) << command;
    EXPECT_THAT(outcome.errors, HasSubstr("argument 2: byte 0xFF at offset 2"));
  }
  const Outcome stop = Run({"generate", "--stop=\xC3", "x"});
  EXPECT_EQ(stop.exit_code, 2);
  EXPECT_THAT(stop.errors, HasSubstr("--stop: byte 0xC3 at offset 0"));
  const Outcome input =
      RunShell("printf 'abc\\377' | $anyprec tokenize --address=$address");
  EXPECT_EQ(input.exit_code, 2);
  EXPECT_THAT(input.errors, HasSubstr("stdin: byte 0xFF at offset 3"));
}

TEST_F(ClientTest, EveryCommandHasHelp) {
  for (const std::string command : {"generate", "chat", "score", "tokenize",
                                    "detokenize", "model", "admin"}) {
    const Outcome outcome = RunToEnd({kClientBinary, command, "--help"});
    EXPECT_EQ(outcome.exit_code, 0) << command;
    EXPECT_THAT(outcome.output, HasSubstr("--address")) << command;
    EXPECT_EQ(RunToEnd({kClientBinary, command, "-h"}).output, outcome.output);
    EXPECT_EQ(RunToEnd({kClientBinary, "help", command}).output,
              outcome.output);
  }
  for (const std::string help : {"--help", "-h", "help"}) {
    const Outcome outcome = RunToEnd({kClientBinary, help});
    EXPECT_EQ(outcome.exit_code, 0) << help;
    EXPECT_THAT(outcome.output, HasSubstr("generate")) << help;
  }
}

TEST_F(ClientTest, NoServerIsAnErrorRatherThanAWait) {
  const Outcome outcome =
      RunToEnd({kClientBinary, "model", "--address=127.0.0.1:1"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors, HasSubstr("UNAVAILABLE"));
}

TEST_F(ClientTest, AServerThatIsStoppedIsNotWaitedForPastTheDeadline) {
  server_->process().Signal(SIGSTOP);
  const Outcome generate = Run({"generate", "--deadline_ms=50", "Once"});
  const Outcome model = Run({"model", "--timeout_ms=50"});
  server_->process().Signal(SIGCONT);
  EXPECT_EQ(generate.exit_code, 1);
  EXPECT_THAT(generate.errors, HasSubstr("not done within 2050 ms"));
  EXPECT_EQ(model.exit_code, 1);
  EXPECT_THAT(model.errors, HasSubstr("not done within 50 ms"));
}

TEST_F(ClientTest, OutputThatCannotBeWrittenIsAFailure) {
  for (const std::string command :
       {"model", "tokenize a", "generate --bits=3 --max_tokens=2 a",
        "generate --bits=3 --max_tokens=2 --json a"}) {
    const Outcome outcome =
        RunShell("$anyprec " + command + " --address=$address >/dev/full");
    EXPECT_EQ(outcome.exit_code, 1) << command;
    EXPECT_THAT(outcome.errors, HasSubstr("stdout: cannot write")) << command;
    EXPECT_THAT(outcome.errors, Not(HasSubstr("CANCELLED"))) << command;
  }
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

TEST_F(ClientTest, NulBytesOfATextAreKept) {
  const Outcome outcome = RunShell(
      "printf 'a\\0b' | $anyprec tokenize --noadd_special --address=$address |"
      " xargs $anyprec detokenize --address=$address");
  EXPECT_EQ(outcome.output, std::string("a\0b\n", 4)) << outcome.errors;
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
