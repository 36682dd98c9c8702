#include "kernels/cuda/cuda_backend.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/bit_plane_layer.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/dense_layer.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/kv_storage.h"
#include "kernels/cuda/linear_layer.h"
#include "kernels/cuda/row_kernels.cuh"
#include "kernels/cuda/scratch_memory.h"
#include "kernels/cuda/sequence_tiles.h"
#include "kernels/status_macros.h"
#include "kernels/validation.h"

namespace anyprec {
namespace {

class CudaBuffer final : public Buffer {
 public:
  CudaBuffer(DeviceMemory memory, size_t size)
      : memory_(std::move(memory)), size_(size) {}
  float* data() override { return static_cast<float*>(memory_.data()); }
  size_t size() const override { return size_; }

 private:
  const DeviceMemory memory_;
  const size_t size_;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(const CudaBackendOptions& options, std::string name,
              std::unique_ptr<CudaStream> stream)
      : options_(options), name_(std::move(name)), stream_(std::move(stream)) {}

  absl::string_view name() const override { return name_; }

  absl::StatusOr<std::optional<DeviceMemoryInfo>> GetDeviceMemoryInfo()
      override {
    RETURN_IF_ERROR(stream_->Ready());
    DeviceMemoryInfo info;
    RETURN_IF_ERROR(
        stream_->Check(cudaMemGetInfo(&info.free_bytes, &info.total_bytes),
                       "asking for the device's memory"));
    return info;
  }

  absl::Status ReserveScratch(
      const StepLimits& limits, const AttentionShape& attention,
      std::span<const LinearWeights* const> layers) override {
    RETURN_IF_ERROR(stream_->Ready());
    const size_t blocks =
        (limits.positions + limits.block_tokens - 1) / limits.block_tokens;
    RETURN_IF_ERROR(
        sequences_.Reserve(limits.rows, limits.sequences * blocks, *stream_));
    const size_t indices = limits.rows * sizeof(int32_t);
    RETURN_IF_ERROR(indices_.Reserve(indices, *stream_).status());
    size_t bytes = std::max(indices, AttentionScratchBytes(limits, attention));
    for (const LinearWeights* const layer : layers) {
      bytes = std::max(
          bytes,
          static_cast<const LinearLayer*>(layer)->ScratchBytes(limits.rows));
    }
    return scratch_.Reserve(bytes, *stream_).status();
  }

  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t floats) override {
    RETURN_IF_ERROR(stream_->Ready());
    const size_t bytes = floats * sizeof(float);
    ASSIGN_OR_RETURN(DeviceMemory memory,
                     stream_->Allocate(bytes, "activations"));
    if (bytes == 0) {
      return std::make_unique<CudaBuffer>(std::move(memory), floats);
    }
    RETURN_IF_ERROR(
        stream_->Check(cudaMemsetAsync(memory.data(), 0, bytes, stream_->get()),
                       "clearing device memory"));
    return std::make_unique<CudaBuffer>(std::move(memory), floats);
  }

  absl::Status CopyFromHost(std::span<const float> source,
                            float* destination) override {
    RETURN_IF_ERROR(stream_->Ready());
    return stream_->Upload(source.data(), source.size_bytes(), destination);
  }

  absl::StatusOr<std::span<const float>> HostView(const float* data,
                                                  size_t floats) override {
    RETURN_IF_ERROR(stream_->Ready());
    return stream_->Download(data, floats);
  }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadBitPlanes(
      std::span<const QuantizedLinear> parts) override {
    RETURN_IF_ERROR(stream_->Ready());
    return LoadBitPlaneLayer(parts, *stream_);
  }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadDense(
      std::span<const DenseMatrix> parts) override {
    RETURN_IF_ERROR(stream_->Ready());
    return DenseLayer::Load(parts, *stream_);
  }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadRandomBitPlanes(
      const RandomLayer& layer, int min_bits, int max_bits) override {
    RETURN_IF_ERROR(stream_->Ready());
    return LoadRandomBitPlaneLayer(layer, min_bits, max_bits, *stream_);
  }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadRandomDense(
      const RandomLayer& layer, DenseMatrix::Type type) override {
    RETURN_IF_ERROR(stream_->Ready());
    return DenseLayer::LoadRandom(layer, type, *stream_);
  }

  absl::StatusOr<std::unique_ptr<KvStorage>> AllocateKv(const KvLayout& layout,
                                                        KvType type) override {
    RETURN_IF_ERROR(stream_->Ready());
    return DeviceKv::Create(layout, type, *stream_);
  }

