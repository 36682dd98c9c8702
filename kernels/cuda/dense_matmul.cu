#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/check.h"
#include "kernels/cuda/dense_matmul.cuh"
#include "kernels/cuda/launch.cuh"

namespace anyprec {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;

// Rows of W that a warp takes at once: it then has 4 reads of 512 bytes under
// way, and reads each activation once for 4 weights.
constexpr int kOutputs = 4;
// Rows of x that share one reading of the weights, at most: a warp's sums are
// then as many as its lanes, each of which stores one.
constexpr int kMaxRows = 8;
static_assert(kOutputs * kMaxRows == 32);

// 16 bytes of a row of W.
template <class Element>
struct Piece {
  static constexpr int kColumns = 16 / sizeof(Element);
  Element elements[kColumns];
};

__device__ __forceinline__ float ToFp32(float value) { return value; }
__device__ __forceinline__ float ToFp32(__half value) {
  return __half2float(value);
}
__device__ __forceinline__ float ToFp32(__nv_bfloat16 value) {
  return __bfloat162float(value);
}
__device__ __forceinline__ float ToFp32(int8_t value) {
  return static_cast<float>(value);
}

// Elements [column, column + kColumns) of row[k], zero beyond its end.
// REQUIRES: kAligned says that rows begin and end at multiples of 16 bytes.
template <bool kAligned, class Element>
__device__ __forceinline__ Piece<Element> LoadPiece(const Element* row,
                                                    int column, int k) {
  Piece<Element> piece;
  if constexpr (kAligned) {
    const uint4 bits = *reinterpret_cast<const uint4*>(row + column);
    memcpy(&piece, &bits, sizeof(piece));
  } else {
#pragma unroll
    for (int i = 0; i < Piece<Element>::kColumns; ++i) {
      piece.elements[i] = column + i < k ? row[column + i] : Element{};
    }
  }
  return piece;
}

// One output row of W for each sum, in a layer's memory.
template <class Element>
struct OutputRows {
  const Element* row[kOutputs];
};

// Adds the products of columns [column, + kColumns) to
// sums[output * kRows + row].
template <bool kAligned, int kRows, class Element>
__device__ __forceinline__ void AddPieces(const OutputRows<Element>& w,
                                          const float* x, int rows, int column,
                                          int k,
                                          float (&sums)[kOutputs * kRows]) {
  Piece<Element> pieces[kOutputs];
#pragma unroll
  for (int output = 0; output < kOutputs; ++output) {
    pieces[output] = LoadPiece<kAligned>(w.row[output], column, k);
  }
#pragma unroll
  for (int first = 0; first < Piece<Element>::kColumns; first += 4) {
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      if (m >= rows) continue;
      const Piece<float> four = LoadPiece<kAligned>(
          x + static_cast<size_t>(m) * k, column + first, k);
#pragma unroll
      for (int output = 0; output < kOutputs; ++output) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float& sum = sums[output * kRows + m];
          sum = fmaf(ToFp32(pieces[output].elements[first + i]),
                     four.elements[i], sum);
        }
      }
    }
  }
}

// Adds up each of `sums` over the warp's lanes and returns one of them: number
// lane * kCount / 32. Lanes that differ in one bit of their number, first the
// highest, exchange the half of the sums that is the other's, until each has
// one left, which they add up together. In whatever way the sums are divided,
// each is added up in the same order.
template <int kCount>
__device__ __forceinline__ float SumOverWarp(float (&sums)[kCount], int lane) {
#pragma unroll
  for (int level = 0; level < 5; ++level) {
    const int distance = 16 >> level;
    const int half = (kCount >> level) / 2;
    const bool upper = (lane & distance) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float own = upper ? sums[i + half] : sums[i];
      const float given = upper ? sums[i] : sums[i + half];
      sums[i] = own + __shfl_xor_sync(~0u, given, distance);
    }
    if (half == 0) sums[0] += __shfl_xor_sync(~0u, sums[0], distance);
  }
  return sums[0];
}

// Block (8 warps of 4 rows of W each, slice of kRows rows of x).
template <class Element, int kRows, bool kAligned>
__global__ void __launch_bounds__(kThreads)
    MultiplyKernel(const Element* w, const float* row_scales, int n, int k,
                   const float* x, LaunchRows launch_rows, float* y,
                   bool accumulate) {
  const int rows = launch_rows.live();
  const int lane = threadIdx.x % 32;
  const int first_output =
      (blockIdx.x * kWarps + static_cast<int>(threadIdx.x) / 32) * kOutputs;
  const int first_row = blockIdx.y * kRows;
  if (first_output >= n || first_row >= rows) return;
  x += static_cast<size_t>(first_row) * k;
  OutputRows<Element> outputs;
#pragma unroll
  for (int i = 0; i < kOutputs; ++i) {
    // Beyond the last row its sum is computed again, and not stored.
    const int row = first_output + i < n ? first_output + i : n - 1;
    outputs.row[i] = w + static_cast<size_t>(row) * k;
  }

  constexpr int kColumns = Piece<Element>::kColumns;
  float sums[kOutputs * kRows] = {};
  for (int column = lane * kColumns; column < k; column += 32 * kColumns) {
    AddPieces<kAligned, kRows>(outputs, x, rows - first_row, column, k, sums);
  }

  const float sum = SumOverWarp(sums, lane);
  constexpr int kLanesPerSum = 32 / (kOutputs * kRows);
  const int output = first_output + lane / kLanesPerSum / kRows;
  const int row = first_row + lane / kLanesPerSum % kRows;
  if (lane % kLanesPerSum != 0 || output >= n || row >= rows) return;
  const float scale = row_scales == nullptr ? 1 : row_scales[output];
  float& out = y[static_cast<size_t>(row) * n + output];
  out = fmaf(sum, scale, accumulate ? out : 0);
}

