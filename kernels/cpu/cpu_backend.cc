#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/binary_coded_linear.h"
#include "kernels/cpu/bit_plane_linear.h"
#include "kernels/cpu/cpu_linear.h"
#include "kernels/cpu/dense_linear.h"
#include "kernels/cpu/huge_pages.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/paged_kv.h"
#include "kernels/cpu/row_sampler.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/status_macros.h"
#include "kernels/validation.h"

namespace anyprec {
namespace {

class CpuBuffer final : public Buffer {
 public:
  CpuBuffer(HugePageBuffer memory, size_t size)
      : memory_(std::move(memory)), size_(size) {}
  float* data() override { return memory_.as<float>(); }
  size_t size() const override { return size_; }

 private:
  HugePageBuffer memory_;
  const size_t size_;
};

// Tells apart what differs in speed: step times are kept under it.
std::string MakeName(const CpuBackendOptions& options, int threads) {
  const bool amx = options.mode == ComputeMode::kInt16 &&
                   options.isa == Isa::kAvx512 && HasAmx();
  return absl::StrCat("cpu (", IsaName(options.isa), amx ? " with AMX" : "",
                      ", ", threads, threads == 1 ? " thread, " : " threads, ",
                      options.mode == ComputeMode::kInt16 ? "int16" : "float32",
                      ")");
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CpuBackendOptions& options)
      : options_(options),
        kernels_(KernelsFor(options.isa)),
        pool_({.threads = options.threads, .pin = options.pin_threads}),
        name_(MakeName(options, pool_.threads())) {}

  absl::string_view name() const override { return name_; }

  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t floats) override {
    ASSIGN_OR_RETURN(HugePageBuffer memory,
                     HugePageBuffer::Create(floats * sizeof(float)));
    return std::make_unique<CpuBuffer>(std::move(memory), floats);
  }

  absl::Status CopyFromHost(std::span<const float> source,
                            float* destination) override {
    std::copy(source.begin(), source.end(), destination);
    return absl::OkStatus();
  }

  absl::StatusOr<std::span<const float>> HostView(const float* data,
                                                  size_t floats) override {
    return std::span<const float>(data, floats);
  }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadBitPlanes(
      std::span<const QuantizedLinear> parts) override {
    if (!parts.empty() && !parts[0].scales.empty()) {
      return BinaryCodedLinear::Create(parts, options_.isa);
    }
    return BitPlaneLinear::Create(parts, options_.mode, options_.isa);
  }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadDense(
      std::span<const DenseMatrix> parts) override {
    return DenseLinear::Create(parts, options_.mode, options_.isa, pool_);
  }

  absl::StatusOr<std::unique_ptr<KvStorage>> AllocateKv(const KvLayout& layout,
                                                        KvType type) override {
    return PagedKv::Create(layout, type);
  }

  absl::Status Linear(const LinearWeights& weights,
                      std::span<const RowGroup> groups, const float* x,
                      float* y, bool accumulate) override {
    return static_cast<const CpuLinear&>(weights).MatMul(pool_, groups, x, y,
                                                         accumulate, scratch_);
  }

  absl::Status Embed(const LinearWeights& weights, std::span<const int32_t> ids,
                     float* y) override {
    const auto* layer = dynamic_cast<const DenseLinear*>(&weights);
    ANYPREC_CHECK(layer != nullptr) << "not a dense layer of this backend";
    RETURN_IF_ERROR(ValidateIds(ids, layer->n()));
    const size_t k = layer->k();
    pool_.ParallelFor(ids.size(), RowsWorthAThread(k),
                      [&](size_t begin, size_t end) {
                        for (size_t i = begin; i < end; ++i) {
                          layer->CopyRow(ids[i], y + i * k);
                        }
                      });
    return absl::OkStatus();
  }

  absl::Status RmsNorm(const float* x, const float* weight, int rows, int n,
                       float epsilon, float* y) override {
    const size_t size = n;
    pool_.ParallelFor(rows, RowsWorthAThread(size),
                      [&](size_t begin, size_t end) {
                        for (size_t row = begin; row < end; ++row) {
                          kernels_.rms_norm(x + row * size, weight, n, epsilon,
                                            y + row * size);
                        }
                      });
    return absl::OkStatus();
  }

  absl::Status RopeAndAppendKv(const AttentionShape& shape,
                               std::span<const SequenceRows> sequences,
                               const float* rope, int layer, KvStorage& kv,
                               float* qkv) override {
    RopeAndAppend(pool_, kernels_, shape, sequences, rope, layer,
                  static_cast<PagedKv&>(kv), qkv);
    return absl::OkStatus();
  }

  absl::Status Attention(const AttentionShape& shape,
                         std::span<const SequenceRows> sequences, int layer,
                         const KvStorage& kv, const float* qkv,
                         float* y) override {
    PagedAttention(pool_, kernels_, shape, sequences, layer,
                   static_cast<const PagedKv&>(kv), qkv, y);
    return absl::OkStatus();
  }

  absl::Status SiluMul(const float* gate_up, int rows, int n,
                       float* y) override {
    const size_t size = n;
    pool_.ParallelFor(
        rows, RowsWorthAThread(size), [&](size_t begin, size_t end) {
          for (size_t row = begin; row < end; ++row) {
            const float* gate = gate_up + 2 * row * size;
            kernels_.silu_mul(gate, gate + size, n, y + row * size);
          }
        });
    return absl::OkStatus();
  }

  absl::Status GatherRows(const float* x, std::span<const int32_t> rows, int n,
                          float* y) override {
    for (const int32_t row : rows) {
      y = std::copy_n(x + static_cast<size_t>(row) * n, n, y);
    }
    return absl::OkStatus();
  }

  absl::Status Sample(const float* x, std::span<const TokenDraw> draws, int n,
                      std::span<int32_t> tokens) override {
    const size_t size = n;
    if (row_scratch_.size() < draws.size()) row_scratch_.resize(draws.size());
    pool_.ParallelFor(draws.size(), RowsWorthAThread(size),
                      [&](size_t begin, size_t end) {
                        RowScratch& scratch = row_scratch_[begin];
                        for (size_t i = begin; i < end; ++i) {
                          const std::span logits(x + draws[i].row * size, size);
                          tokens[i] = DrawToken(logits, draws[i], scratch);
                        }
                      });
    return absl::OkStatus();
  }

 private:
  // Rows of `size` floats that take some 10 microseconds: below, waking threads
  // costs more than it saves.
  static size_t RowsWorthAThread(size_t size) {
    return std::max<size_t>(1, 16384 / size);
  }

  const CpuBackendOptions options_;
  const CpuKernels& kernels_;
  ThreadPool pool_;
  const std::string name_;
  MatMulScratch scratch_;
  std::vector<RowScratch> row_scratch_;  // each for the thread of its row
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(
    const CpuBackendOptions& options) {
  if (options.isa > DetectIsa()) {
    return absl::FailedPreconditionError(
        absl::StrCat("this machine does not run ", IsaName(options.isa),
                     "; its best is ", IsaName(DetectIsa())));
  }
  return std::make_unique<CpuBackend>(options);
}

}  // namespace anyprec
