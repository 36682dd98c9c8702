#include "runtime/format/json_lines.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "runtime/format/json.h"

namespace anyprec {

absl::StatusOr<JsonLines> JsonLines::Open(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return absl::NotFoundError(absl::StrCat(path, ": cannot be opened"));
  return JsonLines(path, std::move(file));
}

JsonLines::JsonLines(std::string path, std::ifstream file)
    : path_(std::move(path)), file_(std::move(file)) {}

std::string JsonLines::where() const { return absl::StrCat(path_, ":", line_); }

absl::StatusOr<bool> JsonLines::Next() {
  std::string line;
  while (std::getline(file_, line)) {
    ++line_;
    if (line.empty()) continue;
    ASSIGN_OR_RETURN(nlohmann::json object, ParseJsonObject(line, where()));
    const auto text = object.find("text");
    if (text == object.end() || !text->is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where(), ": needs a field \"text\" that is a string"));
    }
    text_ = std::move(text->get_ref<std::string&>());
    return true;
  }
  if (file_.eof()) return false;
  return absl::DataLossError(
      absl::StrCat(path_, ": cannot be read beyond line ", line_));
}

}  // namespace anyprec
