// `anyprec model`.

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/client/commands.h"
#include "server/client/standard_output.h"

namespace anyprec {
namespace {

constexpr char kModelUsage[] =
    "Usage: anyprec model [FLAGS]\n\n"
    "Prints what the server serves, what each precision costs, and the\n"
    "server's state.";

nlohmann::json ModelToJson(const v1::GetModelResponse& response) {
  const v1::ModelInfo& model = response.model();
  const v1::ModelShape& shape = model.shape();
  const v1::ServerState& state = response.state();
  nlohmann::json precisions = nlohmann::json::object();
  for (const v1::PrecisionInfo& precision : model.precisions()) {
    precisions[absl::StrCat(precision.bits())] = {
        {"weight_bytes_per_token", precision.weight_bytes_per_token()}};
  }
  return {
      {"name", model.name()},
      {"shape",
       {{"vocab_size", shape.vocab_size()},
        {"hidden_size", shape.hidden_size()},
        {"intermediate_size", shape.intermediate_size()},
        {"num_layers", shape.num_layers()},
        {"num_heads", shape.num_heads()},
        {"num_kv_heads", shape.num_kv_heads()},
        {"head_dim", shape.head_dim()},
        {"tie_word_embeddings", shape.tie_word_embeddings()}}},
      {"quantization",
       {{"scheme", model.quantization().scheme()},
        {"seed_bits", model.quantization().seed_bits()},
        {"parent_bits", model.quantization().parent_bits()},
        {"group_size", model.quantization().group_size()},
        {"sensitivity", model.quantization().sensitivity()},
        {"lm_head", model.quantization().lm_head()}}},
      {"precisions", std::move(precisions)},
      {"weight_bytes_resident", model.weight_bytes_resident()},
      {"max_context_tokens", model.max_context_tokens()},
      {"has_tokenizer", model.has_tokenizer()},
      {"has_chat_template", model.has_chat_template()},
      {"state",
       {{"running_requests", state.running_requests()},
        {"waiting_requests", state.waiting_requests()},
        {"kv_blocks_total", state.kv_blocks_total()},
        {"kv_blocks_free", state.kv_blocks_free()},
        {"steps", state.steps()},
        {"prompt_tokens", state.prompt_tokens()},
        {"generated_tokens", state.generated_tokens()},
        {"resident_bytes", state.resident_bytes()},
        {"prefix_cache_queries", state.prefix_cache_queries()},
        {"prefix_cache_hits", state.prefix_cache_hits()},
        {"draft_tokens", state.draft_tokens()},
        {"accepted_draft_tokens", state.accepted_draft_tokens()}}},
      {"backend", response.backend()},
      {"server_version", response.server_version()},
  };
}

double Megabytes(int64_t bytes) { return static_cast<double>(bytes) / 1e6; }

std::string ModelToText(const v1::GetModelResponse& response) {
  const v1::ModelInfo& model = response.model();
  const v1::ModelShape& shape = model.shape();
  const v1::ServerState& state = response.state();
  std::string text = absl::StrFormat(
      "%s: %d layers of %d, %d heads (%d for keys and values), vocabulary %d\n"
      "context           %d tokens\n"
      "backend           %s\n"
      "weights           %.1f MB resident, all precisions together\n",
      model.name(), shape.num_layers(), shape.hidden_size(), shape.num_heads(),
      shape.num_kv_heads(), shape.vocab_size(), model.max_context_tokens(),
      response.backend(), Megabytes(model.weight_bytes_resident()));
  for (const v1::PrecisionInfo& precision : model.precisions()) {
    absl::StrAppendFormat(&text, "  %d bits          %.1f MB read per token\n",
                          precision.bits(),
                          Megabytes(precision.weight_bytes_per_token()));
  }
  absl::StrAppendFormat(&text,
                        "process           %.1f MB resident\n"
                        "requests          %d running, %d waiting\n"
                        "KV blocks         %d of %d free\n"
                        "server            %s\n",
                        Megabytes(state.resident_bytes()),
                        state.running_requests(), state.waiting_requests(),
                        state.kv_blocks_free(), state.kv_blocks_total(),
                        response.server_version());
  return text;
}

}  // namespace

int RunModel(std::span<const std::string> arguments) {
  CommonFlags common;
  FlagSet flags;
  AddCommonFlags(common, flags);
  int exit_code = kExitOk;
  const auto words =
      ParseArguments(arguments, kModelUsage, common, flags, exit_code);
  if (!words.has_value()) return exit_code;
  if (!words->empty()) {
    return ReportWrongUsage(
        absl::StrCat("model: \"", words->front(), "\", takes flags only"));
  }
  v1::GetModelResponse response;
  const grpc::Status status =
      Call(&v1::InferenceService::Stub::GetModel, common,
           CallTimeout(common, /*deadline_ms=*/std::nullopt),
           v1::GetModelRequest(), &response);
  if (!status.ok()) return ReportError(status, common);
  Print(common.json ? DumpJson(ModelToJson(response)) + "\n"
                    : ModelToText(response));
  return kExitOk;
}

}  // namespace anyprec
