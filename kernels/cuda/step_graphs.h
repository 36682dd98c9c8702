// StepGraphs: decode steps as CUDA graphs.
//
// There is one graph for each number of rows, rounded up to a power of two, and
// each MaxSlicePrecision(); it is recorded when its first step comes. Its
// kernels find rows, precisions and block tables in a StepTable, so that it
// serves every step of as many rows: what a step costs the host is one copy and
// one launch, and the calls of its operations, which only compare.
//
// Invariants:
//   1. A graph is launched only where the step's operations are those that it
//      was recorded from, the memory that they work on included. What has moved
//      since is so found out, and the graph recorded anew.
//   2. Nothing is allocated, copied or waited for while one is recorded.
//
// The driver takes memory for a graph, how much is its own affair. Where there
// is none left, steps of as many rows at those bits are launched operation by
// operation from then on, in memory that was reserved: what others hold is held
// for good.
//
// Thread-compatible.
#ifndef ANYPREC_KERNELS_CUDA_STEP_GRAPHS_H_
#define ANYPREC_KERNELS_CUDA_STEP_GRAPHS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/recorded_work.h"
#include "kernels/cuda/scratch_memory.h"
#include "kernels/cuda/step_table.h"

namespace anyprec {

// An operation of a step with all that its launches depend on, but for what is
// in the StepTable.
struct StepOperation {
  enum class Kind { kEmbed, kLinear, kRmsNorm, kRope, kAttention, kSiluMul };
  Kind kind;
  // Layers and caches by their ids; unused ones are 0.
  std::array<uint64_t, 2> objects = {};
  std::array<const void*, 3> memory = {};
  std::array<int64_t, 2> numbers = {};

  bool operator==(const StepOperation&) const = default;
};

class StepGraphs {
 public:
  // Whether `step` is one for a graph: of decode rows, few enough, whose
  // attention needs no more scratch than `max_scratch_bytes`.
  static bool Takes(const StepRows& step, size_t max_scratch_bytes);

  // Takes the memory of the tables of all steps of up to `sequences` sequences,
  // each of up to `blocks` blocks.
  absl::Status Reserve(int sequences, int blocks, CudaStream& stream) {
    return table_.Reserve(sequences, blocks, stream);
  }

  // Runs a step that Takes(), as Backend::RunStep() does. `scratch` is for
  // attention.
  // REQUIRES: step.kv is laid out as `layout`.
  absl::Status Run(const StepRows& step, const KvLayout& layout,
                   absl::FunctionRef<absl::Status()> operations,
                   ScratchMemory& scratch, CudaStream& stream);

  // Of the step that is running, or null.
  const StepRows* step() const { return step_; }

  // Whether the launches of `operation`, the next of the step that is running,
  // are wanted, for all rows of table(). A graph has them otherwise.
  bool Wants(const StepOperation& operation);

  // Steps that ran without a graph for want of memory. Thread-safe.
  int64_t steps_without_memory() const {
    return steps_without_memory_.load(std::memory_order_relaxed);
  }

  const StepTableView& table() const { return table_.view(); }
  float* attention_scratch() const { return attention_scratch_; }

 private:
  struct Graph {
    const void* table = nullptr;
    const void* scratch = nullptr;
    std::vector<StepOperation> operations;
    std::unique_ptr<RecordedWork> work;  // null until it was recorded
    bool without_memory = false;         // there was none for it
  };

  // Launches the graph of a step, recorded anew where it must be.
  absl::Status Launch(const StepRows& step, Graph& graph,
                      absl::FunctionRef<absl::Status()> operations,
                      CudaStream& stream);
  absl::Status Record(const StepRows& step, Graph& graph,
                      absl::FunctionRef<absl::Status()> operations,
                      CudaStream& stream);

  // Calls `operations` as those of `step`.
  absl::Status Call(const StepRows& step, Graph& graph,
                    absl::FunctionRef<absl::Status()> operations);

  StepTable table_;
  float* attention_scratch_ = nullptr;
  std::atomic<int64_t> steps_without_memory_ = 0;
  // By the most rows, of which there are 7, and the highest precision that its
  // launches can do, of which there are 3.
  absl::flat_hash_map<std::pair<int, int>, Graph> graphs_;

  // While operations are called.
  const StepRows* step_ = nullptr;
  Graph* graph_ = nullptr;
  size_t next_operation_ = 0;
  bool as_recorded_ = false;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_STEP_GRAPHS_H_
