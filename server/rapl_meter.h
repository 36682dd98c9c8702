// RaplMeter: power of the processors and their memory, from the energy counters
// that Linux shows below /sys/class/powercap (Intel's RAPL; AMD's too).
//
// The counters are the machine's: what other processes draw is in them.
// Thread-compatible.
#ifndef ANYPREC_SERVER_RAPL_METER_H_
#define ANYPREC_SERVER_RAPL_METER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/power_meter.h"

namespace anyprec {

class RaplMeter final : public PowerMeter {
 public:
  // Time since some moment; never goes back.
  using Clock = std::function<absl::Duration()>;

  // `root` is /sys/class/powercap, but in tests. FAILED_PRECONDITION names the
  // path and what was found there.
  static absl::StatusOr<std::unique_ptr<RaplMeter>> Open(
      const std::string& root, Clock clock);

  // Of all packages and of the memory that they do not count. A counter may
  // wrap around once between two calls: 262 kJ on an Intel server, so call it
  // every few minutes at least.
  absl::StatusOr<double> Watts() override;

  const std::string& name() const override { return name_; }

 private:
  // One energy counter.
  struct Domain {
    std::string path;
    int64_t range_uj = 0;   // it wraps around behind this value
    int64_t energy_uj = 0;  // at the last reading
  };

  explicit RaplMeter(Clock clock) : clock_(std::move(clock)) {}

  // Adds the domain in the folder `path` if its energy is to be counted.
  absl::Status Consider(const std::string& path);

  Clock clock_;
  std::string name_ = "RAPL";
  std::vector<Domain> domains_;
  absl::Duration read_at_;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_RAPL_METER_H_
