#include "tests/load/load_session.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "tests/load/arrivals.h"
#include "tests/load/metrics.h"
#include "tests/load/progress_line.h"
#include "tests/load/rate_search.h"
#include "tests/load/record_csv.h"
#include "tests/load/timeline.h"
#include "tests/load/trace_scaling.h"
#include "tests/load/workload.h"

namespace anyprec::load {
namespace {

constexpr double kDefaultDuration = 60;

std::string RateText(double rate, std::optional<double> ramp_to = {}) {
  const std::string end =
      ramp_to.has_value() ? absl::StrFormat(" to %.4g", *ramp_to) : "";
  return absl::StrFormat("%.4g%s requests/s", rate, end);
}

ArrivalProcess ProcessOf(const std::string& name) {
  if (name == "constant") return ArrivalProcess::kConstant;
  return name == "gamma" ? ArrivalProcess::kGamma : ArrivalProcess::kPoisson;
}

}  // namespace

absl::StatusOr<SessionInputs> ReadInputs(const LoadTestOptions& options) {
  SessionInputs inputs;
  inputs.classes = {RequestClass()};
  if (!options.classes.empty()) {
    ASSIGN_OR_RETURN(inputs.classes, ReadRequestClasses(options.classes));
  }
  RETURN_IF_ERROR(ScaleSlos(options.slo_scale, inputs.classes));
  if (options.fixed_bits.has_value()) {
    FixPrecision(*options.fixed_bits, inputs.classes);
  }
  if (options.trace.empty()) return inputs;
  ASSIGN_OR_RETURN(std::vector<TraceEntry> entries,
                   ReadTrace(options.trace, options.trace_format));
  if (options.replays_times() && !entries[0].at.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.trace, ": has lengths only; --arrivals=trace needs times"));
  }
  TraceScaling scaling;
  scaling.start = absl::Seconds(options.trace_start);
  if (options.trace_duration.has_value()) {
    scaling.duration = absl::Seconds(*options.trace_duration);
  }
  scaling.time_scale = options.time_scale;
  scaling.length_scale = options.length_scale;
  ASSIGN_OR_RETURN(inputs.trace, ScaleTrace(std::move(entries), scaling));
  return inputs;
}

LoadSession::LoadSession(const LoadTestOptions& options, SessionInputs inputs,
                         LoadDriver& driver)
    : options_(options), inputs_(std::move(inputs)), driver_(driver) {}

absl::StatusOr<SessionResult> LoadSession::Run() {
  result_ = SessionResult();
  result_.csv = CsvHeader();
  if (options_.concurrency > 0) {
    RETURN_IF_ERROR(RunConcurrency());
  } else if (!options_.rate_factors.empty()) {
    RETURN_IF_ERROR(RunSweep());
  } else if (!options_.goodput_shares.empty()) {
    RETURN_IF_ERROR(RunSearch());
  } else {
    const std::string more = options_.rate.has_value()
                                 ? RateText(*options_.rate, options_.ramp_to)
                                 : "trace";
    RETURN_IF_ERROR(
        RunRate(options_.rate, options_.label.empty() ? more : options_.label));
  }
  return std::move(result_);
}

RequestPlanner LoadSession::NewPlanner() const {
  LengthSource lengths;
  lengths.entries = inputs_.trace;
  lengths.prompt_tokens = options_.prompt_range;
  lengths.output_tokens = options_.output_range;
  lengths.caps = {.prompt_tokens = options_.max_prompt_tokens,
                  .output_tokens = options_.max_output_tokens,
                  .context_tokens = driver_.model().max_context_tokens};
  return RequestPlanner(inputs_.classes, std::move(lengths),
                        options_.seed.value_or(1));
}

absl::StatusOr<LoadSession::Plan> LoadSession::PlanTrace(
    std::optional<double> rate, RequestPlanner& planner) const {
  const double own_rate = MeanRate(inputs_.trace);
  TraceScaling scaling;
  if (rate.has_value()) {
    if (own_rate == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(options_.trace,
                       ": the stretch has no two requests at different times; "
                       "needs them to be scaled to a rate"));
    }
    scaling.time_scale = own_rate / *rate;
  }
  ASSIGN_OR_RETURN(const std::vector<TraceEntry> entries,
                   ScaleTrace(inputs_.trace, scaling));
  const double mean_rate = rate.value_or(own_rate);
  // The last request has its share of time, too.
  absl::Duration end =
      *entries.back().at + absl::Seconds(mean_rate > 0 ? 1 / mean_rate : 1);
  if (options_.duration.has_value()) {
    end = std::min(end, absl::Seconds(*options_.duration));
  }
  return Plan{PlanReplay(entries, end, planner), end};
}

absl::StatusOr<LoadSession::Plan> LoadSession::PlanArrivalProcess(
    double rate, RequestPlanner& planner) const {
  ArrivalOptions arrivals;
  arrivals.process = ProcessOf(options_.arrivals);
  arrivals.rate_per_s = rate;
  arrivals.end_rate_per_s = options_.ramp_to;
  arrivals.cv = options_.cv;
  arrivals.duration =
      absl::Seconds(options_.duration.value_or(kDefaultDuration));
  arrivals.seed = options_.seed.value_or(1);
  ASSIGN_OR_RETURN(const std::vector<absl::Duration> times,
                   PlanArrivals(arrivals));
  return Plan{PlanWorkload(times, planner), arrivals.duration};
}

absl::Status LoadSession::CheckWarmUp(absl::Duration end) const {
  if (absl::Seconds(options_.warm_up) < end) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--warm_up is ", options_.warm_up, "; must be below the ",
                   absl::FormatDuration(end), " over which requests arrive"));
}

