// The meter of the device that computes.
#ifndef ANYPREC_SERVER_DEVICE_POWER_H_
#define ANYPREC_SERVER_DEVICE_POWER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "server/power_meter.h"

namespace anyprec {

enum class PoweredDevice { kCpu, kGpu };

// RAPL for the CPU, NVML for the GPU. FAILED_PRECONDITION says what was tried
// and what was found.
absl::StatusOr<std::unique_ptr<PowerMeter>> OpenPowerMeter(
    PoweredDevice device);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_DEVICE_POWER_H_
