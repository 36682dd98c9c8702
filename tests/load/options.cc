#include "tests/load/options.h"

#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status_macros.h"
#include "runtime/scheduler/precision_policy.h"

namespace anyprec::load {
namespace {

constexpr double kDay = 86400;
constexpr double kMaxRate = 1e6;

absl::Status Wrong(absl::string_view message) {
  return absl::InvalidArgumentError(message);
}

absl::Status CheckAboveZero(absl::string_view flag,
                            const std::optional<double>& value, double high) {
  if (!value.has_value() || (*value > 0 && *value <= high)) {
    return absl::OkStatus();
  }
  return Wrong(
      absl::StrCat("--", flag, " is ", *value, "; must be in (0, ", high, "]"));
}

// Numbers above 0 and at most `high`, separated by commas.
absl::StatusOr<std::vector<double>> ParseNumbers(absl::string_view flag,
                                                 absl::string_view text,
                                                 double high) {
  std::vector<double> numbers;
  if (text.empty()) return numbers;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    double number = 0;
    if (!absl::SimpleAtod(part, &number) || !(number > 0 && number <= high)) {
      return Wrong(absl::StrCat("--", flag, " is \"", text,
                                "\"; must be numbers in (0, ", high,
                                "], separated by commas"));
    }
    numbers.push_back(number);
  }
  return numbers;
}

absl::Status CheckNumbers(const LoadTestOptions& options) {
  RETURN_IF_ERROR(CheckAboveZero("rate", options.rate, kMaxRate));
  RETURN_IF_ERROR(CheckAboveZero("ramp_to", options.ramp_to, kMaxRate));
  RETURN_IF_ERROR(CheckAboveZero("base_rate", options.base_rate, kMaxRate));
  RETURN_IF_ERROR(CheckAboveZero("min_rate", options.min_rate, kMaxRate));
  RETURN_IF_ERROR(
      CheckFlagRange("max_rate", options.max_rate, options.min_rate, kMaxRate));
  RETURN_IF_ERROR(
      CheckFlagRange("rate_tolerance", options.rate_tolerance, 0.001, 1.0));
  RETURN_IF_ERROR(CheckAboveZero("cv", options.cv, 100));
  RETURN_IF_ERROR(CheckAboveZero("duration", options.duration, kDay));
  RETURN_IF_ERROR(
      CheckAboveZero("trace_duration", options.trace_duration, 1000 * kDay));
  RETURN_IF_ERROR(
      CheckFlagRange("trace_start", options.trace_start, 0.0, 1000 * kDay));
  RETURN_IF_ERROR(CheckAboveZero("time_scale", options.time_scale, 1e6));
  RETURN_IF_ERROR(CheckAboveZero("length_scale", options.length_scale, 1e3));
  RETURN_IF_ERROR(CheckAboveZero("slo_scale", options.slo_scale, 1e3));
  RETURN_IF_ERROR(CheckFlagRange("warm_up", options.warm_up, 0.0, kDay));
  RETURN_IF_ERROR(
      CheckFlagRange("drain_timeout", options.drain_timeout, 0.0, kDay));
  RETURN_IF_ERROR(
      CheckFlagRange("concurrency", options.concurrency, 0, 100'000));
  RETURN_IF_ERROR(CheckFlagRange("connections", options.connections, 1, 1000));
  RETURN_IF_ERROR(
      CheckAboveZero("connect_timeout", options.connect_timeout, kDay));
  RETURN_IF_ERROR(CheckFlagRange("window", options.window, 0.0, kDay));
  constexpr int kMaxTokens = std::numeric_limits<int>::max();
  RETURN_IF_ERROR(CheckFlagRange("max_prompt_tokens", options.max_prompt_tokens,
                                 0, kMaxTokens));
  RETURN_IF_ERROR(CheckFlagRange("max_output_tokens", options.max_output_tokens,
                                 0, kMaxTokens));
  return CheckFlagRange("fixed_bits", options.fixed_bits.value_or(1), 1, 16);
}

absl::Status CheckMode(const LoadTestOptions& options) {
  const int modes = (options.concurrency > 0 ? 1 : 0) +
                    (!options.rates.empty() ? 1 : 0) +
                    (!options.find_rate.empty() ? 1 : 0);
  if (modes > 1) {
    return Wrong("--concurrency, --rates and --find_rate exclude each other");
  }
  if (modes == 1 && (options.rate.has_value() || options.ramp_to.has_value())) {
    return Wrong(
        "--rate and --ramp_to exclude --concurrency, --rates and --find_rate");
  }
  if (options.replays_times() && options.trace.empty()) {
    return Wrong("--arrivals=trace needs --trace=FILE");
  }
  if (options.replays_times() &&
      (options.concurrency > 0 || options.ramp_to.has_value())) {
    return Wrong("--arrivals=trace excludes --concurrency and --ramp_to");
  }
  if (!options.rates.empty() && !options.base_rate.has_value() &&
      !options.replays_times()) {
    return Wrong("--rates needs --base_rate, of which they are multiples");
  }
  if (modes == 0 && !options.rate.has_value() && !options.replays_times()) {
    return Wrong(
        "--rate is missing; or give --concurrency, --rates with --base_rate, "
        "--find_rate, or --arrivals=trace");
  }
  return absl::OkStatus();
}

absl::Status ParseTexts(LoadTestOptions& options) {
  ASSIGN_OR_RETURN(options.rate_factors,
                   ParseNumbers("rates", options.rates, kMaxRate));
  ASSIGN_OR_RETURN(options.goodput_shares,
                   ParseNumbers("find_rate", options.find_rate, 1));
  ASSIGN_OR_RETURN(options.prompt_range,
                   ParseIntRange("--prompt_tokens", options.prompt_tokens));
  ASSIGN_OR_RETURN(options.output_range,
                   ParseIntRange("--output_tokens", options.output_tokens));
  for (const std::string& list : options.require) {
    ASSIGN_OR_RETURN(std::vector<Requirement> more, ParseRequirements(list));
    options.requirements.insert(options.requirements.end(),
                                std::make_move_iterator(more.begin()),
                                std::make_move_iterator(more.end()));
  }
  return absl::OkStatus();
}

// A server under test has flags of its own.
absl::Status CheckSimulation(const LoadTestOptions& options) {
  if (!options.policy.has_value()) return absl::OkStatus();
  if (options.simulate.empty()) {
    return Wrong(
        absl::StrCat("--policy is ", *options.policy,
                     "; needs --simulate. A server has a --policy of its own"));
  }
  const auto policy = ParsePrecisionPolicy(*options.policy);
  return policy.ok()
             ? absl::OkStatus()
             : Wrong(absl::StrCat("--policy is ", policy.status().message()));
}

absl::Status Validate(LoadTestOptions& options) {
  RETURN_IF_ERROR(ParseTexts(options));
  RETURN_IF_ERROR(CheckNumbers(options));
  RETURN_IF_ERROR(CheckSimulation(options));
  if (!options.target.empty() && !options.simulate.empty()) {
    return Wrong("--target and --simulate exclude each other");
  }
  if (options.runs()) return CheckMode(options);
  if (options.compare.empty()) {
    return Wrong(
        "--target is missing; name a server's HOST:PORT, or --simulate a cost "
        "table, or --compare reports of earlier runs");
  }
  return absl::OkStatus();
}

void AddArrivalFlags(LoadTestOptions& options, FlagSet& flags) {
  flags.Add("arrivals", &options.arrivals,
            "How requests arrive: with equal, exponential or gamma-distributed "
            "gaps, or at the times of --trace.",
            {"constant", "poisson", "gamma", "trace"});
  flags.Add("rate", &options.rate,
            "Requests a second. With --arrivals=trace the trace's times are "
            "scaled to this mean rate; absent, they stay.");
  flags.Add("ramp_to", &options.ramp_to,
            "Requests a second at the end; the rate changes linearly from "
            "--rate.");
  flags.Add("cv", &options.cv,
            "Of gamma gaps: their standard deviation by their mean. 1 is "
            "Poisson, more is burstier.");
  flags.Add("duration", &options.duration,
            "Seconds over which requests arrive, warm-up included. Absent: 60, "
            "or the whole stretch of --arrivals=trace.");
  flags.Add("warm_up", &options.warm_up,
            "Seconds at the beginning whose requests are not measured.");
  flags.Add("drain_timeout", &options.drain_timeout,
            "Seconds to wait for answers after the last arrival. Requests "
            "without any outcome then count as lost.");
  flags.Add("concurrency", &options.concurrency,
            "Closed loop instead of arrivals: keep this many requests going.");
}

void AddWorkloadFlags(LoadTestOptions& options, FlagSet& flags) {
  flags.Add("trace", &options.trace,
            "File of lengths and, with --arrivals=trace, of times: Azure CSV, "
            "Mooncake JSON lines or ShareGPT length CSV.");
  flags.Add("trace_format", &options.trace_format,
            "Format of --trace; auto looks at its first line.",
            {"auto", "azure", "mooncake", "sharegpt"});
  flags.Add("trace_start", &options.trace_start,
            "Seconds of the trace's own time at which the stretch to use "
            "begins.");
  flags.Add("trace_duration", &options.trace_duration,
            "Seconds of the trace's own time to use. Absent: up to its end.");
  flags.Add("time_scale", &options.time_scale,
            "Factor on the trace's times; 0.5 doubles its rate.");
  flags.Add("length_scale", &options.length_scale,
            "Factor on the trace's prompt and output lengths.");
  flags.Add("prompt_tokens", &options.prompt_tokens,
            "Tokens of a prompt without --trace: a number, or a range such as "
            "16-512 to draw from.");
  flags.Add("output_tokens", &options.output_tokens,
            "Tokens of an answer without --trace, likewise.");
  flags.Add("max_prompt_tokens", &options.max_prompt_tokens,
            "Longer prompts are cut to this; 0: only to the model's context.");
  flags.Add("max_output_tokens", &options.max_output_tokens,
            "Longer answers are cut to this; 0: only to the model's context.");
  flags.Add("classes", &options.classes,
            "JSON file of request classes: shares, floors, SLOs, priorities "
            "and cancel rates. Absent: one class without any.");
  flags.Add("slo_scale", &options.slo_scale,
            "Factor on the SLOs of all classes, for a machine that is so much "
            "slower than the one they were written for.");
  flags.Add("fixed_bits", &options.fixed_bits,
            "Ask for this precision in all classes, whose SLOs and floors are "
            "still judged by: the fixed:BITS policy.");
  flags.Add("seed", &options.seed,
            "The same seed plans the same requests. Absent: 1.");
}

void AddModeFlags(LoadTestOptions& options, FlagSet& flags) {
  flags.Add("rates", &options.rates,
            "One run at each of these multiples of --base_rate: 0.5,1,1.5.");
  flags.Add("base_rate", &options.base_rate,
            "Requests a second that --rates multiply, such as the measured "
            "capacity. Absent with --arrivals=trace: the trace's own rate.");
  flags.Add("find_rate", &options.find_rate,
            "Search the highest rate at which these shares of the requests "
            "meet their SLOs: 0.9,0.99.");
  flags.Add("min_rate", &options.min_rate,
            "Requests a second at which --find_rate begins.");
  flags.Add("max_rate", &options.max_rate,
            "Requests a second at which --find_rate ends.");
  flags.Add("rate_tolerance", &options.rate_tolerance,
            "Relative precision of --find_rate.");
}

void AddReportFlags(LoadTestOptions& options, FlagSet& flags) {
  flags.Add("label", &options.label, "Name of the run in reports.");
  flags.Add("json", &options.json,
            "File for metrics and timeline, which --compare reads.");
  flags.Add("csv", &options.csv, "File for a line on each request.");
  flags.Add("html", &options.html, "File for a page with tables and plots.");
  flags.Add("compare", &options.compare,
            "JSON report of earlier runs, to stand beside these in table and "
            "page; may be repeated, and needs no --target.");
  flags.Add("window", &options.window,
            "Seconds of a point in plots; 0: a fortieth of the run.");
  flags.Add("require", &options.require,
            "Exit with 1 unless these hold, in every run: "
            "'goodput>=0.95,ttft_ms.p99<500'. Names are those of the JSON's "
            "metrics; may be repeated.");
  flags.Add("connections", &options.connections,
            "Connections to open; more are added for every 512 requests going "
            "on.");
  flags.Add("connect_timeout", &options.connect_timeout,
            "Seconds that the server has to answer at first.");
}

}  // namespace

FlagSet LoadTestFlags(LoadTestOptions& options) {
  FlagSet flags;
  flags.Add("target", &options.target, "HOST:PORT of the server to test.");
  flags.Add("simulate", &options.simulate,
            "JSON table of step times: instead of a server, run the scheduler "
            "in virtual time on a machine that takes these.");
  flags.Add("policy", &options.policy,
            "With --simulate: how requests without a fixed precision get one: "
            "slo, fixed:BITS or load-ladder[:REQUESTS]. Absent: slo.");
  AddArrivalFlags(options, flags);
  AddWorkloadFlags(options, flags);
  AddModeFlags(options, flags);
  AddReportFlags(options, flags);
  flags.Add("help", &options.help, "Print this and exit.");
  return flags;
}

absl::StatusOr<LoadTestOptions> ParseLoadTestOptions(
    std::span<const std::string> arguments) {
  LoadTestOptions options;
  FlagSet flags = LoadTestFlags(options);
  ASSIGN_OR_RETURN(const std::vector<std::string> positional,
                   flags.Parse(arguments));
  if (options.help) return options;
  if (!positional.empty()) {
    return Wrong(absl::StrCat("unexpected argument \"", positional[0],
                              "\"; all options are flags (--name=value)"));
  }
  RETURN_IF_ERROR(Validate(options));
  return options;
}

}  // namespace anyprec::load
