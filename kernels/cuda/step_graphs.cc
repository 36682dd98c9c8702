#include "kernels/cuda/step_graphs.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/bit_plane_decode.cuh"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

size_t ScratchBytes(const AttentionShape& shape, size_t slots) {
  return slots * AttentionSlotFloats(shape.heads, shape.head_dim) *
         sizeof(float);
}

}  // namespace

bool StepGraphs::Takes(const StepRows& step, size_t max_scratch_bytes) {
  const auto is_decode = [](const RowGroup& group) {
    return group.phase == Phase::kDecode;
  };
  if (step.tokens.empty() || step.tokens.size() > kMaxTableRows ||
      !std::ranges::all_of(step.groups, is_decode)) {
    return false;
  }
  size_t slots = 0;
  for (const SequenceRows& sequence : step.sequences) {
    slots += size_t{1} * sequence.rows *
             AttentionSplits(sequence.position + sequence.rows);
  }
  return ScratchBytes(step.shape, slots) <= max_scratch_bytes;
}

absl::Status StepGraphs::Run(const StepRows& step, const KvLayout& layout,
                             absl::FunctionRef<absl::Status()> operations,
                             ScratchMemory& scratch, CudaStream& stream) {
  const int max_rows = static_cast<int>(
      std::bit_ceil(static_cast<unsigned>(step.tokens.size())));
  const int max_precision =
      std::ranges::max(step.groups, {}, &RowGroup::precision).precision;
  RETURN_IF_ERROR(table_.Update(step, max_rows, max_precision, layout, stream));
  ASSIGN_OR_RETURN(
      void* const memory,
      scratch.Reserve(ScratchBytes(step.shape, table_.slots()), stream));
  attention_scratch_ = static_cast<float*>(memory);

  Graph& graph = graphs_[{max_rows, MaxSlicePrecision(max_precision)}];
  if (!graph.without_memory) {
    absl::Status launched = Launch(step, graph, operations, stream);
    if (!absl::IsResourceExhausted(launched)) return launched;
    RETURN_IF_ERROR(stream.Synchronize());  // a launch of it may be running
    graph = {.without_memory = true};
  }
  steps_without_memory_.fetch_add(1, std::memory_order_relaxed);
  return operations();
}

absl::Status StepGraphs::Launch(const StepRows& step, Graph& graph,
                                absl::FunctionRef<absl::Status()> operations,
                                CudaStream& stream) {
  if (graph.work != nullptr) {
    next_operation_ = 0;
    as_recorded_ =
        graph.table == table().memory && graph.scratch == attention_scratch_;
    RETURN_IF_ERROR(Call(step, graph, operations));
    if (as_recorded_ && next_operation_ == graph.operations.size()) {
      return graph.work->Launch(stream);
    }
    RETURN_IF_ERROR(stream.Synchronize());  // it may be running
  }
  RETURN_IF_ERROR(Record(step, graph, operations, stream));
  return graph.work->Launch(stream);
}

absl::Status StepGraphs::Record(const StepRows& step, Graph& graph,
                                absl::FunctionRef<absl::Status()> operations,
                                CudaStream& stream) {
  graph = {.table = table().memory, .scratch = attention_scratch_};
  ASSIGN_OR_RETURN(
      graph.work,
      RecordedWork::Record(
          absl::StrCat("a step of up to ", table().slices.max_rows,
                       " decode rows at up to ",
                       MaxSlicePrecision(table().slices.max_precision),
                       " bits"),
          stream, [&] { return Call(step, graph, operations); }));
  return absl::OkStatus();
}

absl::Status StepGraphs::Call(const StepRows& step, Graph& graph,
                              absl::FunctionRef<absl::Status()> operations) {
  ANYPREC_CHECK(step_ == nullptr) << "a step within a step";
  step_ = &step;
  graph_ = &graph;
  absl::Status status = operations();
  step_ = nullptr;
  graph_ = nullptr;
  return status;
}

bool StepGraphs::Wants(const StepOperation& operation) {
  std::vector<StepOperation>& recorded = graph_->operations;
  if (graph_->work == nullptr) {
    recorded.push_back(operation);
    return true;
  }
  as_recorded_ = as_recorded_ && next_operation_ < recorded.size() &&
                 recorded[next_operation_] == operation;
  ++next_operation_;
  return false;
}

}  // namespace anyprec
