// The CPU backend: Backend on all cores, with the kernels of the machine's
// instruction set.
#ifndef ANYPREC_KERNELS_CPU_CPU_BACKEND_H_
#define ANYPREC_KERNELS_CPU_CPU_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_linear.h"
#include "kernels/cpu/isa.h"

namespace anyprec {

struct CpuBackendOptions {
  // Threads that compute, the caller's included. 0: one for each core that the
  // process may run on.
  int threads = 0;
  // See ThreadPool::Options::pin.
  bool pin_threads = false;
  // kFloat32 where results must come as close to a model's own as fp32 gets:
  // evaluation, comparisons with other implementations.
  ComputeMode mode = ComputeMode::kInt16;
  // Tests and measurements choose a lesser one.
  Isa isa = DetectIsa();
};

// FAILED_PRECONDITION where this machine does not run options.isa.
absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(
    const CpuBackendOptions& options);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_CPU_BACKEND_H_
