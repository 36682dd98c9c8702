#include "runtime/format/config_file.h"

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "runtime/format/json.h"
#include "runtime/format/mapped_file.h"

namespace anyprec {
namespace {

absl::Status AddEosTokens(const std::string& path, ModelConfig* config) {
  const absl::StatusOr<std::string> text = ReadSmallFile(path, kMaxConfigBytes);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(const nlohmann::json document, ParseJsonObject(*text, path));
  const auto eos = document.find("eos_token_id");
  if (eos == document.end() || eos->is_null()) return absl::OkStatus();
  const nlohmann::json ids =
      eos->is_array() ? *eos : nlohmann::json::array({*eos});
  for (const nlohmann::json& id : ids) {
    if (!id.is_number_integer() || id < 0 || id >= config->vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": eos_token_id holds ", id.dump(), ", needed is a token id, ",
          "0 .. ", config->vocab_size - 1));
    }
    std::vector<int32_t>& known = config->eos_token_ids;
    const auto value = id.get<int32_t>();
    if (std::find(known.begin(), known.end(), value) == known.end()) {
      known.push_back(value);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/config.json");
  ASSIGN_OR_RETURN(const std::string text,
                   ReadSmallFile(path, kMaxConfigBytes));
  ASSIGN_OR_RETURN(ModelConfig config, ParseModelConfig(text, path));
  RETURN_IF_ERROR(AddEosTokens(
      absl::StrCat(directory, "/generation_config.json"), &config));
  return config;
}

}  // namespace anyprec
