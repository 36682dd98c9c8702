// Linear layers of the reference backend: any row of weights, decoded.
#ifndef ANYPREC_KERNELS_REFERENCE_REFERENCE_LINEAR_H_
#define ANYPREC_KERNELS_REFERENCE_REFERENCE_LINEAR_H_

#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.h"

namespace anyprec {

class ReferenceLinear : public LinearWeights {
 public:
  int n() const final { return n_; }
  int k() const final { return k_; }

  // W[row, 0..k) at `precision`, which dense layers ignore.
  // REQUIRES: 0 <= row < n(); `precision` was loaded.
  virtual std::vector<float> Row(int row, int precision) const = 0;

 protected:
  ReferenceLinear(int n, int k) : n_(n), k_(k) {}

 private:
  const int n_;
  const int k_;
};

// REQUIRES: ValidateBitPlanes(parts).ok().
std::unique_ptr<ReferenceLinear> CopyBitPlanes(
    std::span<const QuantizedLinear> parts);

// REQUIRES: ValidateDense(parts).ok().
std::unique_ptr<ReferenceLinear> CopyDense(std::span<const DenseMatrix> parts);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_REFERENCE_REFERENCE_LINEAR_H_
