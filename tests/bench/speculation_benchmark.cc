// Speculative against plain greedy decoding on a running server, prompt by
// prompt in turn: whether the answers are the same, how many drafts were
// accepted, and how much faster it was.
//
// Exit codes: 0 all answers are the same, 1 some are not or a call failed,
// 2 for wrong flags.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_format.h"
#include "anyprec/v1/inference_service.grpc.pb.h"
#include "grpcpp/grpcpp.h"

ABSL_FLAG(std::string, address, "127.0.0.1:50051", "server");
ABSL_FLAG(std::string, text, "", "text file; long lines begin the prompts");
ABSL_FLAG(int, prompts, 200, "how many, from all over the file");
ABSL_FLAG(int, prompt_bytes, 200, "of a line that make a prompt, about");
ABSL_FLAG(int, max_tokens, 48, "of each answer; at least 2");
ABSL_FLAG(int, bits, 8, "precision of the answers");
ABSL_FLAG(int, draft_tokens, -1, "before each verification; -1: the server's");
ABSL_FLAG(int, draft_bits, -1, "of drafts; -1: the server's choice");

namespace anyprec {
namespace {

constexpr int kExitUsage = 2;

// Beginnings of long lines, up to a space, evenly spread over the file.
std::vector<std::string> ReadPrompts() {
  std::ifstream file(absl::GetFlag(FLAGS_text));
  const size_t bytes = absl::GetFlag(FLAGS_prompt_bytes);
  std::vector<std::string> all;
  for (std::string line; std::getline(file, line);) {
    const size_t end = line.find(' ', bytes);
    if (end != std::string::npos) all.push_back(line.substr(0, end));
  }
  const size_t wanted =
      std::min<size_t>(all.size(), absl::GetFlag(FLAGS_prompts));
  std::vector<std::string> prompts;
  for (size_t i = 0; i < wanted; ++i) {
    prompts.push_back(all[i * all.size() / wanted]);
  }
  return prompts;
}

v1::GenerateUnaryRequest RequestFor(const std::string& prompt,
                                    bool speculative) {
  v1::GenerateUnaryRequest request;
  v1::GenerateRequest& generation = *request.mutable_generation();
  generation.set_text(prompt);
  generation.mutable_sampling()->set_temperature(0);
  generation.mutable_stopping()->set_max_tokens(
      absl::GetFlag(FLAGS_max_tokens));
  generation.mutable_stopping()->set_ignore_eos(true);
  generation.mutable_precision()->set_fixed_bits(absl::GetFlag(FLAGS_bits));
  v1::Speculation& speculation = *generation.mutable_speculation();
  if (!speculative) {
    speculation.set_draft_tokens(0);
    return request;
  }
  if (absl::GetFlag(FLAGS_draft_tokens) >= 0) {
    speculation.set_draft_tokens(absl::GetFlag(FLAGS_draft_tokens));
  }
  if (absl::GetFlag(FLAGS_draft_bits) >= 0) {
    speculation.set_draft_bits(absl::GetFlag(FLAGS_draft_bits));
  }
  return request;
}

struct Totals {
  int different = 0;
  int64_t drafted = 0;
  int64_t accepted = 0;
  double plain_ms = 0;  // from first to last token
  double speculative_ms = 0;
  std::vector<double> speed_ups;  // of each prompt
};

double DecodeMs(const v1::Finish& finish) {
  return finish.timings().tpot_ms() * (finish.usage().completion_tokens() - 1);
}

grpc::Status Compare(v1::InferenceService::Stub& stub,
                     const std::string& prompt, bool plain_first,
                     Totals& totals) {
  v1::GenerateUnaryResponse answers[2];  // plain, speculative
  for (const bool speculative : {!plain_first, plain_first}) {
    grpc::ClientContext context;
    const grpc::Status status =
        stub.GenerateUnary(&context, RequestFor(prompt, speculative),
                           &answers[speculative ? 1 : 0]);
    if (!status.ok()) return status;
  }
  const v1::GenerateResponse& plain = answers[0].samples(0);
  const v1::GenerateResponse& speculative = answers[1].samples(0);
  bool same = plain.text() == speculative.text() &&
              plain.tokens_size() == speculative.tokens_size();
  for (int i = 0; same && i < plain.tokens_size(); ++i) {
    same = plain.tokens(i).id() == speculative.tokens(i).id();
  }
  totals.different += same ? 0 : 1;
  totals.drafted += speculative.finish().usage().draft_tokens();
  totals.accepted += speculative.finish().usage().accepted_draft_tokens();
  totals.plain_ms += DecodeMs(plain.finish());
  totals.speculative_ms += DecodeMs(speculative.finish());
  totals.speed_ups.push_back(DecodeMs(plain.finish()) /
                             DecodeMs(speculative.finish()));
  return grpc::Status::OK;
}

int Run() {
  const std::vector<std::string> prompts = ReadPrompts();
  if (prompts.empty()) {
    absl::FPrintF(stderr,
                  "speculation-benchmark: no line of %s is long enough\n",
                  absl::GetFlag(FLAGS_text));
    return 1;
  }
  auto stub = v1::InferenceService::NewStub(grpc::CreateChannel(
      absl::GetFlag(FLAGS_address), grpc::InsecureChannelCredentials()));
  Totals totals;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const grpc::Status status =
        Compare(*stub, prompts[i], /*plain_first=*/i % 2 == 0, totals);
    if (!status.ok()) {
      absl::FPrintF(stderr, "speculation-benchmark: prompt %d: %s\n", i,
                    status.error_message());
      return 1;
    }
  }
  std::sort(totals.speed_ups.begin(), totals.speed_ups.end());
  absl::PrintF(
      "{\"prompts\": %d, \"bits\": %d, \"different\": %d, "
      "\"draft_tokens\": %d, \"accepted\": %d, \"acceptance\": %.4f, "
      "\"speed_up\": %.4f, \"speed_up_median\": %.4f}\n",
      prompts.size(), absl::GetFlag(FLAGS_bits), totals.different,
      totals.drafted, totals.accepted,
      totals.drafted == 0
          ? 0.0
          : static_cast<double>(totals.accepted) / totals.drafted,
      totals.plain_ms / totals.speculative_ms,
      totals.speed_ups[totals.speed_ups.size() / 2]);
  return totals.different == 0 ? 0 : 1;
}

}  // namespace
}  // namespace anyprec

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Compares speculative with plain decoding; prints one JSON object.");
  absl::ParseCommandLine(argc, argv);
  if (absl::GetFlag(FLAGS_text).empty() || absl::GetFlag(FLAGS_prompts) < 1 ||
      absl::GetFlag(FLAGS_prompt_bytes) < 1 ||
      absl::GetFlag(FLAGS_max_tokens) < 2) {
    absl::FPrintF(stderr,
                  "speculation-benchmark: needs --text, --prompts and "
                  "--prompt_bytes of at least 1, --max_tokens of at least 2\n");
    return anyprec::kExitUsage;
  }
  return anyprec::Run();
}
