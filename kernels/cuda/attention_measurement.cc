#include "kernels/cuda/attention_measurement.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/device_timer.h"
#include "kernels/cuda/kv_storage.h"
#include "kernels/cuda/scratch_memory.h"
#include "kernels/cuda/sequence_tiles.h"
#include "kernels/random_layer.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

constexpr size_t kElementBytes = 2;  // of keys and values, in fp16

// What one measurement is of.
struct AttentionCase {
  AttentionShape shape;
  int context = 0;
  int sequences = 0;
  int rows = 0;  // of each sequence

  size_t KvBytes() const {
    return size_t{2} * sequences * context * shape.kv_heads * shape.head_dim *
           kElementBytes;
  }
  // Each head of a row multiplies its query with every key that it sees, and
  // adds up as many values.
  double Operations() const {
    const double seen = rows * (context - (rows - 1) / 2.0);
    return 4.0 * sequences * shape.heads * shape.head_dim * seen;
  }
};

absl::Status Validate(const AttentionMeasurementOptions& options) {
  RETURN_IF_ERROR(ValidateMeasurement(options));
  for (const AttentionShape& shape : options.shapes) {
    if (shape.kv_heads < 1 || shape.heads < shape.kv_heads ||
        shape.heads % shape.kv_heads != 0 || shape.head_dim < 2 ||
        shape.head_dim % 2 != 0 || shape.head_dim > kMaxAttentionHeadDim) {
      return absl::InvalidArgumentError(absl::StrCat(
          "attention of ", shape.heads, " heads, ", shape.kv_heads,
          " KV heads of ", shape.head_dim,
          ", needs a multiple of the KV heads and an even size up to ",
          kMaxAttentionHeadDim));
    }
  }
  for (const auto* const numbers :
       {&options.contexts, &options.batches, &options.chunks}) {
    for (const int number : *numbers) {
      if (number < 1) {
        return absl::InvalidArgumentError(absl::StrCat(
            "contexts, batches, chunks: ", number, ", needs at least 1"));
      }
    }
  }
  if (options.shapes.empty() || options.contexts.empty() ||
      (options.batches.empty() && options.chunks.empty())) {
    return absl::InvalidArgumentError(
        "needs at least one of shapes, of contexts, and of batches or chunks");
  }
  return absl::OkStatus();
}

std::vector<AttentionCase> Cases(const AttentionMeasurementOptions& options) {
  std::vector<AttentionCase> cases;
  for (const AttentionShape& shape : options.shapes) {
    for (const int batch : options.batches) {
      for (const int context : options.contexts) {
        cases.push_back({shape, context, batch, /*rows=*/1});
      }
    }
    for (const int chunk : options.chunks) {
      for (const int context : options.contexts) {
        if (chunk <= context) cases.push_back({shape, context, 1, chunk});
      }
    }
  }
  return cases;
}

// The sequences of one case: their layers of the cache, and their rows.
class Step {
 public:
  Step(const AttentionCase& measured, CudaStream& stream)
      : case_(measured), stream_(stream) {}

  absl::Status Load(size_t rotation_bytes) {
    RETURN_IF_ERROR(LoadCache(rotation_bytes));
    RETURN_IF_ERROR(LoadRows());
    std::vector<SequenceRows> sequences;
    const size_t blocks = blocks_.size() / case_.sequences;
    for (int i = 0; i < case_.sequences; ++i) {
      sequences.push_back({.first_row = i * case_.rows,
                           .rows = case_.rows,
                           .position = case_.context - case_.rows,
                           .blocks = std::span<const int32_t>(blocks_).subspan(
                               i * blocks, blocks)});
    }
    RETURN_IF_ERROR(sequences_.Update(
        sequences, MaxTileRows(case_.shape.heads, case_.shape.kv_heads),
        kv_->layout(), stream_));
    batches_ = CutIntoBatches(
        sequences_.tiles(), case_.shape.heads, case_.shape.head_dim,
        CudaBackendOptions().attention_scratch_bytes / sizeof(float));
    return absl::OkStatus();
  }

  // Enqueues the attention of every layer.
  absl::Status Attend() {
    for (int layer = 0; layer < layers(); ++layer) {
      for (const TileBatch& batch : batches_) {
        RETURN_IF_ERROR(AttendTo(layer, batch));
      }
    }
    return absl::OkStatus();
  }

  int layers() const { return kv_->layout().layers; }

 private:
  static constexpr uint64_t kActivationSeed = 1;

  absl::Status LoadCache(size_t rotation_bytes) {
    KvLayout layout = {.kv_heads = case_.shape.kv_heads,
                       .head_dim = case_.shape.head_dim};
    const int blocks =
        (case_.context + layout.block_tokens - 1) / layout.block_tokens;
    layout.num_blocks = case_.sequences * blocks;
    layout.layers = 1 + static_cast<int>(rotation_bytes / case_.KvBytes());
    ASSIGN_OR_RETURN(kv_, DeviceKv::Create(layout, KvType::kFloat16, stream_));
    // 0x2c2c is 0.065 in fp16, near what a key of unit length holds.
    RETURN_IF_ERROR(
        stream_.Check(cudaMemsetAsync(kv_->layer(0).blocks, 0x2c,
                                      kv_->BytesResident(), stream_.get()),
                      "filling the KV cache"));
    blocks_.resize(layout.num_blocks);
    std::iota(blocks_.begin(), blocks_.end(), 0);
    std::shuffle(blocks_.begin(), blocks_.end(), std::mt19937(1));
    return absl::OkStatus();
  }

