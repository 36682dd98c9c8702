// A meter whose every reading a test decides. Thread-compatible.
#ifndef ANYPREC_TESTS_SERVER_FAKE_POWER_METER_H_
#define ANYPREC_TESTS_SERVER_FAKE_POWER_METER_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/power_meter.h"

namespace anyprec {

class FakePowerMeter final : public PowerMeter {
 public:
  // Reads what `reading` holds, which must outlive this object.
  explicit FakePowerMeter(const absl::StatusOr<double>* reading)
      : reading_(*reading) {}

  absl::StatusOr<double> Watts() override { return reading_; }
  const std::string& name() const override { return name_; }

 private:
  const absl::StatusOr<double>& reading_;
  const std::string name_ = "fake";
};

}  // namespace anyprec

#endif  // ANYPREC_TESTS_SERVER_FAKE_POWER_METER_H_
