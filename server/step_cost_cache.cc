#include "server/step_cost_cache.h"

#include <filesystem>
#include <fstream>
#include <span>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "kernels/status_macros.h"
#include "runtime/format/crc32c.h"
#include "runtime/format/file_writer.h"

namespace anyprec {
namespace {

// "AMD EPYC 9R14", or nothing where the system does not say.
std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    absl::string_view rest = line;
    if (!absl::ConsumePrefix(&rest, "model name")) continue;
    return std::string(rest.substr(rest.find_first_not_of("\t :")));
  }
  return "";
}

}  // namespace

std::string StepCostKey(absl::string_view model_name, const LlamaModel& model,
                        absl::string_view backend_name,
                        const EngineOptions& options) {
  return absl::StrCat(model_name, ", ", model.WeightBytesResident(),
                      " bytes at ", model.seed_bits(), " to ", model.max_bits(),
                      " bits, on ", backend_name, ", ", ProcessorName(),
                      ", measured for ", absl::FormatDuration(options.warm_up),
                      ", up to ", options.max_sequences, " sequences and ",
                      options.prefill_chunk_tokens, " prompt tokens in a step");
}

StepCostCache::StepCostCache(const std::string& folder, const std::string& key)
    : key_(key),
      path_(absl::StrFormat(
          "%s/step-costs-%08x.json", folder,
          Crc32c(std::as_bytes(std::span(key.data(), key.size()))))) {}

absl::StatusOr<StepCostModel> StepCostCache::Read() const {
  ASSIGN_OR_RETURN(const StepCostTable table, ReadStepCostTable(path_));
  if (table.name != key_) {
    return absl::NotFoundError(absl::StrCat(path_, ": is of \"", table.name,
                                            "\", needed is \"", key_, "\""));
  }
  return table.costs;
}

absl::Status StepCostCache::Write(const StepCostModel& costs,
                                  int kv_tokens) const {
  StepCostTable table;
  table.name = key_;
  table.kv_tokens = kv_tokens;
  table.costs = costs;
  const std::string json = ToJson(table);
  RETURN_IF_ERROR(ParseStepCostTable(json, path_).status());
  const std::filesystem::path folder =
      std::filesystem::path(path_).parent_path();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::UnavailableError(absl::StrCat(
        "cannot make the folder \"", folder.string(), "\": ", error.message()));
  }
  return WriteFileAtomically(path_, json);
}

}  // namespace anyprec
