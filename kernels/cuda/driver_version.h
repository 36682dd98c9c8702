// Which NVIDIA driver runs, for the reports of benchmarks.
#ifndef ANYPREC_KERNELS_CUDA_DRIVER_VERSION_H_
#define ANYPREC_KERNELS_CUDA_DRIVER_VERSION_H_

#include <fstream>
#include <string>

namespace anyprec {

// The kernel module's own line, or "unknown" where it does not say.
inline std::string NvidiaDriverVersion() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  return std::getline(file, line) ? line : "unknown";
}

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_DRIVER_VERSION_H_
