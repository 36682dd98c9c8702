// Speed of attention over the paged KV cache on a GPU, beside the device's copy
// bandwidth, measured in turns (attention_measurement.h).
//
//   bazel run -c opt --config=cuda //kernels/cuda:attention_benchmark --
//       [--shapes=32x8x128,..] [--contexts=128,..] [--batches=1,..]
//       [--chunks=128,..] [--graph] [--seconds=N] [--json=FILE]
//
// Columns: time of one layer, the bytes of keys and values over it, that as a
// fraction of what a copy reads and writes in the same time, and
// multiplications and additions. Decoding is bound by the former, prompts by
// the latter. Exit codes: 0 all was measured, 1 an error, 2 wrong flags.
#include <cstdio>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/cuda/attention_measurement.h"
#include "kernels/cuda/benchmark_program.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"

// Llama-2-7B; Mistral-7B and Llama-3.1-8B.
ABSL_FLAG(std::vector<std::string>, shapes,
          std::vector<std::string>({"32x32x128", "32x8x128"}),
          "heads x KV heads x values in a head");
ABSL_FLAG(std::vector<std::string>, contexts,
          std::vector<std::string>({"128", "512", "1024", "2048", "4096",
                                    "8192"}),
          "positions that the last row attends to");
ABSL_FLAG(std::vector<std::string>, batches,
          std::vector<std::string>({"1", "2", "4", "8", "16", "32", "64"}),
          "sequences that decode together");
ABSL_FLAG(std::vector<std::string>, chunks,
          std::vector<std::string>({"128", "512", "2048"}),
          "rows of one prompt, no more than its context");

namespace anyprec {
namespace {

absl::StatusOr<AttentionMeasurementOptions> OptionsFromFlags(
    const MeasurementOptions& measurement) {
  AttentionMeasurementOptions options = {measurement};
  for (const std::string& text : absl::GetFlag(FLAGS_shapes)) {
    ASSIGN_OR_RETURN(options.shapes.emplace_back(), ParseAttentionShape(text));
  }
  ASSIGN_OR_RETURN(options.contexts,
                   ParseInts("contexts", absl::GetFlag(FLAGS_contexts)));
  ASSIGN_OR_RETURN(options.batches,
                   ParseInts("batches", absl::GetFlag(FLAGS_batches)));
  ASSIGN_OR_RETURN(options.chunks,
                   ParseInts("chunks", absl::GetFlag(FLAGS_chunks)));
  return options;
}

nlohmann::json ToJson(const AttentionTiming& timing) {
  return {
      {"heads", timing.shape.heads},
      {"kv_heads", timing.shape.kv_heads},
      {"head_dim", timing.shape.head_dim},
      {"context", timing.context},
      {"sequences", timing.sequences},
      {"rows", timing.rows},
      {"us", timing.us},
      {"gb_per_s", timing.bytes_per_second() / 1e9},
      {"copy_gb_per_s", timing.copy_bytes_per_second / 1e9},
      {"of_copy", timing.of_copy()},
      {"tflop_per_s", timing.operations_per_second() / 1e12},
  };
}

void Print(const AttentionTiming& timing) {
  const AttentionShape& shape = timing.shape;
  absl::PrintF(
      "%12s %5d %5d %8d %10.2f %8.1f %7.3f %8.2f\n",
      absl::StrCat(shape.heads, "x", shape.kv_heads, "x", shape.head_dim),
      timing.sequences, timing.rows, timing.context, timing.us,
      timing.bytes_per_second() / 1e9, timing.of_copy(),
      timing.operations_per_second() / 1e12);
  std::fflush(stdout);
}

absl::StatusOr<int> Measure(const MeasurementOptions& measurement,
                            CudaStream& stream, nlohmann::json& report) {
  ASSIGN_OR_RETURN(const AttentionMeasurementOptions options,
                   OptionsFromFlags(measurement));
  absl::PrintF("%12s %5s %5s %8s %10s %8s %7s %8s\n", "heads", "batch", "rows",
               "context", "us", "GB/s", "of copy", "TFLOP/s");
  return MeasureAttention(options, stream, [&](const AttentionTiming& timing) {
    Print(timing);
    report["results"].push_back(ToJson(timing));
  });
}

}  // namespace
}  // namespace anyprec

int main(int argc, char** argv) {
  return anyprec::RunBenchmark(
      "attention",
      "Measures attention over the paged KV cache on a GPU beside copies.",
      argc, argv, anyprec::Measure);
}