// One block for each id.
template <class Element>
__global__ void __launch_bounds__(kThreads)
    EmbedKernel(const Element* w, const float* row_scales, int k,
                const int32_t* ids, LaunchRows count, float* y) {
  if (static_cast<int>(blockIdx.x) >= count.live()) return;
  const int32_t id = ids[blockIdx.x];
  const Element* row = w + static_cast<size_t>(id) * k;
  y += static_cast<size_t>(blockIdx.x) * k;
  for (int i = threadIdx.x; i < k; i += kThreads) {
    const float value = ToFp32(row[i]);
    y[i] = row_scales == nullptr ? value : value * row_scales[id];
  }
}

// Calls function(data) with the type that it points at.
template <class Function>
cudaError_t WithElements(const DenseWeights& weights,
                         const Function& function) {
  ANYPREC_CHECK((weights.row_scales != nullptr) ==
                (weights.type == DenseMatrix::Type::kInt8))
      << "int8 layers have scales, others none";
  switch (weights.type) {
    case DenseMatrix::Type::kFloat32:
      return function(static_cast<const float*>(weights.data));
    case DenseMatrix::Type::kFloat16:
      return function(static_cast<const __half*>(weights.data));
    case DenseMatrix::Type::kBFloat16:
      return function(static_cast<const __nv_bfloat16*>(weights.data));
    case DenseMatrix::Type::kInt8:
      return function(static_cast<const int8_t*>(weights.data));
  }
  ANYPREC_CHECK(false) << "unknown type";
  return cudaErrorInvalidValue;
}

// The arguments of one product beside the weights.
struct Product {
  const float* x;
  LaunchRows rows;
  float* y;
  bool accumulate;
  cudaStream_t stream;
};

template <int kRows, bool kAligned>
cudaError_t LaunchMultiply(const DenseWeights& weights,
                           const Product& product) {
  constexpr int kBlockOutputs = kWarps * kOutputs;
  const dim3 grid((weights.n + kBlockOutputs - 1) / kBlockOutputs,
                  (product.rows.count() + kRows - 1) / kRows);
  return WithElements(weights, [&](auto* data) {
    using Element = std::remove_const_t<std::remove_pointer_t<decltype(data)>>;
    return Launch(&MultiplyKernel<Element, kRows, kAligned>, grid,
                  dim3(kThreads), 0, product.stream, data, weights.row_scales,
                  weights.n, weights.k, product.x, product.rows, product.y,
                  product.accumulate);
  });
}

template <bool kAligned>
cudaError_t LaunchMultiply(const DenseWeights& weights,
                           const Product& product) {
  const int rows = product.rows.count();
  if (rows == 1) return LaunchMultiply<1, kAligned>(weights, product);
  if (rows == 2) return LaunchMultiply<2, kAligned>(weights, product);
  if (rows <= 4) return LaunchMultiply<4, kAligned>(weights, product);
  return LaunchMultiply<kMaxRows, kAligned>(weights, product);
}

bool RowsAreAligned(const DenseWeights& weights, const float* x) {
  // A row of x is a multiple of a row of W.
  return weights.k * ElementBytes(weights.type) % 16 == 0 &&
         reinterpret_cast<uintptr_t>(weights.data) % 16 == 0 &&
         reinterpret_cast<uintptr_t>(x) % 16 == 0;
}

}  // namespace

size_t ElementBytes(DenseMatrix::Type type) {
  switch (type) {
    case DenseMatrix::Type::kFloat32:
      return 4;
    case DenseMatrix::Type::kFloat16:
    case DenseMatrix::Type::kBFloat16:
      return 2;
    case DenseMatrix::Type::kInt8:
      return 1;
  }
  ANYPREC_CHECK(false) << "unknown type";
  return 0;
}

cudaError_t MultiplyDense(const DenseWeights& weights, const float* x,
                          LaunchRows rows, float* y, bool accumulate,
                          cudaStream_t stream) {
  if (rows.count() == 0) return cudaSuccess;
  const Product product = {x, rows, y, accumulate, stream};
  return RowsAreAligned(weights, x) ? LaunchMultiply<true>(weights, product)
                                    : LaunchMultiply<false>(weights, product);
}

cudaError_t EmbedDense(const DenseWeights& weights, const int32_t* ids,
                       LaunchRows count, float* y, cudaStream_t stream) {
  if (count.count() == 0) return cudaSuccess;
  return WithElements(weights, [&](auto* data) {
    using Element = std::remove_const_t<std::remove_pointer_t<decltype(data)>>;
    return Launch(&EmbedKernel<Element>, dim3(count.count()), dim3(kThreads), 0,
                  stream, data, weights.row_scales, weights.k, ids, count, y);
  });
}

}  // namespace anyprec
