// `anyprec generate` and `anyprec chat`.

#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/client/commands.h"
#include "server/client/generation_flags.h"
#include "server/client/generation_output.h"
#include "server/client/standard_output.h"
#include "server/client/utf8_check.h"

namespace anyprec {
namespace {

constexpr char kGenerateUsage[] =
    "Usage: anyprec generate [FLAGS] [TEXT]\n\n"
    "Continues TEXT, or what stdin holds where there is none, and prints the\n"
    "answer as it comes.";

constexpr char kChatUsage[] =
    "Usage: anyprec chat [FLAGS] [MESSAGE]\n\n"
    "Sends MESSAGE in the model's own chat format and prints the answer as it\n"
    "comes. Without MESSAGE it talks on a terminal until end of file, and "
    "else\n"
    "sends what stdin holds.";

// A time limit would be the server's deadline too, and so choose the precision.
// A server that falls silent is noticed anyway (NewClientChannel).
struct Flags {
  Flags() { common.default_timeout = absl::InfiniteDuration(); }

  CommonFlags common;
  GenerationFlags generation;
  std::string prompt;
  std::string system;
  bool parse_special = false;
  bool quiet = false;
};

FlagSet NewFlagSet(Flags& flags) {
  FlagSet set;
  AddCommonFlags(flags.common, set);
  set.Add("prompt", &flags.prompt, "The text, instead of an argument.");
  AddGenerationFlags(flags.generation, set);
  set.Add("quiet", &flags.quiet, "No line about speed and bits on stderr.");
  return set;
}

struct Answer {
  std::vector<v1::GenerateResponse> samples;
  grpc::Status status;
};

// Prints pieces as they come where `live`.
Answer Generate(v1::InferenceService::Stub& stub,
                const v1::GenerateRequest& request, const Flags& flags,
                bool live) {
  CallContext context(flags.common.address,
                      CallTimeout(flags.common, flags.generation.deadline_ms));
  const auto reader = stub.Generate(context.get(), request);
  Answer answer;
  v1::GenerateResponse piece;
  while (reader->Read(&piece)) {
    const size_t index = static_cast<size_t>(piece.index());
    if (index >= answer.samples.size()) answer.samples.resize(index + 1);
    v1::GenerateResponse& sample = answer.samples[index];
    sample.set_index(piece.index());
    sample.mutable_text()->append(piece.text());
    sample.mutable_tokens()->MergeFrom(piece.tokens());
    if (piece.has_prompt()) *sample.mutable_prompt() = piece.prompt();
    if (piece.has_finish()) *sample.mutable_finish() = piece.finish();
    if (live) {
      Print(piece.text());
      // Nobody will read the rest.
      if (!FlushOutput().ok()) context.get()->TryCancel();
    }
  }
  answer.status = context.Explain(reader->Finish());
  return answer;
}

// The whole of one call: sends, shows, reports. Returns the exit code and puts
// the text into `text`, where given.
int Ask(v1::InferenceService::Stub& stub, const v1::GenerateRequest& request,
        const Flags& flags, std::string* text = nullptr) {
  // Several samples arrive interleaved: they are shown one after the other.
  const bool live = !flags.common.json && flags.generation.n.value_or(1) == 1;
  const Answer answer = Generate(stub, request, flags, live);
  if (text != nullptr && !answer.samples.empty()) {
    *text = answer.samples[0].text();
  }
  if (flags.common.json) {
    Print(DumpJson(AnswerToJson(answer.samples, answer.status)) + "\n");
    return answer.status.ok() ? kExitOk : kExitFailure;
  }
  for (const v1::GenerateResponse& sample : answer.samples) {
    if (!live) Print(absl::StrCat("[", sample.index(), "] ", sample.text()));
    Print("\n");
    FlushOutput().IgnoreError();  // Before stderr's line; main() tells.
    if (!flags.quiet && sample.has_finish()) {
      std::fprintf(stderr, "[%s]\n", SummaryLine(sample).c_str());
    }
  }
  // A call that we gave up for want of an output is told of by main().
  if (!FlushOutput().ok()) return kExitFailure;
  if (!answer.status.ok()) return ReportError(answer.status, flags.common);
  return kExitOk;
}

// What only JSON has room for.
absl::Status CheckOutput(const Flags& flags) {
  if (flags.common.json || !flags.generation.logprobs.has_value()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("--logprobs needs --json");
}

void AddMessage(const std::string& role, const std::string& content,
                v1::GenerateRequest& request) {
  v1::ChatMessage* message = request.mutable_chat()->add_messages();
  message->set_role(role);
  message->set_content(content);
}

// Each line a turn; the conversation so far goes with it.
int Converse(v1::InferenceService::Stub& stub, v1::GenerateRequest request,
             const Flags& flags) {
  std::string line;
  while (std::fputs("> ", stderr), std::getline(std::cin, line)) {
    if (line.empty()) continue;
    if (const absl::Status valid = RequireUtf8("stdin", line); !valid.ok()) {
      ReportWrongUsage(valid.message());
      continue;
    }
    AddMessage("user", line, request);
    std::string text;
    const int exit_code = Ask(stub, request, flags, &text);
    if (exit_code != kExitOk) return exit_code;
    AddMessage("assistant", text, request);
  }
  std::fputs("\n", stderr);
  return kExitOk;
}

// --prompt, or the words, or what stdin holds.
absl::StatusOr<std::string> PromptText(const Flags& flags,
                                       const std::vector<std::string>& words) {
  if (flags.prompt.empty()) return TextOrStdin(words);
  if (words.empty()) return flags.prompt;
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", words.front(), "\" beside --prompt, needs one of the two"));
}

}  // namespace

int RunGenerate(std::span<const std::string> arguments) {
  Flags flags;
  FlagSet set = NewFlagSet(flags);
  set.Add("parse_special", &flags.parse_special,
          "Names of control tokens in TEXT stand for these tokens.");
  int exit_code = kExitOk;
  const auto words =
      ParseArguments(arguments, kGenerateUsage, flags.common, set, exit_code);
  if (!words.has_value()) return exit_code;
  if (const absl::Status valid = CheckOutput(flags); !valid.ok()) {
    return ReportWrongUsage(valid.message());
  }
  const absl::StatusOr<std::string> text = PromptText(flags, *words);
  if (!text.ok()) return ReportWrongUsage(text.status().message());
  v1::GenerateRequest request = ToRequest(flags.generation);
  request.set_text(*text);
  request.set_parse_special(flags.parse_special);
  return Ask(*Connect(flags.common.address), request, flags);
}

int RunChat(std::span<const std::string> arguments) {
  Flags flags;
  FlagSet set = NewFlagSet(flags);
  set.Add("system", &flags.system, "System message to begin with.");
  int exit_code = kExitOk;
  const auto words =
      ParseArguments(arguments, kChatUsage, flags.common, set, exit_code);
  if (!words.has_value()) return exit_code;
  if (const absl::Status valid = CheckOutput(flags); !valid.ok()) {
    return ReportWrongUsage(valid.message());
  }
  const auto stub = Connect(flags.common.address);
  v1::GenerateRequest request = ToRequest(flags.generation);
  if (!flags.system.empty()) AddMessage("system", flags.system, request);
  if (words->empty() && flags.prompt.empty() && isatty(STDIN_FILENO) != 0) {
    return Converse(*stub, std::move(request), flags);
  }
  const absl::StatusOr<std::string> text = PromptText(flags, *words);
  if (!text.ok()) return ReportWrongUsage(text.status().message());
  AddMessage("user", *text, request);
  return Ask(*stub, request, flags);
}

}  // namespace anyprec
