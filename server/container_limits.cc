#include "server/container_limits.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace anyprec {
namespace {

// "/a/b" of the line "0::/a/b"; version 1 has other lines, and no such one.
std::string GroupOf(const std::string& membership) {
  constexpr char kVersion2[] = "0::";
  std::ifstream file(membership);
  std::string line;
  while (std::getline(file, line)) {
    if (absl::StartsWith(line, kVersion2)) {
      return line.substr(sizeof(kVersion2) - 1);
    }
  }
  return "";
}

template <typename T>
void Lower(std::optional<T>& limit, T value) {
  limit = std::min(limit.value_or(value), value);
}

// "QUOTA PERIOD" in microseconds, or "max PERIOD".
void ReadCpus(const std::string& path, std::optional<int>& cpus) {
  std::ifstream file(path);
  int64_t quota = 0;
  int64_t period = 0;
  if (!(file >> quota >> period) || quota <= 0 || period <= 0) return;
  Lower(cpus, static_cast<int>((quota + period - 1) / period));
}

// Bytes, or "max".
void ReadMemory(const std::string& path, std::optional<int64_t>& bytes) {
  std::ifstream file(path);
  int64_t limit = 0;
  if (file >> limit && limit > 0) Lower(bytes, limit);
}

}  // namespace

ContainerLimits ReadContainerLimits(const std::string& cgroup_root,
                                    const std::string& membership) {
  ContainerLimits limits;
  std::string group = GroupOf(membership);
  if (group == "/") group.clear();
  // A limit holds for all groups below.
  while (true) {
    const std::string folder = absl::StrCat(cgroup_root, group);
    ReadCpus(absl::StrCat(folder, "/cpu.max"), limits.cpus);
    ReadMemory(absl::StrCat(folder, "/memory.max"), limits.memory_bytes);
    const size_t parent = group.rfind('/');
    if (parent == std::string::npos) return limits;
    group.resize(parent);
  }
}

}  // namespace anyprec
