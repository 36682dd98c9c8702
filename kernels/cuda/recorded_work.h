// RecordedWork: what a stream was given, as a CUDA graph that can be launched
// again.
//
// Thread-compatible.
#ifndef ANYPREC_KERNELS_CUDA_RECORDED_WORK_H_
#define ANYPREC_KERNELS_CUDA_RECORDED_WORK_H_

#include <cuda_runtime_api.h>

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/cuda/cuda_stream.h"

namespace anyprec {

class RecordedWork {
 public:
  // Records what `enqueue` puts on the stream instead of running it: kernels
  // with the arguments of now. `enqueue` must not allocate, free or wait. An
  // error names `what` ("a product of 8 rows").
  static absl::StatusOr<std::unique_ptr<RecordedWork>> Record(
      absl::string_view what, CudaStream& stream,
      absl::FunctionRef<absl::Status()> enqueue);

  // REQUIRES: no launch is under way.
  ~RecordedWork();

  RecordedWork(const RecordedWork&) = delete;
  RecordedWork& operator=(const RecordedWork&) = delete;

  absl::Status Launch(CudaStream& stream);

 private:
  RecordedWork() = default;

  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_RECORDED_WORK_H_
