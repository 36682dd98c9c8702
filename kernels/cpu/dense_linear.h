// DenseLinear: an fp32, fp16, bf16 or int8 layer in CPU memory, its products
// and its rows as embeddings.
//
// Weights stay in their stored type, interleaved into panels (kernel_table.h).
// All products accumulate in fp32, over k in order, so that a row's bits do not
// depend on the rows beside it. Decode rows of int8 layers in kInt16 mode
// multiply activations of 16 bits, with a scale per 512 columns, and sum in
// int32; everything else multiplies fp32.
#ifndef ANYPREC_KERNELS_CPU_DENSE_LINEAR_H_
#define ANYPREC_KERNELS_CPU_DENSE_LINEAR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_linear.h"
#include "kernels/cpu/huge_pages.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/thread_pool.h"

namespace anyprec {

// Immutable, so safe to read from many threads.
class DenseLinear final : public CpuLinear {
 public:
  // Stacks `parts` along n and copies them; the views may die afterwards.
  // INVALID_ARGUMENT as ValidateDense says, RESOURCE_EXHAUSTED.
  // REQUIRES: the machine runs `isa`.
  static absl::StatusOr<std::unique_ptr<DenseLinear>> Create(
      std::span<const DenseMatrix> parts, ComputeMode mode, Isa isa,
      ThreadPool& pool);

  int n() const override { return n_; }
  int k() const override { return k_; }
  size_t BytesRead(int precision) const override;
  size_t BytesResident() const override;

  absl::Status MatMul(ThreadPool& pool, std::span<const RowGroup> groups,
                      const float* x, float* y, bool accumulate,
                      MatMulScratch& scratch) const override;

  // out[0..k) = W[row]. REQUIRES: 0 <= row < n().
  void CopyRow(int row, float* out) const;

 private:
  // Rows of x packed for the kernels: blocks of at most max_rows rows, each
  // [columns, rows in the block], fp32 or pairs of int16.
  struct PackedRows;

  DenseLinear(PanelType type, int n, int k, ComputeMode mode,
              const CpuKernels& kernels);

  int panels() const { return (n_ + kPanelRows - 1) / kPanelRows; }
  size_t panel_bytes() const;
  const uint8_t* panel(size_t i) const {
    return weights_.as<uint8_t>() + i * panel_bytes();
  }

  void PackPart(const DenseMatrix& part, int first_row, ThreadPool& pool);
  absl::StatusOr<PackedRows> Pack(ThreadPool& pool, std::vector<int> rows,
                                  const float* x, bool as_int16,
                                  MatMulScratch& scratch) const;
  absl::Status Multiply(ThreadPool& pool, std::vector<int> rows, const float* x,
                        bool as_int16, float* y, bool accumulate,
                        MatMulScratch& scratch) const;
  void MultiplyPanels(const PackedRows& packed, size_t first, size_t last,
                      float* y, bool accumulate) const;
  void MultiplyGroup(const PackedRows& packed, int block, PanelType type,
                     const void* const* panels, int count, size_t first,
                     float* y, bool accumulate) const;

  const PanelType type_;
  const int n_;
  const int k_;
  const int padded_k_;  // k rounded up to even
  const ComputeMode mode_;
  const CpuKernels& kernels_;
  HugePageBuffer weights_;         // [panels, padded_k * 16 elements]
  std::vector<float> row_scales_;  // [16 panels] for kInt8, else empty
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_DENSE_LINEAR_H_
