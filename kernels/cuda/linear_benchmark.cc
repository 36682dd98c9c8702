// Speed of bit-plane layers on a GPU beside cuBLAS in fp16 and beside the
// device's copy bandwidth, all measured in turns (linear_measurement.h).
//
//   bazel run -c opt --config=cuda //kernels/cuda:linear_benchmark --
//       [--shapes=4096x4096,..] [--bits=3,..] [--rows=1,..] [--graph]
//       [--seconds=N] [--json=FILE]
//
// Columns: time of one product, the weights' bytes over it, that as a fraction
// of what a copy reads and writes in the same time, and how many times faster
// than cuBLAS. Exit codes: 0 all was measured, 1 an error, 2 wrong flags.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/driver_version.h"
#include "kernels/cuda/linear_measurement.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"

ABSL_FLAG(std::vector<std::string>, shapes,
          std::vector<std::string>({"4096x4096", "11008x4096", "4096x11008",
                                    "12288x4096", "22016x4096", "14336x4096",
                                    "28672x8192"}),
          "NxK of the layers");
ABSL_FLAG(std::vector<std::string>, bits,
          std::vector<std::string>({"3", "4", "5", "6", "7", "8"}),
          "precisions");
ABSL_FLAG(std::vector<std::string>, rows,
          std::vector<std::string>({"1", "2", "4", "8", "16", "32", "64", "256",
                                    "2048"}),
          "M: up to 64 decode rows, more are a prompt's");
ABSL_FLAG(bool, graph, false, "each sample in one CUDA graph");
ABSL_FLAG(bool, cublas, true, "compare with cuBLAS, where it is found");
ABSL_FLAG(int, repeats, 11, "samples, of which the median counts");
ABSL_FLAG(double, rotation_l2, 4, "copies of a layer, in L2 caches");
ABSL_FLAG(int64_t, copy_bytes, int64_t{256} << 20, "of a copy");
ABSL_FLAG(double, seconds, 0, "begin nothing after so long; 0: no limit");
ABSL_FLAG(std::string, json, "", "file for the results");

namespace anyprec {
namespace {

constexpr int kExitUsage = 2;

absl::StatusOr<std::vector<int>> ParseInts(
    absl::string_view name, const std::vector<std::string>& texts) {
  std::vector<int> numbers;
  for (const std::string& text : texts) {
    if (!absl::SimpleAtoi(text, &numbers.emplace_back())) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, ": \"", text, "\" is no number"));
    }
  }
  return numbers;
}

absl::StatusOr<LinearMeasurementOptions> OptionsFromFlags() {
  LinearMeasurementOptions options;
  for (const std::string& text : absl::GetFlag(FLAGS_shapes)) {
    ASSIGN_OR_RETURN(options.shapes.emplace_back(), ParseLinearShape(text));
  }
  ASSIGN_OR_RETURN(options.bits, ParseInts("bits", absl::GetFlag(FLAGS_bits)));
  ASSIGN_OR_RETURN(options.rows, ParseInts("rows", absl::GetFlag(FLAGS_rows)));
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
  if (absl::GetFlag(FLAGS_seconds) > 0) {
    options.stop = absl::Now() + absl::Seconds(absl::GetFlag(FLAGS_seconds));
  }
  return options;
}

nlohmann::json ToJson(const LinearTiming& timing) {
  nlohmann::json row = {
      {"n", timing.shape.n},
      {"k", timing.shape.k},
      {"bits", timing.bits},
      {"rows", timing.rows},
      {"us", timing.us},
      {"gb_per_s", timing.bytes_per_second() / 1e9},
      {"copy_gb_per_s", timing.copy_bytes_per_second / 1e9},
      {"of_copy", timing.of_copy()},
  };
  if (timing.cublas_us.has_value()) {
    row["cublas_us"] = *timing.cublas_us;
    row["speed_up"] = *timing.cublas_us / timing.us;
  }
  return row;
}

void Print(const LinearTiming& timing) {
  absl::PrintF("%12s %4d %5d %10.2f %8.1f %7.3f",
               absl::StrCat(timing.shape.n, "x", timing.shape.k), timing.bits,
               timing.rows, timing.us, timing.bytes_per_second() / 1e9,
               timing.of_copy());
  if (timing.cublas_us.has_value()) {
    absl::PrintF(" %10.2f %8.2f", *timing.cublas_us,
                 *timing.cublas_us / timing.us);
  }
  absl::PrintF("\n");
  std::fflush(stdout);
}

absl::Status Write(const nlohmann::json& report, const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  std::ofstream file(path);
  file << report.dump(1) << "\n";
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", path));
}

absl::Status Run(LinearMeasurementOptions options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<CudaStream> stream,
                   CudaStream::Create(/*device=*/0));
  cudaDeviceProp properties;
  RETURN_IF_ERROR(CudaStatus(cudaGetDeviceProperties(&properties, 0),
                             "asking for a device's properties"));
  options.rotation_bytes = static_cast<size_t>(
      properties.l2CacheSize * absl::GetFlag(FLAGS_rotation_l2));
  nlohmann::json report = {
      {"benchmark", "linear"},
      {"device", properties.name},
      {"l2_bytes", properties.l2CacheSize},
      {"driver", NvidiaDriverVersion()},
      {"cuda", CUDART_VERSION},
      {"date", absl::FormatTime("%Y-%m-%d", absl::Now(), absl::UTCTimeZone())},
      {"graph", options.graph},
      {"results", nlohmann::json::array()},
  };
  std::unique_ptr<Cublas> cublas;
  if (absl::GetFlag(FLAGS_cublas)) {
    absl::StatusOr<std::unique_ptr<Cublas>> opened =
        Cublas::Open(CublasPaths(), *stream);
    if (opened.ok()) {
      cublas = *std::move(opened);
      report["cublas"] = cublas->version();
    } else {
      absl::FPrintF(stderr, "linear_benchmark: nothing to compare with: %s\n",
                    opened.status().message());
    }
  }
  absl::PrintF("%s, %s\n%12s %4s %5s %10s %8s %7s %s\n", properties.name,
               options.graph ? "in CUDA graphs" : "plain launches", "n x k",
               "bits", "M", "us", "GB/s", "of copy",
               cublas != nullptr ? "cuBLAS, us  speed-up" : "");
  const absl::StatusOr<int> left_out = MeasureLinear(
      options, cublas.get(), *stream, [&](const LinearTiming& timing) {
        Print(timing);
        report["results"].push_back(ToJson(timing));
      });
  // What was measured before an error is worth keeping.
  report["left_out"] = left_out.value_or(0);
  RETURN_IF_ERROR(Write(report, absl::GetFlag(FLAGS_json)));
  RETURN_IF_ERROR(left_out.status());
  if (*left_out > 0) absl::PrintF("%d left out: no time\n", *left_out);
  return absl::OkStatus();
}

int Main() {
  const absl::StatusOr<LinearMeasurementOptions> options = OptionsFromFlags();
  const absl::Status status = options.ok() ? Run(*options) : options.status();
  if (status.ok()) return 0;
  absl::FPrintF(stderr, "linear_benchmark: %s\n", status.message());
  return absl::IsInvalidArgument(status) ? kExitUsage : 1;
}

}  // namespace
}  // namespace anyprec

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Measures bit-plane layers on a GPU beside cuBLAS and copies.");
  if (absl::ParseCommandLine(argc, argv).size() > 1) {
    absl::FPrintF(stderr, "linear_benchmark: takes flags only\n");
    return anyprec::kExitUsage;
  }
  return anyprec::Main();
}
