#include "server/rapl_meter.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

// intel-rapl:PACKAGE and intel-rapl:PACKAGE:PART. (intel-rapl-mmio:* are other
// views of the same counters.)
constexpr char kDomainPrefix[] = "intel-rapl:";

absl::Status Unreadable(const std::string& path, const std::string& reason) {
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": ", reason, ", needs to be readable"));
}

absl::StatusOr<std::string> ReadLine(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Unreadable(path, strerror(errno));
  const absl::Cleanup close_fd = [fd] { close(fd); };
  char bytes[64];  // A number, or a name of a word.
  const ssize_t size = read(fd, bytes, sizeof(bytes));
  if (size < 0) return Unreadable(path, strerror(errno));
  return std::string(absl::StripAsciiWhitespace(
      absl::string_view(bytes, static_cast<size_t>(size))));
}

absl::StatusOr<int64_t> ReadMicrojoules(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadLine(path));
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": \"", text, "\", needs a number of microjoules"));
  }
  return value;
}

absl::StatusOr<std::vector<std::string>> DomainFolders(
    const std::string& root) {
  std::vector<std::string> folders;
  std::error_code error;
  std::filesystem::directory_iterator entry(root, error);
  const std::filesystem::directory_iterator end;
  for (; !error && entry != end; entry.increment(error)) {
    if (absl::StartsWith(entry->path().filename().string(), kDomainPrefix)) {
      folders.push_back(entry->path().string());
    }
  }
  if (error) return Unreadable(root, error.message());
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace

absl::Status RaplMeter::Consider(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string domain, ReadLine(path + "/name"));
  // A package holds its cores and its graphics ("core", "uncore"); on servers
  // it does not hold the memory. "psys" would count everything twice.
  if (!absl::StartsWith(domain, "package") && domain != "dram") {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const int64_t range_uj,
                   ReadMicrojoules(path + "/max_energy_range_uj"));
  ASSIGN_OR_RETURN(const int64_t energy_uj,
                   ReadMicrojoules(path + "/energy_uj"));
  absl::StrAppend(&name_, domains_.empty() ? " " : ", ", domain);
  domains_.push_back({path + "/energy_uj", range_uj, energy_uj});
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<RaplMeter>> RaplMeter::Open(
    const std::string& root, Clock clock) {
  std::unique_ptr<RaplMeter> meter(new RaplMeter(std::move(clock)));
  ASSIGN_OR_RETURN(const std::vector<std::string> folders, DomainFolders(root));
  for (const std::string& folder : folders) {
    RETURN_IF_ERROR(meter->Consider(folder));
  }
  if (meter->domains_.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        root, ": no RAPL domain of a package, needs ", kDomainPrefix, "0"));
  }
  meter->read_at_ = meter->clock_();
  return meter;
}

absl::StatusOr<double> RaplMeter::Watts() {
  const absl::Duration now = clock_();
  const absl::Duration elapsed = now - read_at_;
  if (elapsed <= absl::ZeroDuration()) {
    return absl::UnavailableError(
        absl::StrCat(name_, ": read twice in the same moment"));
  }
  int64_t spent_uj = 0;
  for (Domain& domain : domains_) {
    ASSIGN_OR_RETURN(const int64_t energy_uj, ReadMicrojoules(domain.path));
    spent_uj += energy_uj - domain.energy_uj;
    if (energy_uj < domain.energy_uj) spent_uj += domain.range_uj;
    domain.energy_uj = energy_uj;
  }
  read_at_ = now;
  return static_cast<double>(spent_uj) / absl::ToDoubleMicroseconds(elapsed);
}

}  // namespace anyprec
