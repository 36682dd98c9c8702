// Products of activations with panels (see kernel_table.h for both), and the
// conversions around them. Included by the kernels_*.cc only.
#ifndef ANYPREC_KERNELS_CPU_PANEL_KERNELS_INL_H_
#define ANYPREC_KERNELS_CPU_PANEL_KERNELS_INL_H_

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/simd.h"

// Internal linkage on purpose: code for one instruction set must not be linked
// into code for another.
// NOLINTBEGIN(google-build-namespaces,misc-definitions-in-headers)
namespace anyprec {
namespace {

// Columns c and c + 1 of a panel, for an even c.
template <PanelType kType>
ANYPREC_INLINE F32x16 LoadEven(const void* panel, int c) {
  const size_t first = static_cast<size_t>(c) * kPanelRows;
  if constexpr (kType == PanelType::kFloat32) {
    return Load(static_cast<const float*>(panel) + first);
  } else if constexpr (kType == PanelType::kFloat16) {
    return LoadF16(static_cast<const uint16_t*>(panel) + first);
  } else if constexpr (kType == PanelType::kBFloat16) {
    return BFloat16Low(LoadInt(static_cast<const uint16_t*>(panel) + first));
  } else {
    return ToFloat(SignExtendLow(
        LoadBytePairs(static_cast<const int8_t*>(panel) + first)));
  }
}
template <PanelType kType>
ANYPREC_INLINE F32x16 LoadOdd(const void* panel, int c) {
  const size_t first = static_cast<size_t>(c) * kPanelRows;
  if constexpr (kType == PanelType::kFloat32) {
    return Load(static_cast<const float*>(panel) + first + kPanelRows);
  } else if constexpr (kType == PanelType::kFloat16) {
    return LoadF16(static_cast<const uint16_t*>(panel) + first + kPanelRows);
  } else if constexpr (kType == PanelType::kBFloat16) {
    return BFloat16High(LoadInt(static_cast<const uint16_t*>(panel) + first));
  } else {
    return ToFloat(SignExtendHigh(
        LoadBytePairs(static_cast<const int8_t*>(panel) + first)));
  }
}

// Panels for a tile of `rows`: the sums, one column of every panel and one
// value of x stay in registers.
constexpr int PanelsForRows(int rows) {
  for (int panels = 4; panels > 1; panels /= 2) {
    if (rows * panels + panels + 1 <= kVectors) return panels;
  }
  return 1;
}

// With 14 rows of two panels, 28 multiply-adds follow on 2 vector loads and 14
// broadcasts: the multipliers, not the load ports, are the limit. With 16
// registers the same holds for 6 rows of one panel.
constexpr int kMaxRows = kVectors == 32 ? 14 : kVectors == 8 ? 6 : 2;

// Few rows: weights come from memory, the prefetcher of which stops at page
// boundaries. 2 KiB ahead is some 100 ns at one core's bandwidth.
template <int kRows>
ANYPREC_INLINE void Prefetch(const void* panel, size_t offset) {
  if constexpr (kRows <= 6) {
    __builtin_prefetch(static_cast<const char*>(panel) + offset + 2048);
  }
}

template <PanelType kType>
constexpr size_t kElementBytes = kType == PanelType::kFloat32 ? 4
                                 : kType == PanelType::kInt8  ? 1
                                                              : 2;

template <PanelType kType, int kRows, int kPanels>
void MultiplyTile(const float* x, const void* const* weights, int k, float* out,
                  size_t out_stride) {
  F32x16 sum[kRows][kPanels];
  const void* panel[kPanels];
  for (int p = 0; p < kPanels; ++p) panel[p] = weights[p];
  for (int m = 0; m < kRows; ++m) {
    for (int p = 0; p < kPanels; ++p) sum[m][p] = Splat(0);
  }
  for (int c = 0; c < k; c += 2, x += 2 * kRows) {
    F32x16 w[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      w[p] = LoadEven<kType>(panel[p], c);
      Prefetch<kRows>(panel[p], c * kPanelRows * kElementBytes<kType>);
    }
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      const F32x16 xm = Splat(x[m]);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        sum[m][p] = MulAdd(xm, w[p], sum[m][p]);
      }
    }
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) w[p] = LoadOdd<kType>(panel[p], c);
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      const F32x16 xm = Splat(x[kRows + m]);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        sum[m][p] = MulAdd(xm, w[p], sum[m][p]);
      }
    }
  }
  for (int m = 0; m < kRows; ++m) {
    for (int p = 0; p < kPanels; ++p) {
      Store(sum[m][p], out + m * out_stride + p * kPanelRows);
    }
  }
}

