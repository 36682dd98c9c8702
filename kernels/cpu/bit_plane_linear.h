// BitPlaneLinear: a layer of bit planes with codebooks in CPU memory and its
// products.
//
// Guarantees: a row's result depends on that row, its precision and its phase
// alone, bit for bit: not on the other rows of the call, the threads, or the
// order of groups. In kInt16 mode decode rows agree between instruction sets
// up to the rounding of one activation scale.
//
// Accuracy. kFloat32 multiplies the codebook's fp16 values with fp32
// activations, exactly but for the rounding of fp32 sums. kInt16 rounds
// centroids to multiples of 1/4096 of the row's largest, up to 5 bits of 1/96
// to 1/127 of it, and activations to multiples of some 1/1000 of a block's mean
// magnitude: 3e-4 (RMS) of the result for Gaussian data, up to 5 bits 3e-3 to
// 6e-3. Prefill rows in kInt16 mode are computed as the machine does it
// fastest: with AVX-512 up to 4 bits with activations in int8, 1/127 of the
// largest of 64, or with AMX of 192; above with AMX in bfloat16 with fp32 sums;
// else in int16.
#ifndef ANYPREC_KERNELS_CPU_BIT_PLANE_LINEAR_H_
#define ANYPREC_KERNELS_CPU_BIT_PLANE_LINEAR_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/bit_plane.h"
#include "kernels/cpu/bit_plane_kernels.h"
#include "kernels/cpu/cpu_linear.h"
#include "kernels/cpu/huge_pages.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"

namespace anyprec {

// Immutable, so safe to read from many threads.
class BitPlaneLinear final : public CpuLinear {
 public:
  // Stacks `parts` along n and copies them; the views may die afterwards.
  // INVALID_ARGUMENT as ValidateBitPlanes says, RESOURCE_EXHAUSTED.
  // REQUIRES: the first part has codebooks; the machine runs `isa`, which is
  // kAvx512 where `amx` is to take effect, and AMX.
  static absl::StatusOr<std::unique_ptr<BitPlaneLinear>> Create(
      std::span<const QuantizedLinear> parts, ComputeMode mode, Isa isa,
      bool amx = HasAmx());

  int n() const override { return n_; }
  int k() const override { return k_; }
  // p planes of n x k bits, 2^p centroids of 16 bits and one fp32 scale a row;
  // n rounded up to 16 and k to 64.
  size_t BytesRead(int precision) const override;
  size_t BytesResident() const override;

  // True where Create was given a codebook for `precision`.
  bool HasPrecision(int precision) const;

  absl::Status MatMul(ThreadPool& pool, std::span<const RowGroup> groups,
                      const float* x, float* y, bool accumulate,
                      MatMulScratch& scratch) const override;

 private:
  // Centroids of one precision.
  struct Tables {
    HugePageBuffer data;
    HugePageBuffer row_scales;
  };

  BitPlaneLinear(int n, int k, ComputeMode mode, const BitPlaneKernels& kernels)
      : n_(n), k_(k), mode_(mode), kernels_(kernels) {}

  absl::Status PackPlanes(std::span<const QuantizedLinear> parts);
  absl::Status PackTables(std::span<const QuantizedLinear> parts, int codebook);

  // The view of an empty layer: shape and no pointers.
  PackedWeights Shape() const;
  PackedWeights View(int precision) const;
  const BitPlaneProduct& Product(Phase phase) const;

  const int n_;
  const int k_;
  const ComputeMode mode_;
  const BitPlaneKernels kernels_;
  std::vector<HugePageBuffer> planes_;
  std::array<Tables, kMaxBits + 1> tables_;  // by precision
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_BIT_PLANE_LINEAR_H_
