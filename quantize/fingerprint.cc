#include "quantize/fingerprint.h"

#include <filesystem>
#include <set>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace anyprec {
namespace {

namespace fs = std::filesystem;

std::string Describe(const fs::path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  const auto time = fs::last_write_time(file, error);
  return absl::StrCat(file.filename().string(), "\n", size, "\n",
                      time.time_since_epoch().count(), "\n");
}

}  // namespace

uint64_t HashBytes(absl::string_view bytes, uint64_t hash) {
  for (const char c : bytes) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  return hash;
}

absl::StatusOr<std::string> PathFingerprint(const std::string& path) {
  std::error_code error;
  std::set<std::string> files;  // sorted: folders list in any order
  if (fs::is_directory(path, error)) {
    for (fs::directory_iterator entry(path, error), end; !error && entry != end;
         entry.increment(error)) {
      std::error_code ignored;
      if (entry->is_regular_file(ignored))
        files.insert(Describe(entry->path()));
    }
  } else if (fs::exists(path, error)) {
    files.insert(Describe(path));
  } else {
    return absl::NotFoundError(absl::StrCat(path, ": no such file or folder"));
  }
  if (error) {
    return absl::InternalError(absl::StrCat(path, ": ", error.message()));
  }
  uint64_t hash = kFnvOffset;
  for (const std::string& file : files) hash = HashBytes(file, hash);
  return absl::StrCat(absl::Hex(hash, absl::kZeroPad16));
}

}  // namespace anyprec
