// anyprec-loadtest: sends a server traffic as it really comes, and says what
// became of it. README.md tells what the metrics mean.
//
// Exit codes: 0 for success, 1 where a requirement does not hold or the test
// could not be run, 2 for wrong usage, a file that cannot be used included.

#include <grpc/support/log.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/scheduler/precision_policy.h"
#include "runtime/scheduler/step_cost_table.h"
#include "tests/load/load_client.h"
#include "tests/load/load_session.h"
#include "tests/load/metrics.h"
#include "tests/load/options.h"
#include "tests/load/report_html.h"
#include "tests/load/requirements.h"
#include "tests/load/run_report.h"
#include "tests/load/simulated_server.h"
#include "tests/load/summary_table.h"

namespace anyprec::load {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

constexpr char kUsage[] =
    "Usage: anyprec-loadtest --target=HOST:PORT | --simulate=FILE [FLAGS]\n\n"
    "Sends a server an open-loop stream of requests, or a fixed number at\n"
    "once, and reports throughput, latencies, precision and goodput.\n\n"
    "  anyprec-loadtest --target=127.0.0.1:50051 --rate=4 --duration=60 \\\n"
    "      --classes=classes.json --require='goodput>=0.95'\n"
    "  anyprec-loadtest --target=127.0.0.1:50051 --base_rate=8 \\\n"
    "      --rates=0.5,1,1.5 --html=sweep.html\n"
    "  anyprec-loadtest --compare=slo.json --compare=fixed4.json \\\n"
    "      --html=policies.html\n\n"
    "Exits with 0; 1 if a --require does not hold or the test cannot be run;\n"
    "2 for wrong usage, or a file that cannot be used.\n\nFlags:\n";

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "anyprec-loadtest: %s\n",
               std::string(status.message()).c_str());
  return exit_code;
}

int FailUsage(const absl::Status& status) {
  const int exit_code = Fail(status, kExitUsage);
  std::fprintf(stderr, "Try --help.\n");
  return exit_code;
}

absl::Status WriteFile(const std::string& path, const std::string& content,
                       const char* mode) {
  if (path.empty()) return absl::OkStatus();
  std::FILE* file = std::fopen(path.c_str(), mode);
  bool written =
      file != nullptr &&
      std::fwrite(content.data(), 1, content.size(), file) == content.size();
  if (file != nullptr) written = std::fclose(file) == 0 && written;
  if (written) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(path, ": cannot be written"));
}

// Before a long run, not after it.
absl::Status CheckWritable(const LoadTestOptions& options) {
  for (const std::string& path : {options.json, options.csv, options.html}) {
    RETURN_IF_ERROR(WriteFile(path, "", "ab"));
  }
  return absl::OkStatus();
}

// What files say that the options name.
struct Files {
  std::vector<RunReport> compared;
  SessionInputs inputs;
  SimulationOptions simulation;  // with --simulate
};

absl::StatusOr<Files> ReadFiles(const LoadTestOptions& options) {
  Files files;
  for (const std::string& path : options.compare) {
    ASSIGN_OR_RETURN(std::vector<RunReport> more, ReadReports(path));
    for (RunReport& run : more) files.compared.push_back(std::move(run));
  }
  ASSIGN_OR_RETURN(files.inputs, ReadInputs(options));
  if (options.simulate.empty()) return files;
  ASSIGN_OR_RETURN(files.simulation.table, ReadStepCostTable(options.simulate));
  if (options.policy.has_value()) {
    ASSIGN_OR_RETURN(files.simulation.policy,
                     ParsePrecisionPolicy(*options.policy));
  }
  return files;
}

// What can be known of the requirements before the test.
absl::Status CheckRequirements(const LoadTestOptions& options,
                               const SessionInputs& inputs) {
  return CheckNames(
      options.requirements,
      MetricsToJson(Summarize({}, inputs.classes,
                              {.warm_up = {}, .end = absl::Seconds(1)}),
                    inputs.classes));
}

absl::StatusOr<std::unique_ptr<LoadDriver>> NewDriver(
    const LoadTestOptions& options, const Files& files) {
  if (!options.simulate.empty()) {
    return NewSimulatedServer(files.simulation, files.inputs.classes);
  }
  const LoadClientOptions client = {
      .target = options.target,
      .connections = options.connections,
      .connect_timeout = absl::Seconds(options.connect_timeout),
      .drain_timeout = absl::Seconds(options.drain_timeout)};
  return NewLoadClient(client, files.inputs.classes);
}

