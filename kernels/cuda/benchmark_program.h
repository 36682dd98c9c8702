// The program around a benchmark of this folder: device 0, the flags that all
// of them take, and the JSON that a run leaves.
#ifndef ANYPREC_KERNELS_CUDA_BENCHMARK_PROGRAM_H_
#define ANYPREC_KERNELS_CUDA_BENCHMARK_PROGRAM_H_

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/measurement.h"
#include "nlohmann/json.hpp"

namespace anyprec {

// The numbers that --`flag` lists. INVALID_ARGUMENT quotes what is none.
absl::StatusOr<std::vector<int>> ParseInts(
    absl::string_view flag, const std::vector<std::string>& texts);

// Prints what it measures, appends it to report["results"] and returns for how
// much there was no time. INVALID_ARGUMENT: a flag is wrong.
using MeasureFunction = absl::FunctionRef<absl::StatusOr<int>(
    const MeasurementOptions& options, CudaStream& stream,
    nlohmann::json& report)>;

// Parses the command line and runs `measure`, whose report goes to --json.
// Returns the exit code: 0 all was measured, 1 an error, 2 wrong flags.
int RunBenchmark(const std::string& name, absl::string_view usage, int argc,
                 char** argv, MeasureFunction measure);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_BENCHMARK_PROGRAM_H_