  absl::Status Linear(const LinearWeights& weights,
                      std::span<const RowGroup> groups, const float* x,
                      float* y, bool accumulate) override {
    RETURN_IF_ERROR(stream_->Ready());
    const auto& layer = static_cast<const LinearLayer&>(weights);
    for (const RowGroup& group : groups) {
      RETURN_IF_ERROR(
          layer.Multiply(group, x, y, accumulate, scratch_, *stream_));
    }
    return absl::OkStatus();
  }

  absl::Status Embed(const LinearWeights& weights, std::span<const int32_t> ids,
                     float* y) override {
    RETURN_IF_ERROR(stream_->Ready());
    const auto* layer = dynamic_cast<const DenseLayer*>(&weights);
    ANYPREC_CHECK(layer != nullptr) << "not a dense layer of this backend";
    RETURN_IF_ERROR(ValidateIds(ids, layer->n()));
    ASSIGN_OR_RETURN(const int32_t* const on_device, UploadIndices(ids));
    return layer->Embed(on_device, static_cast<int>(ids.size()), y, *stream_);
  }

  absl::Status RmsNorm(const float* x, const float* weight, int rows, int n,
                       float epsilon, float* y) override {
    RETURN_IF_ERROR(stream_->Ready());
    return stream_->Check(
        LaunchRmsNorm(x, weight, rows, n, epsilon, y, stream_->get()),
        "normalizing rows");
  }

  absl::Status RopeAndAppendKv(const AttentionShape& shape,
                               std::span<const SequenceRows> sequences,
                               const float* rope, int layer, KvStorage& kv,
                               float* qkv) override {
    RETURN_IF_ERROR(stream_->Ready());
    const auto& cache = static_cast<const DeviceKv&>(kv);
    RETURN_IF_ERROR(UpdateSequences(shape, sequences, cache));
    return stream_->Check(
        LaunchRopeAndAppendKv(sequences_.view(), cache.layer(layer),
                              shape.heads, rope, qkv, stream_->get()),
        "rotating and storing keys");
  }

  absl::Status Attention(const AttentionShape& shape,
                         std::span<const SequenceRows> sequences, int layer,
                         const KvStorage& kv, const float* qkv,
                         float* y) override {
    RETURN_IF_ERROR(stream_->Ready());
    const auto& cache = static_cast<const DeviceKv&>(kv);
    RETURN_IF_ERROR(UpdateSequences(shape, sequences, cache));
    AttentionArgs args;
    args.kv = cache.layer(layer);
    args.heads = shape.heads;
    args.qkv = qkv;
    args.y = y;
    for (const TileBatch& batch :
         CutIntoBatches(sequences_.tiles(), shape.heads, shape.head_dim,
                        options_.attention_scratch_bytes / sizeof(float))) {
      RETURN_IF_ERROR(Attend(batch, args));
    }
    return absl::OkStatus();
  }

  absl::Status SiluMul(const float* gate_up, int rows, int n,
                       float* y) override {
    RETURN_IF_ERROR(stream_->Ready());
    return stream_->Check(LaunchSiluMul(gate_up, rows, n, y, stream_->get()),
                          "gating activations");
  }

  absl::Status GatherRows(const float* x, std::span<const int32_t> rows, int n,
                          float* y) override {
    RETURN_IF_ERROR(stream_->Ready());
    ASSIGN_OR_RETURN(const int32_t* const on_device, UploadIndices(rows));
    return stream_->Check(
        LaunchGatherRows(x, on_device, static_cast<int>(rows.size()), n, y,
                         stream_->get()),
        "gathering rows");
  }

  absl::Status ArgMax(const float* x, std::span<const int32_t> rows, int n,
                      std::span<int32_t> indices) override {
    RETURN_IF_ERROR(stream_->Ready());
    ASSIGN_OR_RETURN(const int32_t* const on_device, UploadIndices(rows));
    ASSIGN_OR_RETURN(void* const memory,
                     scratch_.Reserve(rows.size_bytes(), *stream_));
    auto* const found = static_cast<int32_t*>(memory);
    RETURN_IF_ERROR(
        stream_->Check(LaunchArgMax(x, on_device, static_cast<int>(rows.size()),
                                    n, found, stream_->get()),
                       "finding the likeliest tokens"));
    ASSIGN_OR_RETURN(const std::span<const int32_t> on_host,
                     stream_->Download<int32_t>(found, rows.size()));
    std::copy(on_host.begin(), on_host.end(), indices.begin());
    return absl::OkStatus();
  }

