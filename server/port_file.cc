#include "server/port_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace anyprec {
namespace {

std::string PartialOf(const std::string& path) { return path + ".partial"; }

// REQUIRES: errno tells why.
absl::Status WriteError(const char* flag, const std::string& path) {
  return absl::UnavailableError(absl::StrCat(
      "--", flag, ": cannot write \"", path, "\": ", std::strerror(errno)));
}

}  // namespace

absl::Status CheckPortFile(const char* flag, const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    errno = EISDIR;
    return WriteError(flag, path);
  }
  const std::string partial = PartialOf(path);
  if (!std::ofstream(partial).is_open()) return WriteError(flag, path);
  std::remove(partial.c_str());
  return absl::OkStatus();
}

absl::Status WritePortFile(const char* flag, const std::string& path,
                           int port) {
  if (path.empty()) return absl::OkStatus();
  const std::string partial = PartialOf(path);
  std::ofstream file(partial);
  file << port << "\n";
  file.close();
  if (file.fail() || std::rename(partial.c_str(), path.c_str()) != 0) {
    const absl::Status status = WriteError(flag, path);
    std::remove(partial.c_str());
    return status;
  }
  return absl::OkStatus();
}

}  // namespace anyprec
