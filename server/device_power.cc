#include "server/device_power.h"

#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "kernels/status_macros.h"
#include "server/nvml_meter.h"
#include "server/rapl_meter.h"

namespace anyprec {
namespace {

constexpr char kPowercapRoot[] = "/sys/class/powercap";
constexpr char kNvmlLibrary[] = "libnvidia-ml.so.1";

// NVML knows every GPU of the machine, CUDA only those that it may see.
std::string FirstVisibleGpu() {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible == nullptr) return "";
  const std::vector<std::string> gpus = absl::StrSplit(visible, ',');
  return gpus[0];
}

}  // namespace

absl::StatusOr<std::unique_ptr<PowerMeter>> OpenPowerMeter(
    PoweredDevice device) {
  if (device == PoweredDevice::kGpu) {
    return NvmlMeter::Open(kNvmlLibrary, FirstVisibleGpu());
  }
  return RaplMeter::Open(kPowercapRoot, [] {
    return absl::FromChrono(
        std::chrono::steady_clock::now().time_since_epoch());
  });
}

}  // namespace anyprec
