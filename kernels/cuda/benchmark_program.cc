#include "kernels/cuda/benchmark_program.h"

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/driver_version.h"
#include "kernels/status_macros.h"

ABSL_FLAG(bool, graph, false, "each sample in one CUDA graph");
ABSL_FLAG(int, repeats, 11, "samples, of which the median counts");
ABSL_FLAG(double, rotation_l2, 4, "copies of what is read, in L2 caches");
ABSL_FLAG(int64_t, copy_bytes, int64_t{256} << 20, "of a copy");
ABSL_FLAG(double, seconds, 0, "begin nothing after so long; 0: no limit");
ABSL_FLAG(std::string, json, "", "file for the results");

namespace anyprec {
namespace {

constexpr int kExitUsage = 2;

absl::StatusOr<MeasurementOptions> OptionsFromFlags(
    const cudaDeviceProp& device) {
  MeasurementOptions options;
  options.graph = absl::GetFlag(FLAGS_graph);
  options.repeats = absl::GetFlag(FLAGS_repeats);
  if (absl::GetFlag(FLAGS_copy_bytes) < 1 ||
      absl::GetFlag(FLAGS_rotation_l2) < 0 ||
      absl::GetFlag(FLAGS_seconds) < 0) {
    return absl::InvalidArgumentError(
        "--copy_bytes must be positive, --rotation_l2 and --seconds not "
        "negative");
  }
  options.copy_bytes = absl::GetFlag(FLAGS_copy_bytes);
  options.rotation_bytes = static_cast<size_t>(
      device.l2CacheSize * absl::GetFlag(FLAGS_rotation_l2));
  if (absl::GetFlag(FLAGS_seconds) > 0) {
    options.stop = absl::Now() + absl::Seconds(absl::GetFlag(FLAGS_seconds));
  }
  return options;
}

absl::Status Write(const nlohmann::json& report, const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  std::ofstream file(path);
  file << report.dump(1) << "\n";
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", path));
}

absl::Status Run(const std::string& name, MeasureFunction measure) {
  ASSIGN_OR_RETURN(const std::unique_ptr<CudaStream> stream,
                   CudaStream::Create(/*device=*/0));
  cudaDeviceProp device;
  RETURN_IF_ERROR(CudaStatus(cudaGetDeviceProperties(&device, 0),
                             "asking for a device's properties"));
  ASSIGN_OR_RETURN(const MeasurementOptions options, OptionsFromFlags(device));
  nlohmann::json report = {
      {"benchmark", name},
      {"device", device.name},
      {"l2_bytes", device.l2CacheSize},
      {"driver", NvidiaDriverVersion()},
      {"cuda", CUDART_VERSION},
      {"date", absl::FormatTime("%Y-%m-%d", absl::Now(), absl::UTCTimeZone())},
      {"graph", options.graph},
      {"results", nlohmann::json::array()},
  };
  absl::PrintF("%s, %s\n", device.name,
               options.graph ? "in CUDA graphs" : "plain launches");
  const absl::StatusOr<int> left_out = measure(options, *stream, report);
  // What was measured before an error is worth keeping.
  report["left_out"] = left_out.value_or(0);
  RETURN_IF_ERROR(Write(report, absl::GetFlag(FLAGS_json)));
  RETURN_IF_ERROR(left_out.status());
  if (*left_out > 0) absl::PrintF("%d left out: no time\n", *left_out);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<int>> ParseInts(
    absl::string_view flag, const std::vector<std::string>& texts) {
  std::vector<int> numbers;
  for (const std::string& text : texts) {
    if (!absl::SimpleAtoi(text, &numbers.emplace_back())) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", flag, ": \"", text, "\" is no number"));
    }
  }
  return numbers;
}

int RunBenchmark(const std::string& name, absl::string_view usage, int argc,
                 char** argv, MeasureFunction measure) {
  absl::SetProgramUsageMessage(usage);
  if (absl::ParseCommandLine(argc, argv).size() > 1) {
    absl::FPrintF(stderr, "%s_benchmark: takes flags only\n", name);
    return kExitUsage;
  }
  const absl::Status status = Run(name, measure);
  if (status.ok()) return 0;
  absl::FPrintF(stderr, "%s_benchmark: %s\n", name, status.message());
  return absl::IsInvalidArgument(status) ? kExitUsage : 1;
}

}  // namespace anyprec
