#include "kernels/cuda/recorded_work.h"

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace anyprec {

absl::StatusOr<std::unique_ptr<RecordedWork>> RecordedWork::Record(
    absl::string_view what, CudaStream& stream,
    absl::FunctionRef<absl::Status()> enqueue) {
  auto work = absl::WrapUnique(new RecordedWork);
  RETURN_IF_ERROR(stream.Check(
      cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal),
      absl::StrCat("beginning to record ", what)));
  const absl::Status enqueued = enqueue();
  // Ended in any case: a stream left recording could not go on. That it fails
  // after something else has is no more than that, and the stream is not lost.
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream.get(), &graph);
  absl::Status made = enqueued;
  if (made.ok()) {
    made = stream.Check(ended, absl::StrCat("recording ", what));
  }
  if (made.ok()) {
    made = stream.Check(
        cudaGraphInstantiate(&work->executable_, graph, /*flags=*/0),
        absl::StrCat("making a graph of ", what));
  }
  if (graph != nullptr) cudaGraphDestroy(graph);
  RETURN_IF_ERROR(made);
  return work;
}

RecordedWork::~RecordedWork() {
  // An error is no news to anyone any more.
  if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
}

absl::Status RecordedWork::Launch(CudaStream& stream) {
  return stream.Check(cudaGraphLaunch(executable_, stream.get()),
                      "launching a graph");
}

}  // namespace anyprec
