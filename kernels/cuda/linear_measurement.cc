#include "kernels/cuda/linear_measurement.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "kernels/backend.h"
#include "kernels/cuda/bit_plane_layer.h"
#include "kernels/cuda/dense_layer.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/device_timer.h"
#include "kernels/cuda/recorded_work.h"
#include "kernels/cuda/scratch_memory.h"
#include "kernels/random_layer.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

absl::Status Validate(const LinearMeasurementOptions& options) {
  RETURN_IF_ERROR(ValidateMeasurement(options));
  for (const LinearShape& shape : options.shapes) {
    RETURN_IF_ERROR(ValidateRandomLayer({.n = shape.n, .k = shape.k}));
  }
  for (const int bits : options.bits) {
    RETURN_IF_ERROR(ValidateRandomBits(bits, bits));
  }
  for (const int rows : options.rows) {
    if (rows < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("rows: ", rows, ", needs at least 1"));
    }
  }
  if (options.shapes.empty() || options.bits.empty() || options.rows.empty()) {
    return absl::InvalidArgumentError(
        "needs at least one of shapes, bits and rows");
  }
  return absl::OkStatus();
}

// Copies of one shape's layers, ours and in fp16, and the activations.
class Layers {
 public:
  Layers(const LinearMeasurementOptions& options, LinearShape shape,
         Cublas* cublas, CudaStream& stream)
      : options_(options), shape_(shape), cublas_(cublas), stream_(stream) {}

  absl::Status Load() {
    RETURN_IF_ERROR(LoadPlanes());
    const int rows =
        *std::max_element(options_.rows.begin(), options_.rows.end());
    const size_t inputs = static_cast<size_t>(rows) * shape_.k;
    const size_t outputs = static_cast<size_t>(rows) * shape_.n;
    ASSIGN_OR_RETURN(y_, stream_.Allocate(outputs * sizeof(float), "y"));
    ASSIGN_OR_RETURN(x_, stream_.Allocate(inputs * sizeof(float), "x"));
    std::vector<float> x;
    x.reserve(inputs);
    for (size_t i = 0; i < inputs; ++i) {
      x.push_back(RandomWord(kActivationSeed, i) * 0x1p-31f - 1);
    }
    RETURN_IF_ERROR(
        stream_.Upload(x.data(), inputs * sizeof(float), x_.data()));
    return cublas_ == nullptr ? absl::OkStatus() : LoadHalves(rows);
  }

  size_t BytesRead(int bits) const { return planes_[0]->BytesRead(bits); }

  // Both enqueue one product with each copy.
  absl::Status Multiply(int bits, int rows) {
    const RowGroup group = {
        0, rows, bits,
        rows <= kMaxDecodeRows ? Phase::kDecode : Phase::kPrefill};
    for (const auto& layer : planes_) {
      RETURN_IF_ERROR(layer->Multiply(group,
                                      static_cast<const float*>(x_.data()),
                                      static_cast<float*>(y_.data()),
                                      /*accumulate=*/false, scratch_, stream_));
    }
    return absl::OkStatus();
  }
  absl::Status MultiplyHalves(int rows) {
    for (const auto& layer : halves_) {
      RETURN_IF_ERROR(cublas_->Multiply(
          static_cast<const Float16*>(x_halves_->view().data),
          static_cast<const Float16*>(layer->view().data), rows, shape_.n,
          shape_.k, static_cast<Float16*>(y_.data())));
    }
    return absl::OkStatus();
  }

  size_t count() const { return planes_.size(); }
  size_t halves_count() const { return halves_.size(); }

 private:
  static constexpr uint64_t kActivationSeed = 1;

  absl::Status LoadPlanes() {
    const auto [min_bits, max_bits] =
        std::minmax_element(options_.bits.begin(), options_.bits.end());
    size_t bytes = 0;
    while (bytes < options_.rotation_bytes || planes_.empty()) {
      const RandomLayer layer = {shape_.n, shape_.k, 2 + planes_.size()};
      ASSIGN_OR_RETURN(
          std::unique_ptr<LinearLayer> loaded,
          LoadRandomBitPlaneLayer(layer, *min_bits, *max_bits, stream_));
      bytes += loaded->BytesRead(*min_bits);
      planes_.push_back(std::move(loaded));
    }
    return absl::OkStatus();
  }

