// What a container lets this process have of the machine: limits of its control
// group (cgroup v2) and of those around it.
#ifndef ANYPREC_SERVER_CONTAINER_LIMITS_H_
#define ANYPREC_SERVER_CONTAINER_LIMITS_H_

#include <cstdint>
#include <optional>
#include <string>

namespace anyprec {

struct ContainerLimits {
  std::optional<int> cpus;  // of time, rounded up
  std::optional<int64_t> memory_bytes;
};

// `cgroup_root` is where the control groups are mounted, `membership` the file
// that names this process's own. What cannot be read limits nothing.
ContainerLimits ReadContainerLimits(
    const std::string& cgroup_root = "/sys/fs/cgroup",
    const std::string& membership = "/proc/self/cgroup");

}  // namespace anyprec

#endif  // ANYPREC_SERVER_CONTAINER_LIMITS_H_