template <int kRows, int kPanels>
void MultiplyInt16Tile(const int32_t* x, const float* scales,
                       const void* const* weights, int k, float* out,
                       size_t out_stride) {
  const int8_t* panel[kPanels];
  for (int p = 0; p < kPanels; ++p) {
    panel[p] = static_cast<const int8_t*>(weights[p]);
  }
  for (int begin = 0; begin < k; begin += kActivationSegment) {
    const int end =
        begin + kActivationSegment < k ? begin + kActivationSegment : k;
    I32x16 sum[kRows][kPanels];
    for (int m = 0; m < kRows; ++m) {
      for (int p = 0; p < kPanels; ++p) sum[m][p] = ZeroInt();
    }
    for (int c = begin; c < end; c += 2, x += kRows) {
      I32x16 w[kPanels];
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        w[p] = LoadBytePairs(panel[p] + static_cast<size_t>(c) * kPanelRows);
        Prefetch<kRows>(panel[p], static_cast<size_t>(c) * kPanelRows);
      }
#pragma GCC unroll 16
      for (int m = 0; m < kRows; ++m) {
        const I32x16 xm = SplatInt(x[m]);
#pragma GCC unroll 4
        for (int p = 0; p < kPanels; ++p) {
          sum[m][p] = DotPairs(sum[m][p], w[p], xm);
        }
      }
    }
    // Totals stay in `out`: in registers they would leave too few for `sum`.
    for (int m = 0; m < kRows; ++m) {
      const F32x16 scale = Splat(*scales++);
      for (int p = 0; p < kPanels; ++p) {
        float* const total = out + m * out_stride + p * kPanelRows;
        const F32x16 before = begin == 0 ? Splat(0) : Load(total);
        Store(MulAdd(ToFloat(sum[m][p]), scale, before), total);
      }
    }
  }
}

// Calls function.template operator()<rows, panels>() with the constants that
// equal the arguments. REQUIRES: panels is 1 or at most PanelsForRows(rows).
template <int kRows = kMaxRows, typename Function>
ANYPREC_INLINE void WithTile(int rows, int panels, Function function) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return WithTile<kRows - 1>(rows, panels, function);
  }
  constexpr int kMost = PanelsForRows(kRows);
  if constexpr (kMost >= 4) {
    if (panels == 4) return function.template operator()<kRows, 4>();
  }
  if constexpr (kMost >= 2) {
    if (panels == 2) return function.template operator()<kRows, 2>();
  }
  return function.template operator()<kRows, 1>();
}

template <PanelType kType>
void MultiplyType(int rows, int panels, const float* x,
                  const void* const* weights, int k, float* out,
                  size_t out_stride) {
  WithTile(rows, panels, [&]<int kRows, int kPanels>() {
    MultiplyTile<kType, kRows, kPanels>(x, weights, k, out, out_stride);
  });
}