  absl::Status LoadRows() {
    const size_t rows = static_cast<size_t>(case_.sequences) * case_.rows;
    const size_t outputs = rows * case_.shape.heads * case_.shape.head_dim;
    const size_t inputs = rows *
                          (case_.shape.heads + 2 * case_.shape.kv_heads) *
                          case_.shape.head_dim;
    ASSIGN_OR_RETURN(y_, stream_.Allocate(outputs * sizeof(float), "y"));
    ASSIGN_OR_RETURN(qkv_, stream_.Allocate(inputs * sizeof(float), "qkv"));
    std::vector<float> qkv;
    qkv.reserve(inputs);
    for (size_t i = 0; i < inputs; ++i) {
      qkv.push_back(RandomWord(kActivationSeed, i) * 0x1p-31f - 1);
    }
    return stream_.Upload(qkv.data(), inputs * sizeof(float), qkv_.data());
  }

  // As CudaBackend does.
  absl::Status AttendTo(int layer, const TileBatch& batch) {
    AttentionArgs args;
    args.kv = kv_->layer(layer);
    args.heads = case_.shape.heads;
    args.qkv = static_cast<const float*>(qkv_.data());
    args.y = static_cast<float*>(y_.data());
    args.sequences = sequences_.view();
    args.sequences.tiles += batch.first;
    args.sequences.num_tiles = batch.count;
    args.max_tile_rows = batch.max_tile_rows;
    args.first_slot = sequences_.tiles()[batch.first].first_slot;
    const size_t floats =
        batch.slots * AttentionSlotFloats(args.heads, case_.shape.head_dim);
    ASSIGN_OR_RETURN(void* const scratch,
                     scratch_.Reserve(floats * sizeof(float), stream_));
    args.scratch = static_cast<float*>(scratch);
    return stream_.Check(LaunchAttention(args, batch.splits, stream_.get()),
                         "attending");
  }

  const AttentionCase case_;
  CudaStream& stream_;
  std::unique_ptr<DeviceKv> kv_;
  std::vector<int32_t> blocks_;  // the sequences' tables, one after the other
  DeviceMemory qkv_;
  DeviceMemory y_;
  SequenceTiles sequences_;
  std::vector<TileBatch> batches_;
  ScratchMemory scratch_{"scratch"};
};

absl::StatusOr<AttentionTiming> Measure(
    const AttentionMeasurementOptions& options, const AttentionCase& measured,
    const CopyBuffers& copies, DeviceTimer& timer, CudaStream& stream) {
  Step step(measured, stream);
  RETURN_IF_ERROR(step.Load(options.rotation_bytes));
  Contender ours(stream, [&] { return step.Attend(); });
  Contender copy(stream, [&] { return copies.Copy(stream); });
  RETURN_IF_ERROR(TakeTurns(options, {{&ours, &copy}}, timer));
  AttentionTiming timing;
  timing.shape = measured.shape;
  timing.context = measured.context;
  timing.sequences = measured.sequences;
  timing.rows = measured.rows;
  timing.kv_bytes = measured.KvBytes();
  timing.operations = measured.Operations();
  timing.us = ours.MedianSeconds() * 1e6 / step.layers();
  timing.copy_bytes_per_second = 2 * options.copy_bytes / copy.MedianSeconds();
  return timing;
}

}  // namespace

absl::StatusOr<AttentionShape> ParseAttentionShape(absl::string_view text) {
  const std::vector<absl::string_view> sizes = absl::StrSplit(text, 'x');
  AttentionShape shape;
  if (sizes.size() == 3 && absl::SimpleAtoi(sizes[0], &shape.heads) &&
      absl::SimpleAtoi(sizes[1], &shape.kv_heads) &&
      absl::SimpleAtoi(sizes[2], &shape.head_dim)) {
    return shape;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "shape \"", text, "\", needs HEADSxKV_HEADSxHEAD_DIM, such as 32x8x128"));
}

absl::StatusOr<int> MeasureAttention(
    const AttentionMeasurementOptions& options, CudaStream& stream,
    absl::FunctionRef<void(const AttentionTiming&)> report) {
  RETURN_IF_ERROR(Validate(options));
  RETURN_IF_ERROR(stream.Ready());
  ASSIGN_OR_RETURN(const std::unique_ptr<DeviceTimer> timer,
                   DeviceTimer::Create(stream));
  CopyBuffers copies;
  RETURN_IF_ERROR(copies.Allocate(options.copy_bytes, stream));
  int left_out = 0;
  for (const AttentionCase& measured : Cases(options)) {
    if (absl::Now() >= options.stop) {
      ++left_out;
      continue;
    }
    ASSIGN_OR_RETURN(const AttentionTiming timing,
                     Measure(options, measured, copies, *timer, stream));
    report(timing);
  }
  return left_out;
}

}  // namespace anyprec
