#include "tests/integration/test_server.h"

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/time/clock.h"

namespace anyprec {
namespace {

constexpr char kListening[] = "listening on ";

// A guard against hanging, far above what a loaded machine takes.
constexpr absl::Duration kPatience = absl::Minutes(2);

std::vector<std::string> ServerArguments(
    const std::string& binary, const std::string& model,
    const std::vector<std::string>& more_flags) {
  std::vector<std::string> arguments = {binary,        "--model=" + model,
                                        "--port=0",    "--device=cpu",
                                        "--threads=2", "--warm_up=0"};
  arguments.insert(arguments.end(), more_flags.begin(), more_flags.end());
  return arguments;
}

bool IsIdle(const v1::ServerState& state) {
  return state.running_requests() == 0 && state.waiting_requests() == 0 &&
         state.kv_blocks_free() == state.kv_blocks_total();
}

}  // namespace

const std::string& QuantizedTinyLlama() {
  static const std::string* const folder = [] {
    auto* path = new std::string(::testing::TempDir() + "/tiny-llama-3-8");
    const Outcome outcome =
        RunToEnd({kQuantizeBinary, std::string("--input=") + kTinyLlama,
                  "--output=" + *path, "--sensitivity=uniform", "--overwrite"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    return path;
  }();
  return *folder;
}

std::string ReadWord(const std::string& path) {
  std::string word;
  std::ifstream(path) >> word;
  return word;
}

TestServer::TestServer(const std::string& model,
                       const std::vector<std::string>& more_flags,
                       const std::string& binary)
    : process_(ServerArguments(binary, model, more_flags)) {
  const std::string line = process_.ReadLine();
  EXPECT_TRUE(absl::StartsWith(line, kListening))
      << "stdout: " << line << "\nstderr: " << process_.Errors();
  if (absl::StartsWith(line, kListening)) {
    address_ = line.substr(std::string_view(kListening).size());
  }
  channel_ = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
  stub_ = v1::InferenceService::NewStub(channel_);
}

v1::GetModelResponse TestServer::GetModel() {
  grpc::ClientContext context;
  v1::GetModelResponse response;
  const grpc::Status status = stub_->GetModel(&context, {}, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

v1::ServerState TestServer::WaitUntilIdle() {
  const absl::Time give_up = absl::Now() + kPatience;
  v1::ServerState state = GetModel().state();
  while (!IsIdle(state) && absl::Now() < give_up) {
    absl::SleepFor(absl::Milliseconds(5));
    state = GetModel().state();
  }
  return state;
}

Answer Generate(v1::InferenceService::Stub& stub,
                const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  const auto reader = stub.Generate(&context, request);
  Answer answer;
  v1::GenerateResponse piece;
  while (reader->Read(&piece)) {
    answer.text += piece.text();
    for (const v1::Token& token : piece.tokens()) {
      answer.ids.push_back(token.id());
      answer.bits.push_back(token.bits());
    }
    if (piece.has_prompt()) answer.prompt = piece.prompt();
    if (piece.has_finish()) answer.finish = piece.finish();
    answer.pieces.push_back(piece);
  }
  answer.status = reader->Finish();
  return answer;
}

v1::GenerateRequest GreedyRequest(const std::string& text, int max_tokens) {
  v1::GenerateRequest request;
  request.set_text(text);
  request.mutable_sampling()->set_temperature(0);
  request.mutable_stopping()->set_max_tokens(max_tokens);
  request.mutable_stopping()->set_ignore_eos(true);
  return request;
}

}  // namespace anyprec
