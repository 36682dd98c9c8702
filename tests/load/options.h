// What anyprec-loadtest can be told.
#ifndef ANYPREC_TESTS_LOAD_OPTIONS_H_
#define ANYPREC_TESTS_LOAD_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/command_line/flag_set.h"
#include "tests/load/requirements.h"
#include "tests/load/workload.h"

namespace anyprec::load {

struct LoadTestOptions {
  std::string target;
  std::string simulate;
  std::string label;

  // Of the simulated server, as the server's flags of these names; absent: as
  // SimulationOptions has it.
  std::optional<std::string> policy;

  std::string arrivals = "poisson";
  std::optional<double> rate;
  std::optional<double> ramp_to;
  double cv = 2;
  std::optional<double> duration;
  double warm_up = 5;
  double drain_timeout = 60;
  int concurrency = 0;

  std::string trace;
  std::string trace_format = "auto";
  double trace_start = 0;
  std::optional<double> trace_duration;
  double time_scale = 1;
  double length_scale = 1;
  std::string prompt_tokens = "128";
  std::string output_tokens = "64";
  int max_prompt_tokens = 0;
  int max_output_tokens = 0;

  std::string classes;
  double slo_scale = 1;
  std::optional<int> fixed_bits;
  std::optional<uint64_t> seed = 1;

  std::string rates;
  std::optional<double> base_rate;
  std::string find_rate;
  double min_rate = 0.1;
  double max_rate = 100;
  double rate_tolerance = 0.05;

  int connections = 4;
  double connect_timeout = 10;
  double window = 0;
  std::string json;
  std::string csv;
  std::string html;
  std::vector<std::string> compare;
  std::vector<std::string> require;
  bool help = false;

  // Of the texts above.
  std::vector<double> rate_factors;    // of `rates`
  std::vector<double> goodput_shares;  // of `find_rate`
  IntRange prompt_range;
  IntRange output_range;
  std::vector<Requirement> requirements;

  bool runs() const { return !target.empty() || !simulate.empty(); }
  bool replays_times() const { return arrivals == "trace"; }
};

// The flags, bound to `options`, which must outlive them.
FlagSet LoadTestFlags(LoadTestOptions& options);

// INVALID_ARGUMENT names the flag, the value and what is allowed. With --help
// nothing else is checked.
absl::StatusOr<LoadTestOptions> ParseLoadTestOptions(
    std::span<const std::string> arguments);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_OPTIONS_H_
