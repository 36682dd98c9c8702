#include "kernels/cuda/cuda_backend.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
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
#include "kernels/cuda/sampling.cuh"
#include "kernels/cuda/scratch_memory.h"
#include "kernels/cuda/sequence_tiles.h"
#include "kernels/cuda/step_graphs.h"
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

  // Graphs and scratch may be in use.
  ~CudaBackend() override { cudaStreamSynchronize(stream_->get()); }

  absl::string_view name() const override { return name_; }

  absl::StatusOr<std::optional<DeviceMemoryInfo>> GetDeviceMemoryInfo()
      override {
    RETURN_IF_ERROR(Ready());
    DeviceMemoryInfo info;
    RETURN_IF_ERROR(
        stream_->Check(cudaMemGetInfo(&info.free_bytes, &info.total_bytes),
                       "asking for the device's memory"));
    return info;
  }

  absl::Status ReserveScratch(
      const StepLimits& limits, const AttentionShape& attention,
      std::span<const LinearWeights* const> layers) override {
    RETURN_IF_ERROR(Ready());
    const int blocks =
        (limits.positions + limits.block_tokens - 1) / limits.block_tokens;
    RETURN_IF_ERROR(sequences_.Reserve(
        limits.rows, size_t{1} * limits.sequences * blocks, *stream_));
    if (options_.graphs) {
      RETURN_IF_ERROR(graphs_.Reserve(limits.sequences, blocks, *stream_));
    }
    RETURN_IF_ERROR(
        indices_.Reserve(limits.rows * sizeof(int32_t), *stream_).status());
    RETURN_IF_ERROR(
        draws_.Reserve(limits.sequences * sizeof(PreparedDraw), *stream_)
            .status());
    size_t bytes = AttentionScratchBytes(limits, attention);
    for (const LinearWeights* const layer : layers) {
      bytes = std::max(
          {bytes,
           static_cast<const LinearLayer*>(layer)->ScratchBytes(limits.rows),
           // Of draws, where this is the layer that gives logits.
           SampleScratchBytes(limits.sequences, layer->n()) +
               limits.sequences * sizeof(int32_t)});
    }
    return scratch_.Reserve(bytes, *stream_).status();
  }

  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t floats) override {
    RETURN_IF_ERROR(Ready());
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
    RETURN_IF_ERROR(Ready());
    return stream_->Upload(source.data(), source.size_bytes(), destination);
  }

  absl::StatusOr<std::span<const float>> HostView(const float* data,
                                                  size_t floats) override {
    RETURN_IF_ERROR(Ready());
    return stream_->Download(data, floats);
  }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadBitPlanes(
      std::span<const QuantizedLinear> parts) override {
    RETURN_IF_ERROR(Ready());
    return LoadBitPlaneLayer(parts, *stream_);
  }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadDense(
      std::span<const DenseMatrix> parts) override {
    RETURN_IF_ERROR(Ready());
    return DenseLayer::Load(parts, *stream_);
  }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadRandomBitPlanes(
      const RandomLayer& layer, int min_bits, int max_bits) override {
    RETURN_IF_ERROR(Ready());
    return LoadRandomBitPlaneLayer(layer, min_bits, max_bits, *stream_);
  }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadRandomDense(
      const RandomLayer& layer, DenseMatrix::Type type) override {
    RETURN_IF_ERROR(Ready());
    return DenseLayer::LoadRandom(layer, type, *stream_);
  }

  absl::StatusOr<std::unique_ptr<KvStorage>> AllocateKv(const KvLayout& layout,
                                                        KvType type) override {
    RETURN_IF_ERROR(Ready());
    return DeviceKv::Create(layout, type, *stream_);
  }

  absl::Status RunStep(const StepRows& step,
                       absl::FunctionRef<absl::Status()> operations) override {
    RETURN_IF_ERROR(Ready());
    if (!options_.graphs ||
        !StepGraphs::Takes(step, options_.attention_scratch_bytes)) {
      return operations();
    }
    return graphs_.Run(step, step.kv->layout(), operations, scratch_, *stream_);
  }

  int64_t StepsWithoutRecord() const override {
    return graphs_.steps_without_memory();
  }

  absl::Status Linear(const LinearWeights& weights,
                      std::span<const RowGroup> groups, const float* x,
                      float* y, bool accumulate) override {
    RETURN_IF_ERROR(stream_->Ready());
    const auto& layer = static_cast<const LinearLayer&>(weights);
    if (const StepRows* step = graphs_.step(); step != nullptr) {
      CheckIsOf(step->groups, groups);
      if (!graphs_.Wants({.kind = StepOperation::Kind::kLinear,
                          .objects = {layer.id()},
                          .memory = {x, y},
                          .numbers = {accumulate ? 1 : 0}})) {
        return absl::OkStatus();
      }
      return layer.MultiplyTable(graphs_.table(), x, y, accumulate, *stream_);
    }
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
    if (const StepRows* step = graphs_.step(); step != nullptr) {
      CheckIsOf(step->tokens, ids);
      if (!graphs_.Wants({.kind = StepOperation::Kind::kEmbed,
                          .objects = {layer->id()},
                          .memory = {y}})) {
        return absl::OkStatus();
      }
      const StepTableView& table = graphs_.table();
      return layer->Embed(table.tokens, table.rows, y, *stream_);
    }
    ASSIGN_OR_RETURN(const int32_t* const on_device, UploadIndices(ids));
    return layer->Embed(on_device, static_cast<int>(ids.size()), y, *stream_);
  }

  absl::Status RmsNorm(const float* x, const float* weight, int rows, int n,
                       float epsilon, float* y) override {
    RETURN_IF_ERROR(stream_->Ready());
    const std::optional<LaunchRows> wanted =
        WantedRows(rows, {.kind = StepOperation::Kind::kRmsNorm,
                          .memory = {x, weight, y},
                          .numbers = {n, std::bit_cast<int32_t>(epsilon)}});
    if (!wanted.has_value()) return absl::OkStatus();
    return stream_->Check(
        LaunchRmsNorm(x, weight, *wanted, n, epsilon, y, stream_->get()),
        "normalizing rows");
  }

  absl::Status RopeAndAppendKv(const AttentionShape& shape,
                               std::span<const SequenceRows> sequences,
                               const float* rope, int layer, KvStorage& kv,
                               float* qkv) override {
    RETURN_IF_ERROR(stream_->Ready());
    const auto& cache = static_cast<const DeviceKv&>(kv);
    CheckShape(shape, cache);
    SequenceTilesView tiles;
    if (const StepRows* step = graphs_.step(); step != nullptr) {
      CheckIsOf(step->sequences, sequences);
      CheckIsCacheOf(*step, kv);
      if (!graphs_.Wants({.kind = StepOperation::Kind::kRope,
                          .objects = {cache.id()},
                          .memory = {rope, qkv},
                          .numbers = {layer, shape.heads}})) {
        return absl::OkStatus();
      }
      tiles = graphs_.table().sequences;
    } else {
      RETURN_IF_ERROR(UpdateSequences(shape, sequences, cache));
      tiles = sequences_.view();
    }
    return stream_->Check(
        LaunchRopeAndAppendKv(tiles, cache.layer(layer), shape.heads, rope, qkv,
                              stream_->get()),
        "rotating and storing keys");
  }

  absl::Status Attention(const AttentionShape& shape,
                         std::span<const SequenceRows> sequences, int layer,
                         const KvStorage& kv, const float* qkv,
                         float* y) override {
    RETURN_IF_ERROR(stream_->Ready());
    const auto& cache = static_cast<const DeviceKv&>(kv);
    CheckShape(shape, cache);
    AttentionArgs args;
    args.kv = cache.layer(layer);
    args.heads = shape.heads;
    args.qkv = qkv;
    args.y = y;
    if (const StepRows* step = graphs_.step(); step != nullptr) {
      CheckIsOf(step->sequences, sequences);
      CheckIsCacheOf(*step, kv);
      if (!graphs_.Wants({.kind = StepOperation::Kind::kAttention,
                          .objects = {cache.id()},
                          .memory = {qkv, y},
                          .numbers = {layer, shape.heads}})) {
        return absl::OkStatus();
      }
      return AttendToTable(cache.layout(), args);
    }
    RETURN_IF_ERROR(UpdateSequences(shape, sequences, cache));
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
    const std::optional<LaunchRows> wanted =
        WantedRows(rows, {.kind = StepOperation::Kind::kSiluMul,
                          .memory = {gate_up, y},
                          .numbers = {n}});
    if (!wanted.has_value()) return absl::OkStatus();
    return stream_->Check(LaunchSiluMul(gate_up, *wanted, n, y, stream_->get()),
                          "gating activations");
  }

  absl::Status GatherRows(const float* x, std::span<const int32_t> rows, int n,
                          float* y) override {
    RETURN_IF_ERROR(Ready());
    ASSIGN_OR_RETURN(const int32_t* const on_device, UploadIndices(rows));
    return stream_->Check(
        LaunchGatherRows(x, on_device, static_cast<int>(rows.size()), n, y,
                         stream_->get()),
        "gathering rows");
  }

  absl::Status Sample(const float* x, std::span<const TokenDraw> draws, int n,
                      std::span<int32_t> tokens) override {
    RETURN_IF_ERROR(Ready());
    std::vector<PreparedDraw> prepared;
    for (const TokenDraw& draw : draws) prepared.emplace_back(draw, n);
    const size_t bytes = prepared.size() * sizeof(PreparedDraw);
    ASSIGN_OR_RETURN(void* const on_device, draws_.Reserve(bytes, *stream_));
    RETURN_IF_ERROR(stream_->Upload(prepared.data(), bytes, on_device));
    const int count = static_cast<int>(draws.size());
    const size_t work_bytes = SampleScratchBytes(count, n);
    ASSIGN_OR_RETURN(
        void* const work,
        scratch_.Reserve(work_bytes + tokens.size_bytes(), *stream_));
    auto* const drawn =
        reinterpret_cast<int32_t*>(static_cast<char*>(work) + work_bytes);
    RETURN_IF_ERROR(stream_->Check(
        LaunchSample(x, static_cast<const PreparedDraw*>(on_device), count, n,
                     work, drawn, stream_->get()),
        "drawing tokens"));
    ASSIGN_OR_RETURN(const std::span<const int32_t> on_host,
                     stream_->Download<int32_t>(drawn, tokens.size()));
    std::copy(on_host.begin(), on_host.end(), tokens.begin());
    return absl::OkStatus();
  }

 private:
  // For all that no step consists of.
  absl::Status Ready() {
    ANYPREC_CHECK(graphs_.step() == nullptr) << "not an operation of a step";
    return stream_->Ready();
  }

  // A step's operations are called with its own spans: what these hold is in
  // its table.
  template <class T>
  static void CheckIsOf(std::span<const T> of_step, std::span<const T> given) {
    ANYPREC_CHECK(of_step.data() == given.data() &&
                  of_step.size() == given.size())
        << "an operation on other rows than its step's";
  }

  static void CheckIsCacheOf(const StepRows& step, const KvStorage& kv) {
    ANYPREC_CHECK(&kv == step.kv) << "another KV cache than the step's";
  }

  // What `operation` on `rows` rows is to be launched for; nothing where a
  // graph has it.
  std::optional<LaunchRows> WantedRows(int rows,
                                       const StepOperation& operation) {
    const StepRows* const step = graphs_.step();
    if (step == nullptr) return LaunchRows(rows);
    ANYPREC_CHECK(step->tokens.size() == static_cast<size_t>(rows))
        << "an operation on " << rows << " rows of " << step->tokens.size();
    if (!graphs_.Wants(operation)) return std::nullopt;
    return graphs_.table().rows;
  }

  // The indices in device memory, until the next call.
  absl::StatusOr<const int32_t*> UploadIndices(
      std::span<const int32_t> indices) {
    ASSIGN_OR_RETURN(void* const memory,
                     indices_.Reserve(indices.size_bytes(), *stream_));
    RETURN_IF_ERROR(
        stream_->Upload(indices.data(), indices.size_bytes(), memory));
    return static_cast<const int32_t*>(memory);
  }

  static void CheckShape(const AttentionShape& shape, const DeviceKv& kv) {
    ANYPREC_CHECK(shape.kv_heads == kv.layout().kv_heads &&
                  shape.head_dim == kv.layout().head_dim)
        << "attention of another shape than the KV cache";
  }

  absl::Status UpdateSequences(const AttentionShape& shape,
                               std::span<const SequenceRows> sequences,
                               const DeviceKv& kv) {
    return sequences_.Update(sequences,
                             MaxTileRows(shape.heads, shape.kv_heads),
                             kv.layout(), *stream_);
  }

  // The most that Attend() takes: of as many rows as CutIntoBatches() allows.
  size_t AttentionScratchBytes(const StepLimits& limits,
                               const AttentionShape& shape) const {
    const size_t row_bytes = sizeof(float) * AttentionSplits(limits.positions) *
                             AttentionSlotFloats(shape.heads, shape.head_dim);
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
    args.max_tile_rows = batch.max_tile_rows;
    args.first_slot = sequences_.tiles()[batch.first].first_slot;
    const size_t floats =
        batch.slots * AttentionSlotFloats(args.heads, args.kv.head_dim);
    ASSIGN_OR_RETURN(void* const scratch,
                     scratch_.Reserve(floats * sizeof(float), *stream_));
    args.scratch = static_cast<float*>(scratch);
    return stream_->Check(LaunchAttention(args, batch.splits, stream_->get()),
                          "attending");
  }

  // Enqueues the attention of the rows of the graphs' table.
  absl::Status AttendToTable(const KvLayout& layout, AttentionArgs args) {
    args.sequences = graphs_.table().sequences;
    args.max_tile_rows = 1;
    args.scratch = graphs_.attention_scratch();
    const int64_t positions = int64_t{layout.num_blocks} * layout.block_tokens;
    const int max_splits = AttentionSplits(static_cast<int>(std::min<int64_t>(
        positions, std::numeric_limits<int>::max() - kAttentionSplitTokens)));
    return stream_->Check(
        LaunchDecodeAttention(args, max_splits, stream_->get()), "attending");
  }

  const CudaBackendOptions options_;
  const std::string name_;
  const std::unique_ptr<CudaStream> stream_;  // outlives what it works on
  SequenceTiles sequences_;
  ScratchMemory indices_{"row indices"};
  ScratchMemory draws_{"draws"};
  ScratchMemory scratch_{"scratch"};
  StepGraphs graphs_;
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
                   properties.minor, options.graphs ? ")" : ", no graphs)"),
      std::move(stream));
}

}  // namespace anyprec
