// DenseLayer: a layer whose weights are stored as numbers, in a GPU's memory.
//
// Thread-compatible.
#ifndef ANYPREC_KERNELS_CUDA_DENSE_LAYER_H_
#define ANYPREC_KERNELS_CUDA_DENSE_LAYER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/dense_matmul.cuh"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/launch_rows.cuh"
#include "kernels/cuda/linear_layer.h"
#include "kernels/cuda/scratch_memory.h"
#include "kernels/cuda/step_table.h"
#include "kernels/random_layer.h"

namespace anyprec {

class DenseLayer final : public LinearLayer {
 public:
  // Stacks `parts` along n and copies them.
  // INVALID_ARGUMENT as ValidateDense() says, RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<DenseLayer>> Load(
      std::span<const DenseMatrix> parts, CudaStream& stream);

  // Random weights, made on the device; waits for them. INVALID_ARGUMENT as
  // ValidateRandomLayer() says, and for types other than kInt8 and kFloat16.
  static absl::StatusOr<std::unique_ptr<DenseLayer>> LoadRandom(
      const RandomLayer& layer, DenseMatrix::Type type, CudaStream& stream);

  int n() const override { return view_.n; }
  int k() const override { return view_.k; }
  size_t BytesRead(int /*precision*/) const override { return BytesResident(); }
  size_t BytesResident() const override {
    return data_.bytes() + row_scales_.bytes();
  }

  size_t ScratchBytes(int /*rows*/) const override { return 0; }
  // Decode and prefill rows alike.
  absl::Status Multiply(const RowGroup& group, const float* x, float* y,
                        bool accumulate, ScratchMemory& scratch,
                        CudaStream& stream) const override;
  absl::Status MultiplyTable(const StepTableView& table, const float* x,
                             float* y, bool accumulate,
                             CudaStream& stream) const override;

  // Enqueues y[i] = W[ids[i]].
  //   ids  [count], device memory
  absl::Status Embed(const int32_t* ids, LaunchRows count, float* y,
                     CudaStream& stream) const;

  const DenseWeights& view() const { return view_; }

 private:
  DenseLayer(const DenseWeights& view, DeviceMemory data,
             DeviceMemory row_scales)
      : view_(view),
        data_(std::move(data)),
        row_scales_(std::move(row_scales)) {}

  // Room for the weights that `view` tells the type and shape of.
  static absl::StatusOr<std::unique_ptr<DenseLayer>> Allocate(
      DenseWeights view, CudaStream& stream);

  float* row_scales() const { return static_cast<float*>(row_scales_.data()); }

  const DenseWeights view_;
  const DeviceMemory data_;
  const DeviceMemory row_scales_;  // empty but for kInt8
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_DENSE_LAYER_H_
