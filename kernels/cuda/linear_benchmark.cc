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
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/cuda/benchmark_program.h"
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/cuda_stream.h"
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
ABSL_FLAG(bool, cublas, true, "compare with cuBLAS, where it is found");

namespace anyprec {
namespace {

absl::StatusOr<LinearMeasurementOptions> OptionsFromFlags(
    const MeasurementOptions& measurement) {
  LinearMeasurementOptions options = {measurement};
  for (const std::string& text : absl::GetFlag(FLAGS_shapes)) {
    ASSIGN_OR_RETURN(options.shapes.emplace_back(), ParseLinearShape(text));
  }
  ASSIGN_OR_RETURN(options.bits, ParseInts("bits", absl::GetFlag(FLAGS_bits)));
  ASSIGN_OR_RETURN(options.rows, ParseInts("rows", absl::GetFlag(FLAGS_rows)));
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

// Null where it is not wanted or not found.
std::unique_ptr<Cublas> OpenCublas(CudaStream& stream) {
  if (!absl::GetFlag(FLAGS_cublas)) return nullptr;
  absl::StatusOr<std::unique_ptr<Cublas>> opened =
      Cublas::Open(CublasPaths(), stream);
  if (opened.ok()) return *std::move(opened);
  absl::FPrintF(stderr, "linear_benchmark: nothing to compare with: %s\n",
                opened.status().message());
  return nullptr;
}

absl::StatusOr<int> Measure(const MeasurementOptions& measurement,
                            CudaStream& stream, nlohmann::json& report) {
  ASSIGN_OR_RETURN(const LinearMeasurementOptions options,
                   OptionsFromFlags(measurement));
  const std::unique_ptr<Cublas> cublas = OpenCublas(stream);
  if (cublas != nullptr) report["cublas"] = cublas->version();
  absl::PrintF("%12s %4s %5s %10s %8s %7s %s\n", "n x k", "bits", "M", "us",
               "GB/s", "of copy",
               cublas != nullptr ? "cuBLAS, us  speed-up" : "");
  return MeasureLinear(options, cublas.get(), stream,
                       [&](const LinearTiming& timing) {
                         Print(timing);
                         report["results"].push_back(ToJson(timing));
                       });
}

}  // namespace
}  // namespace anyprec

int main(int argc, char** argv) {
  return anyprec::RunBenchmark(
      "linear", "Measures bit-plane layers on a GPU beside cuBLAS and copies.",
      argc, argv, anyprec::Measure);
}
