// The server as a process: flags, exit codes, messages, signals, health probe.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/integration/test_server.h"

namespace anyprec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Outcome RunServer(std::vector<std::string> flags) {
  flags.insert(flags.begin(), kServerBinary);
  return RunToEnd(flags);
}

// A copy of the quantized model that a test may damage.
std::filesystem::path ModelCopy(const std::string& name) {
  std::filesystem::path copy =
      std::filesystem::path(::testing::TempDir()) / name;
  std::filesystem::remove_all(copy);
  std::filesystem::copy(QuantizedTinyLlama(), copy,
                        std::filesystem::copy_options::recursive);
  return copy;
}

TEST(ProcessTest, HelpAndVersionNeedNoModel) {
  const Outcome help = RunServer({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.output, AllOf(HasSubstr("--model"), HasSubstr("--port")));
  const Outcome version = RunServer({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.output, HasSubstr("anyprec-server "));
}

TEST(ProcessTest, WrongFlagsAreNamedAndExitWithTwo) {
  const Outcome unknown = RunServer({"--model=m", "--prot=1"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.errors, HasSubstr("did you mean --port?"));
  const Outcome missing = RunServer({});
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.errors, HasSubstr("--model is missing"));
}

TEST(ProcessTest, AMissingModelIsNamedAndExitsWithOne) {
  const Outcome outcome = RunServer({"--model=/no/such/model", "--port=0"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors, HasSubstr("/no/such/model"));
  EXPECT_EQ(outcome.output, "");
}

TEST(ProcessTest, AnUnquantizedModelIsServedOnRequestOnly) {
  const Outcome outcome =
      RunServer({std::string("--model=") + kTinyLlama, "--port=0"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors, AllOf(HasSubstr("anyprec-quantize --input="),
                                    HasSubstr("--max_bits=16")));
  const Outcome quantized =
      RunServer({"--model=" + QuantizedTinyLlama(), "--max_bits=16"});
  EXPECT_EQ(quantized.exit_code, 1);
  EXPECT_THAT(quantized.errors, HasSubstr("--max_bits is 16"));
}

TEST(ProcessTest, AnUnknownSyntheticShapeListsTheKnownOnes) {
  const Outcome outcome = RunServer({"--model=synthetic:none", "--port=0"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors, HasSubstr("smollm2-135m"));
}

TEST(ProcessTest, ATruncatedModelIsAnErrorThatNamesTheFile) {
  const std::filesystem::path model = ModelCopy("truncated");
  const std::filesystem::path weights = model / "model.safetensors";
  std::filesystem::resize_file(weights,
                               std::filesystem::file_size(weights) / 2);
  const Outcome outcome = RunServer({"--model=" + model.string(), "--port=0"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors, HasSubstr("model.safetensors"));
}

TEST(ProcessTest, AModelWithoutItsConfigIsAnErrorThatNamesTheFile) {
  const std::filesystem::path model = ModelCopy("no_config");
  std::filesystem::remove(model / "config.json");
  const Outcome outcome = RunServer({"--model=" + model.string(), "--port=0"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors, HasSubstr("config.json"));
}

TEST(ProcessTest, CudaWithoutABuildForItIsOneClearLine) {
  const Outcome outcome = RunServer(
      {"--model=" + QuantizedTinyLlama(), "--port=0", "--device=cuda"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors, HasSubstr("CUDA"));
}

TEST(ProcessTest, APortInUseIsNamedBeforeTheModelIsLoaded) {
  TestServer server(QuantizedTinyLlama());
  const std::string port =
      server.address().substr(server.address().rfind(':') + 1);
  const Outcome outcome =
      RunServer({"--model=/no/such/model", "--port=" + port});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors,
              AllOf(HasSubstr(server.address()), HasSubstr("in use")));
}

TEST(ProcessTest, ThePortFileHoldsThePort) {
  const std::string path = ::testing::TempDir() + "/port";
  TestServer server(QuantizedTinyLlama(), {"--port_file=" + path});
  std::string port;
  std::ifstream(path) >> port;
  EXPECT_EQ("127.0.0.1:" + port, server.address());
  const Outcome folder = RunServer(
      {"--model=/no/such/model", "--port_file=" + ::testing::TempDir()});
  EXPECT_EQ(folder.exit_code, 1);
  EXPECT_THAT(folder.errors,
              AllOf(HasSubstr("--port_file"), HasSubstr("Is a directory")));
}

TEST(ProcessTest, TheConfigFileIsReadAndFlagsWin) {
  const std::string path = ::testing::TempDir() + "/server.json";
  std::ofstream(path) << R"({"max_context": 64, "max_bits": 5})";
  TestServer server(QuantizedTinyLlama(),
                    {"--config=" + path, "--max_context=32"});
  const v1::ModelInfo model = server.GetModel().model();
  EXPECT_EQ(model.max_context_tokens(), 32);
  EXPECT_EQ(model.precisions(model.precisions_size() - 1).bits(), 5);
}

TEST(ProcessTest, FewerBitsLoadedAreFewerBytesResident) {
  TestServer all(QuantizedTinyLlama());
  TestServer four(QuantizedTinyLlama(), {"--max_bits=4"});
  EXPECT_LT(four.GetModel().model().weight_bytes_resident(),
            all.GetModel().model().weight_bytes_resident());
}

TEST(ProcessTest, TheProbeTellsAServerFromNone) {
  std::string address;
  {
    TestServer server(QuantizedTinyLlama());
    address = server.address();
    EXPECT_EQ(RunServer({"--probe=" + address}).exit_code, 0);
  }
  const Outcome gone = RunServer({"--probe=" + address});
  EXPECT_EQ(gone.exit_code, 1);
  EXPECT_THAT(gone.errors, HasSubstr(address));
  EXPECT_EQ(RunServer({"--probe=127.0.0.1:99999"}).exit_code, 2);
}

TEST(ProcessTest, SigtermAtIdleExitsWithZero) {
  TestServer server(QuantizedTinyLlama());
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(), 0) << server.process().Errors();
}

TEST(ProcessTest, SigtermLetsAcceptedRequestsFinish) {
  TestServer server(QuantizedTinyLlama());
  grpc::ClientContext context;
  const auto reader =
      server.stub().Generate(&context, GreedyRequest("Once upon", 300));
  v1::GenerateResponse piece;
  ASSERT_TRUE(reader->Read(&piece));
  server.process().Signal(SIGTERM);
  int tokens = piece.tokens_size();
  while (reader->Read(&piece)) tokens += piece.tokens_size();
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(tokens, 300);
  EXPECT_EQ(server.process().Wait(), 0) << server.process().Errors();
}

TEST(ProcessTest, EveryRequestHasItsLineInTheLog) {
  TestServer server(QuantizedTinyLlama());
  v1::GenerateRequest request = GreedyRequest("Once upon", 5);
  request.mutable_precision()->set_fixed_bits(4);
  ASSERT_TRUE(Generate(server.stub(), request).status.ok());
  server.process().Signal(SIGTERM);
  server.process().Wait();
  EXPECT_THAT(server.process().Errors(),
              AllOf(HasSubstr("Generate OK"), HasSubstr("completion=5"),
                    HasSubstr("bits=4:5")));
}

}  // namespace
}  // namespace anyprec