void Multiply(PanelType type, int rows, int panels, const float* x,
              const void* const* weights, int k, float* out,
              size_t out_stride) {
  switch (type) {
    case PanelType::kFloat32:
      return MultiplyType<PanelType::kFloat32>(rows, panels, x, weights, k, out,
                                               out_stride);
    case PanelType::kFloat16:
      return MultiplyType<PanelType::kFloat16>(rows, panels, x, weights, k, out,
                                               out_stride);
    case PanelType::kBFloat16:
      return MultiplyType<PanelType::kBFloat16>(rows, panels, x, weights, k,
                                                out, out_stride);
    case PanelType::kInt8:
      return MultiplyType<PanelType::kInt8>(rows, panels, x, weights, k, out,
                                            out_stride);
  }
}

void MultiplyInt16(int rows, int panels, const int32_t* x, const float* scales,
                   const void* const* weights, int k, float* out,
                   size_t out_stride) {
  WithTile(rows, panels, [&]<int kRows, int kPanels>() {
    MultiplyInt16Tile<kRows, kPanels>(x, scales, weights, k, out, out_stride);
  });
}

template <PanelType kType>
void UnpackType(const void* panel, int k, float* out) {
  for (int c = 0; c < k; c += 2, out += 2 * kPanelRows) {
    Store(LoadEven<kType>(panel, c), out);
    Store(LoadOdd<kType>(panel, c), out + kPanelRows);
  }
}

void Unpack(PanelType type, const void* panel, int k, float* out) {
  switch (type) {
    case PanelType::kFloat32:
      return UnpackType<PanelType::kFloat32>(panel, k, out);
    case PanelType::kFloat16:
      return UnpackType<PanelType::kFloat16>(panel, k, out);
    case PanelType::kBFloat16:
      return UnpackType<PanelType::kBFloat16>(panel, k, out);
    case PanelType::kInt8:
      return UnpackType<PanelType::kInt8>(panel, k, out);
  }
}

// The bits of |x|, as integers: their order is that of |x|, with NaN on top.
ANYPREC_INLINE uint32_t MagnitudeBits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits & 0x7fffffffu;
}

void Quantize(const float* x, int k, int16_t* q, float* scales) {
  for (int begin = 0; begin < k; begin += kActivationSegment) {
    const int size =
        k - begin < kActivationSegment ? k - begin : kActivationSegment;
    uint32_t max_bits = 0;
    for (int i = 0; i < size; ++i) {
      const uint32_t bits = MagnitudeBits(x[begin + i]);
      max_bits = bits > max_bits ? bits : max_bits;
    }
    float max;
    std::memcpy(&max, &max_bits, sizeof(max));
    // Infinity or NaN must show in the result: 0 * max is NaN then.
    const float scale = max / 32767 + 0 * max;
    *scales++ = scale;
    // Below the smallest normal number the quotient would be infinite.
    const float inverse = max >= 1.2e-33f ? 32767 / max : 0;
    const F32x16 factor = Splat(scale == scale ? inverse : 0);
    for (int i = 0; i < size; i += 16) {
      const int lanes = size - i < 16 ? size - i : 16;
      const F32x16 scaled = Mul(LoadFirst(x + begin + i, lanes), factor);
      if (lanes == 16) {
        StoreLow16(ToInt(scaled), q + begin + i);
      } else {
        int16_t last[16];
        StoreLow16(ToInt(scaled), last);
        std::memcpy(q + begin + i, last, lanes * sizeof(*last));
      }
    }
  }
}

void StoreRow(const float* tile, const float* row_scales, int n,
              bool accumulate, float* y) {
  for (int i = 0; i < n; i += 16) {
    const int lanes = n - i < 16 ? n - i : 16;
    F32x16 value = Load(tile + i);
    if (row_scales != nullptr) value = Mul(value, Load(row_scales + i));
    if (accumulate) value = Add(LoadFirst(y + i, lanes), value);
    StoreFirst(value, lanes, y + i);
  }
}

}  // namespace
}  // namespace anyprec
// NOLINTEND(google-build-namespaces,misc-definitions-in-headers)

#endif  // ANYPREC_KERNELS_CPU_PANEL_KERNELS_INL_H_
