// BinaryCodedLinear: a layer of bit planes with scales (AnyBCQ) in CPU memory
// and its products.
//
// Guarantees: a row's result depends on that row, its precision and its phase
// alone, bit for bit: not on the other rows of the call, the threads, or the
// order of groups.
//
// Accuracy. Everything is fp32, in every compute mode: exact but for the
// rounding of sums. A decode row never forms a weight: it adds up, for each
// group, alpha * (sum of +-x) of every plane and beta * (sum of x). Prefill
// rows multiply weights decoded to fp32.
#ifndef ANYPREC_KERNELS_CPU_BINARY_CODED_LINEAR_H_
#define ANYPREC_KERNELS_CPU_BINARY_CODED_LINEAR_H_

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/bit_plane.h"
#include "kernels/cpu/cpu_linear.h"
#include "kernels/cpu/huge_pages.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/thread_pool.h"

namespace anyprec {

// Immutable, so safe to read from many threads.
class BinaryCodedLinear final : public CpuLinear {
 public:
  // Stacks `parts` along n and copies them; the views may die afterwards.
  // INVALID_ARGUMENT as ValidateBitPlanes says, RESOURCE_EXHAUSTED.
  // REQUIRES: the first part has scales; the machine runs `isa`.
  static absl::StatusOr<std::unique_ptr<BinaryCodedLinear>> Create(
      std::span<const QuantizedLinear> parts, Isa isa);

  int n() const override { return n_; }
  int k() const override { return k_; }
  // p planes of n x k bits, and p + 1 scales of 16 bits a row and group; n
  // rounded up to 16.
  size_t BytesRead(int precision) const override;
  size_t BytesResident() const override;

  // True where Create was given scales for `precision`.
  bool HasPrecision(int precision) const;

  absl::Status MatMul(ThreadPool& pool, std::span<const RowGroup> groups,
                      const float* x, float* y, bool accumulate,
                      MatMulScratch& scratch) const override;

 private:
  struct PackedRows;

  BinaryCodedLinear(int n, int k, int group_size, const CpuKernels& kernels)
      : n_(n), k_(k), group_size_(group_size), kernels_(kernels) {}

  int tiles() const { return (n_ + kPanelRows - 1) / kPanelRows; }
  int groups() const { return GroupCount(k_, group_size_); }
  BinaryCodedTile Tile(int precision, size_t tile) const;

  absl::Status PackPlanes(std::span<const QuantizedLinear> parts);
  absl::Status PackScales(std::span<const QuantizedLinear> parts, int index);

  // The rows of one group: `x` and `y` point at its first.
  absl::Status MultiplyByTables(ThreadPool& pool, const RowGroup& group,
                                const float* x, float* y, bool accumulate,
                                MatMulScratch& scratch) const;
  absl::Status MultiplyDecoded(ThreadPool& pool, const RowGroup& group,
                               const float* x, float* y, bool accumulate,
                               MatMulScratch& scratch) const;
  void MultiplyTiles(const PackedRows& packed, int precision, size_t first,
                     size_t last, float* y, bool accumulate) const;

  const int n_;
  const int k_;
  const int group_size_;
  const CpuKernels& kernels_;
  std::vector<HugePageBuffer> planes_;  // each [tiles, k / 32, 16] words
  // By precision: fp16 [tiles, groups, 1 + precision, 16], betas first.
  std::array<HugePageBuffer, kMaxBits + 1> scales_;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_BINARY_CODED_LINEAR_H_