 private:
  // The indices in device memory, until the next call.
  absl::StatusOr<const int32_t*> UploadIndices(
      std::span<const int32_t> indices) {
    ASSIGN_OR_RETURN(void* const memory,
                     indices_.Reserve(indices.size_bytes(), *stream_));
    RETURN_IF_ERROR(
        stream_->Upload(indices.data(), indices.size_bytes(), memory));
    return static_cast<const int32_t*>(memory);
  }

  absl::Status UpdateSequences(const AttentionShape& shape,
                               std::span<const SequenceRows> sequences,
                               const DeviceKv& kv) {
    ANYPREC_CHECK(shape.kv_heads == kv.layout().kv_heads &&
                  shape.head_dim == kv.layout().head_dim)
        << "attention of another shape than the KV cache";
    return sequences_.Update(sequences,
                             MaxTileRows(shape.heads, shape.kv_heads),
                             kv.layout(), *stream_);
  }

  // The most that Attend() takes: of as many rows as CutIntoBatches() allows.
  size_t AttentionScratchBytes(const StepLimits& limits,
                               const AttentionShape& shape) const {
    const size_t row_bytes =
        sizeof(float) *
        AttentionScratchFloats(shape.heads, shape.head_dim,
                               AttentionSplits(limits.positions));
    const size_t tile_rows = MaxTileRows(shape.heads, shape.kv_heads);
    return std::min(
        limits.rows * row_bytes,
        std::max(options_.attention_scratch_bytes, tile_rows * row_bytes));
  }

  // Enqueues the attention of the tiles of `batch`.
  absl::Status Attend(const TileBatch& batch, AttentionArgs args) {
    args.sequences = sequences_.view();
    args.sequences.tiles += batch.first;
    args.sequences.num_tiles = batch.count;
    args.rows = batch.rows;
    args.max_tile_rows = batch.max_tile_rows;
    args.first_index = sequences_.tiles()[batch.first].first_index;
    args.splits = batch.splits;
    const size_t floats =
        batch.rows *
        AttentionScratchFloats(args.heads, args.kv.head_dim, batch.splits);
    ASSIGN_OR_RETURN(void* const scratch,
                     scratch_.Reserve(floats * sizeof(float), *stream_));
    args.scratch = static_cast<float*>(scratch);
    return stream_->Check(LaunchAttention(args, stream_->get()), "attending");
  }

  const CudaBackendOptions options_;
  const std::string name_;
  const std::unique_ptr<CudaStream> stream_;  // outlives what it works on
  SequenceTiles sequences_;
  ScratchMemory indices_{"row indices"};
  ScratchMemory scratch_{"scratch"};
};

// FAILED_PRECONDITION in words for whoever started the program.
absl::Status CheckDeviceCount(int device) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) {
    return absl::FailedPreconditionError(
        absl::StrCat("--device=cuda: no NVIDIA driver for CUDA ",
                     CUDART_VERSION / 1000, ".", CUDART_VERSION % 1000 / 10,
                     " is installed; install one or run with --device=cpu"));
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    return absl::FailedPreconditionError(
        "--device=cuda: the NVIDIA driver shows no device; see "
        "CUDA_VISIBLE_DEVICES or run with --device=cpu");
  }
  RETURN_IF_ERROR(CudaStatus(error, "--device=cuda: counting devices"));
  if (device < 0 || device >= count) {
    return absl::FailedPreconditionError(
        absl::StrCat("CUDA device ", device, " was asked for, there are ",
                     count, ", counted from 0"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(
    const CudaBackendOptions& options) {
  RETURN_IF_ERROR(CheckDeviceCount(options.device));
  cudaDeviceProp properties;
  RETURN_IF_ERROR(
      CudaStatus(cudaGetDeviceProperties(&properties, options.device),
                 "asking for a device's properties"));
  // Kernels are compiled for nothing older (kernels/cuda.bzl): mma of
  // 16 x 8 x 16 begins there.
  constexpr int kOldestMajor = 8;
  if (properties.major < kOldestMajor) {
    return absl::FailedPreconditionError(
        absl::StrCat(properties.name, " has compute capability ",
                     properties.major, ".", properties.minor, ", needs ",
                     kOldestMajor, ".0; run with --device=cpu"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<CudaStream> stream,
                   CudaStream::Create(options.device));
  return std::make_unique<CudaBackend>(
      options,
      absl::StrCat("cuda (", properties.name, ", sm_", properties.major,
                   properties.minor, ")"),
      std::move(stream));
}

}  // namespace anyprec