absl::StatusOr<SessionResult> RunTest(const LoadTestOptions& options,
                                      Files files) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LoadDriver> driver,
                   NewDriver(options, files));
  RETURN_IF_ERROR(CheckPrecisions(files.inputs.classes, driver->model()));
  return LoadSession(options, std::move(files.inputs), *driver).Run();
}

void PrintHighestRates(const nlohmann::json& rates) {
  for (const nlohmann::json& rate : rates) {
    const double percent = rate["goodput"].get<double>() * 100;
    if (rate["rate_rps"].is_null()) {
      std::printf("goodput >= %g %%: not even at the lowest rate\n", percent);
    } else {
      std::printf("goodput >= %g %%: up to %.4g requests/s%s\n", percent,
                  rate["rate_rps"].get<double>(),
                  rate["at_max_rate"].get<bool>() ? ", the highest tried" : "");
    }
  }
}

// Says which requirements do not hold; returns the exit code.
int Judge(const LoadTestOptions& options, const std::vector<RunReport>& runs) {
  int exit_code = kExitOk;
  for (const RunReport& run : runs) {
    const absl::StatusOr<std::vector<std::string>> failed =
        FailedRequirements(options.requirements, run.metrics);
    if (!failed.ok()) return FailUsage(failed.status());
    for (const std::string& line : *failed) {
      std::fprintf(stderr, "FAILED %s (%s)\n", line.c_str(), run.label.c_str());
      exit_code = kExitFailure;
    }
  }
  return exit_code;
}

absl::Status Write(const LoadTestOptions& options, const SessionResult& result,
                   const std::vector<RunReport>& shown) {
  RETURN_IF_ERROR(WriteFile(
      options.json,
      ReportsToJson(result.runs, result.highest_rates)
              .dump(/*indent=*/1, /*indent_char=*/' ', /*ensure_ascii=*/false,
                    nlohmann::json::error_handler_t::replace) +
          "\n",
      "wb"));
  RETURN_IF_ERROR(WriteFile(options.csv, result.csv, "wb"));
  return WriteFile(options.html, ReportHtml("anyprec-loadtest", shown), "wb");
}

int Main(const std::vector<std::string>& arguments) {
  // Calls that fail are reported by us.
  gpr_set_log_function([](gpr_log_func_args*) {});
  const absl::StatusOr<LoadTestOptions> options =
      ParseLoadTestOptions(arguments);
  if (!options.ok()) return FailUsage(options.status());
  if (options->help) {
    LoadTestOptions defaults;
    std::printf("%s%s", kUsage, LoadTestFlags(defaults).Help().c_str());
    return kExitOk;
  }
  absl::StatusOr<Files> files = ReadFiles(*options);
  if (!files.ok()) return Fail(files.status(), kExitUsage);
  if (const absl::Status status = CheckRequirements(*options, files->inputs);
      options->runs() && !status.ok()) {
    return FailUsage(status);
  }
  if (const absl::Status status = CheckWritable(*options); !status.ok()) {
    return Fail(status, kExitUsage);
  }
  std::vector<RunReport> shown = std::move(files->compared);
  SessionResult result;
  if (options->runs()) {
    absl::StatusOr<SessionResult> run = RunTest(*options, *std::move(files));
    if (!run.ok()) {
      return Fail(run.status(), absl::IsInvalidArgument(run.status())
                                    ? kExitUsage
                                    : kExitFailure);
    }
    result = *std::move(run);
    shown.insert(shown.end(), result.runs.begin(), result.runs.end());
  }
  std::fputs(SummaryText(shown).c_str(), stdout);
  PrintHighestRates(result.highest_rates);
  if (const absl::Status status = Write(*options, result, shown);
      !status.ok()) {
    return Fail(status, kExitFailure);
  }
  return Judge(*options, options->runs() ? result.runs : shown);
}

}  // namespace
}  // namespace anyprec::load

int main(int argc, char** argv) {
  return anyprec::load::Main(std::vector<std::string>(argv + 1, argv + argc));
}