  absl::Status LoadHalves(int rows) {
    constexpr auto kType = DenseMatrix::Type::kFloat16;
    ASSIGN_OR_RETURN(x_halves_,
                     DenseLayer::LoadRandom({rows, shape_.k, kActivationSeed},
                                            kType, stream_));
    size_t bytes = 0;
    while (bytes < options_.rotation_bytes || halves_.empty()) {
      ASSIGN_OR_RETURN(
          std::unique_ptr<DenseLayer> loaded,
          DenseLayer::LoadRandom({shape_.n, shape_.k, 2 + halves_.size()},
                                 kType, stream_));
      bytes += loaded->BytesResident();
      halves_.push_back(std::move(loaded));
    }
    return absl::OkStatus();
  }

  const LinearMeasurementOptions& options_;
  const LinearShape shape_;
  Cublas* const cublas_;
  CudaStream& stream_;
  std::vector<std::unique_ptr<LinearLayer>> planes_;
  std::vector<std::unique_ptr<DenseLayer>> halves_;
  std::unique_ptr<DenseLayer> x_halves_;
  DeviceMemory x_;
  DeviceMemory y_;  // cuBLAS's too
  ScratchMemory scratch_{"scratch"};
};

absl::StatusOr<LinearTiming> MeasureProduct(
    const LinearMeasurementOptions& options, Layers& layers, int bits, int rows,
    const CopyBuffers& copies, bool with_cublas, DeviceTimer& timer,
    CudaStream& stream) {
  Contender ours(stream, [&] { return layers.Multiply(bits, rows); });
  Contender halves(stream, [&] { return layers.MultiplyHalves(rows); });
  Contender copy(stream, [&] { return copies.Copy(stream); });
  std::vector<Contender*> contenders = {&ours, &copy};
  if (with_cublas) contenders.push_back(&halves);
  RETURN_IF_ERROR(TakeTurns(options, contenders, timer));
  LinearTiming timing;
  timing.bits = bits;
  timing.rows = rows;
  timing.weight_bytes = layers.BytesRead(bits);
  timing.us = ours.MedianSeconds() * 1e6 / layers.count();
  timing.copy_bytes_per_second = 2 * options.copy_bytes / copy.MedianSeconds();
  if (with_cublas) {
    timing.cublas_us = halves.MedianSeconds() * 1e6 / layers.halves_count();
  }
  return timing;
}

}  // namespace

absl::StatusOr<LinearShape> ParseLinearShape(absl::string_view text) {
  const std::vector<absl::string_view> sides = absl::StrSplit(text, 'x');
  LinearShape shape;
  if (sides.size() == 2 && absl::SimpleAtoi(sides[0], &shape.n) &&
      absl::SimpleAtoi(sides[1], &shape.k)) {
    return shape;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("shape \"", text, "\", needs NxK, such as 4096x11008"));
}

absl::StatusOr<int> MeasureLinear(
    const LinearMeasurementOptions& options, Cublas* cublas, CudaStream& stream,
    absl::FunctionRef<void(const LinearTiming&)> report) {
  RETURN_IF_ERROR(Validate(options));
  RETURN_IF_ERROR(stream.Ready());
  ASSIGN_OR_RETURN(std::unique_ptr<DeviceTimer> timer,
                   DeviceTimer::Create(stream));
  CopyBuffers copies;
  RETURN_IF_ERROR(copies.Allocate(options.copy_bytes, stream));
  int left_out = 0;
  for (const LinearShape& shape : options.shapes) {
    std::unique_ptr<Layers> layers;
    for (const int rows : options.rows) {
      for (const int bits : options.bits) {
        if (absl::Now() >= options.stop) {
          ++left_out;
          continue;
        }
        if (layers == nullptr) {
          layers = std::make_unique<Layers>(options, shape, cublas, stream);
          RETURN_IF_ERROR(layers->Load());
        }
        ASSIGN_OR_RETURN(LinearTiming timing,
                         MeasureProduct(options, *layers, bits, rows, copies,
                                        cublas != nullptr, *timer, stream));
        timing.shape = shape;
        report(timing);
      }
    }
  }
  return left_out;
}

}  // namespace anyprec
