#include "runtime/tokenizer/files.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace anyprec {
namespace {

namespace fs = std::filesystem;

fs::path ToPath(absl::string_view path) { return std::string(path); }

}  // namespace

bool IsFile(absl::string_view path) {
  std::error_code error;
  return fs::is_regular_file(ToPath(path), error);
}

std::string JoinPath(absl::string_view folder, absl::string_view name) {
  return (ToPath(folder) / ToPath(name)).string();
}

absl::Status InFile(const std::string& path, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat(path, ": ", status.message()));
}

}  // namespace anyprec
