// PowerMeter: how much power a device draws.
//
// Thread-compatible.
#ifndef ANYPREC_SERVER_POWER_METER_H_
#define ANYPREC_SERVER_POWER_METER_H_

#include <string>

#include "absl/status/statusor.h"

namespace anyprec {

class PowerMeter {
 public:
  virtual ~PowerMeter() = default;

  // Mean power since the last call, or over about a second where the device
  // averages by itself. FAILED_PRECONDITION: it can no longer be read;
  // UNAVAILABLE: no time has passed since.
  virtual absl::StatusOr<double> Watts() = 0;

  // Where the power is read: "RAPL package-0, dram".
  virtual const std::string& name() const = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_POWER_METER_H_