absl::Status LoadSession::RunConcurrency() {
  RequestPlanner planner = NewPlanner();
  const absl::Duration end =
      absl::Seconds(options_.duration.value_or(kDefaultDuration));
  RETURN_IF_ERROR(CheckWarmUp(end));
  const std::string label =
      Label(absl::StrCat(options_.concurrency, " at once"));
  std::vector<RequestRecord> records;
  {
    ProgressLine line(label, [this] { return driver_.progress(); });
    records = driver_.KeepBusy(options_.concurrency, end, planner);
  }
  nlohmann::json settings = Settings();
  settings["concurrency"] = options_.concurrency;
  settings["capped_requests"] = planner.capped();
  Report(label, settings, records, end);
  return absl::OkStatus();
}

absl::Status LoadSession::RunRate(std::optional<double> rate,
                                  const std::string& label) {
  RequestPlanner planner = NewPlanner();
  ASSIGN_OR_RETURN(const Plan plan, options_.replays_times()
                                        ? PlanTrace(rate, planner)
                                        : PlanArrivalProcess(*rate, planner));
  RETURN_IF_ERROR(CheckWarmUp(plan.end));
  std::vector<RequestRecord> records;
  {
    ProgressLine line(label, [this] { return driver_.progress(); });
    records = driver_.Replay(plan.requests);
  }
  nlohmann::json settings = Settings();
  settings["arrivals"] = options_.arrivals;
  if (options_.arrivals == "gamma") settings["cv"] = options_.cv;
  if (rate.has_value()) settings["rate"] = *rate;
  if (options_.ramp_to.has_value()) settings["ramp_to"] = *options_.ramp_to;
  settings["capped_requests"] = planner.capped();
  Report(label, settings, records, plan.end);
  return absl::OkStatus();
}

absl::Status LoadSession::RunSweep() {
  const double base = options_.base_rate.value_or(
      options_.replays_times() ? MeanRate(inputs_.trace) : 0);
  if (!(base > 0)) {
    return absl::InvalidArgumentError(
        "--base_rate is missing, and the trace's stretch has no rate of its "
        "own");
  }
  for (const double factor : options_.rate_factors) {
    RETURN_IF_ERROR(
        RunRate(factor * base, Label(absl::StrFormat("%gx", factor))));
  }
  return absl::OkStatus();
}

absl::Status LoadSession::RunSearch() {
  const auto measure = [this](double rate) -> absl::StatusOr<double> {
    RETURN_IF_ERROR(RunRate(rate, Label(RateText(rate))));
    ASSIGN_OR_RETURN(const std::optional<double> goodput,
                     FindMetric(result_.runs.back().metrics, "goodput"));
    if (!goodput.has_value()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "at ", RateText(rate),
          " no measured request could be judged; the search needs a longer "
          "--duration or a higher --min_rate"));
    }
    std::fprintf(stderr, "%s: goodput %.1f %%\n", RateText(rate).c_str(),
                 *goodput * 100);
    return *goodput;
  };
  ASSIGN_OR_RETURN(const std::vector<HighestRate> rates,
                   FindHighestRates(options_.goodput_shares,
                                    {.min_rate_rps = options_.min_rate,
                                     .max_rate_rps = options_.max_rate,
                                     .tolerance = options_.rate_tolerance},
                                    measure));
  result_.highest_rates = nlohmann::json::array();
  for (const HighestRate& rate : rates) {
    result_.highest_rates.push_back(
        {{"goodput", rate.goodput},
         {"rate_rps", rate.rate_rps.has_value() ? nlohmann::json(*rate.rate_rps)
                                                : nlohmann::json()},
         {"at_max_rate", rate.at_max}});
  }
  return absl::OkStatus();
}

nlohmann::json LoadSession::Settings() const {
  const TargetModel& model = driver_.model();
  nlohmann::json settings = {
      {"target", options_.target},         {"model", model.name},
      {"backend", model.backend},          {"server_version", model.version},
      {"seed", options_.seed.value_or(1)}, {"warm_up", options_.warm_up}};
  if (!options_.classes.empty()) settings["classes"] = options_.classes;
  settings["slo_scale"] = options_.slo_scale;
  if (options_.fixed_bits.has_value()) {
    settings["fixed_bits"] = *options_.fixed_bits;
  }
  if (options_.trace.empty()) {
    settings["prompt_tokens"] = options_.prompt_tokens;
    settings["output_tokens"] = options_.output_tokens;
    return settings;
  }
  settings["trace"] = options_.trace;
  settings["trace_start"] = options_.trace_start;
  if (options_.trace_duration.has_value()) {
    settings["trace_duration"] = *options_.trace_duration;
  }
  settings["time_scale"] = options_.time_scale;
  settings["length_scale"] = options_.length_scale;
  return settings;
}

std::string LoadSession::Label(const std::string& more) const {
  return options_.label.empty() ? more
                                : absl::StrCat(options_.label, " ", more);
}

void LoadSession::Report(const std::string& label,
                         const nlohmann::json& settings,
                         const std::vector<RequestRecord>& records,
                         absl::Duration end) {
  const MeasuredTime measured = {.warm_up = absl::Seconds(options_.warm_up),
                                 .end = end};
  RunReport report;
  report.label = label;
  report.settings = settings;
  report.settings["duration"] = absl::ToDoubleSeconds(end);
  report.metrics = MetricsToJson(Summarize(records, inputs_.classes, measured),
                                 inputs_.classes);
  report.timeline =
      MakeTimeline(records, measured, absl::Seconds(options_.window));
  result_.runs.push_back(std::move(report));
  if (!options_.csv.empty()) {
    result_.csv += RecordsToCsv(label, records, inputs_.classes, measured);
  }
}

}  // namespace anyprec::load
