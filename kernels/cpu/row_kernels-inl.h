// Attention's inner loops, norms, rotations and activations. Included by the
// kernels_*.cc only.
#ifndef ANYPREC_KERNELS_CPU_ROW_KERNELS_INL_H_
#define ANYPREC_KERNELS_CPU_ROW_KERNELS_INL_H_

#include "kernels/cpu/binary_coded_kernels-inl.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/panel_kernels-inl.h"
#include "kernels/cpu/simd.h"

// Internal linkage on purpose: code for one instruction set must not be linked
// into code for another.
// NOLINTBEGIN(google-build-namespaces,misc-definitions-in-headers)
namespace anyprec {
namespace {

float Softmax(const KeyRange& range, float* scores, float* max, float* sum) {
  const float old_max = *max;
  F32x16 max_lanes = Splat(old_max);
  for (int p = 0; p < kKeyPanels; ++p) {
    if (range.end[p] == 0) continue;
    const F32x16 score = Load(scores + p * kPanelRows);
    max_lanes = Max(max_lanes, Blend(range.end[p], score, Splat(old_max)));
  }
  const float new_max = MaxLane(max_lanes);
  F32x16 sum_lanes = Splat(0);
  for (int p = 0; p < kKeyPanels; ++p) {
    if (range.end[p] == 0) continue;
    const F32x16 score = Load(scores + p * kPanelRows);
    const F32x16 weight = Exp(Sub(score, Splat(new_max)));
    sum_lanes = Add(sum_lanes, Blend(range.end[p], weight, Splat(0)));
    Store(weight, scores + p * kPanelRows);
  }
  const float rescale = FirstLane(Exp(Splat(old_max - new_max)));
  *max = new_max;
  *sum = *sum * rescale + SumLanes(sum_lanes);
  return rescale;
}

template <PanelType kType, int kRows, int kPanels>
void AccumulateTile(const KeyRange& range, const float* weights,
                    const float* rescale, const void* const* values, int width,
                    int first_column, float* out) {
  F32x16 sum[kRows][kPanels];
  for (int m = 0; m < kRows; ++m) {
    for (int p = 0; p < kPanels; ++p) {
      sum[m][p] =
          Mul(Load(out + m * width + p * kPanelRows), Splat(rescale[m]));
    }
  }
  for (int key_panel = 0; key_panel < kKeyPanels; ++key_panel) {
    const int end = range.end[key_panel];
    for (int t = range.begin[key_panel]; t < end; ++t) {
      const size_t first = static_cast<size_t>(t) * width + first_column;
      const float* weight = weights + key_panel * kPanelRows + t;
      F32x16 v[kPanels];
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        if constexpr (kType == PanelType::kFloat16) {
          v[p] = LoadF16(static_cast<const uint16_t*>(values[key_panel]) +
                         first + p * kPanelRows);
        } else {
          v[p] = Load(static_cast<const float*>(values[key_panel]) + first +
                      p * kPanelRows);
        }
      }
#pragma GCC unroll 16
      for (int m = 0; m < kRows; ++m) {
        const F32x16 weight_m = Splat(weight[m * kKeyChunk]);
#pragma GCC unroll 4
        for (int p = 0; p < kPanels; ++p) {
          sum[m][p] = MulAdd(weight_m, v[p], sum[m][p]);
        }
      }
    }
  }
  for (int m = 0; m < kRows; ++m) {
    for (int p = 0; p < kPanels; ++p) {
      Store(sum[m][p], out + m * width + p * kPanelRows);
    }
  }
}

void AccumulateValues(PanelType type, int rows, const KeyRange& range,
                      const float* weights, const float* rescale,
                      const void* const* values, int width, float* out) {
  const int most = PanelsForRows(rows);
  for (int column = 0; column < width;) {
    int panels = most;
    while (panels * kPanelRows > width - column) panels /= 2;
    WithTile(rows, panels, [&]<int kRows, int kPanels>() {
      if (type == PanelType::kFloat16) {
        AccumulateTile<PanelType::kFloat16, kRows, kPanels>(
            range, weights, rescale, values, width, column, out + column);
      } else {
        AccumulateTile<PanelType::kFloat32, kRows, kPanels>(
            range, weights, rescale, values, width, column, out + column);
      }
    });
    column += panels * kPanelRows;
  }
}

void RmsNorm(const float* x, const float* weight, int n, float epsilon,
             float* y) {
  // Four sums: a chain of one would wait for each multiply-add in turn.
  F32x16 sum[4] = {Splat(0), Splat(0), Splat(0), Splat(0)};
  int i = 0;
  for (; i + 64 <= n; i += 64) {
    for (int j = 0; j < 4; ++j) {
      const F32x16 value = Load(x + i + 16 * j);
      sum[j] = MulAdd(value, value, sum[j]);
    }
  }
  for (; i < n; i += 16) {
    const F32x16 value = LoadFirst(x + i, n - i < 16 ? n - i : 16);
    sum[0] = MulAdd(value, value, sum[0]);
  }
  const float squares = SumLanes(Add(Add(sum[0], sum[1]), Add(sum[2], sum[3])));
  const F32x16 scale =
      Splat(1 / __builtin_sqrtf(squares / static_cast<float>(n) + epsilon));
  for (i = 0; i < n; i += 16) {
    const int lanes = n - i < 16 ? n - i : 16;
    const F32x16 value = Mul(LoadFirst(x + i, lanes), scale);
    StoreFirst(Mul(value, LoadFirst(weight + i, lanes)), lanes, y + i);
  }
}

void SiluMul(const float* gate, const float* up, int n, float* y) {
  for (int i = 0; i < n; i += 16) {
    const int lanes = n - i < 16 ? n - i : 16;
    const F32x16 g = LoadFirst(gate + i, lanes);
    const F32x16 e = Exp(Sub(Splat(0), g));
    const F32x16 silu = Div(g, Add(Splat(1), e));
    StoreFirst(Mul(silu, LoadFirst(up + i, lanes)), lanes, y + i);
  }
}

void Rotate(const float* rope, int head_dim, float* head) {
  const int half = head_dim / 2;
  for (int i = 0; i < half; i += 16) {
    const int lanes = half - i < 16 ? half - i : 16;
    const F32x16 cos = LoadFirst(rope + i, lanes);
    const F32x16 sin = LoadFirst(rope + half + i, lanes);
    const F32x16 a = LoadFirst(head + i, lanes);
    const F32x16 b = LoadFirst(head + half + i, lanes);
    StoreFirst(Sub(Mul(a, cos), Mul(b, sin)), lanes, head + i);
    StoreFirst(MulAdd(b, cos, Mul(a, sin)), lanes, head + half + i);
  }
}

void ToFloat16Row(const float* x, int n, uint16_t* y) {
  int i = 0;
  for (; i + 16 <= n; i += 16) StoreF16(Load(x + i), y + i);
  if (i == n) return;
  uint16_t last[16];
  StoreF16(LoadFirst(x + i, n - i), last);
  std::memcpy(y + i, last, (n - i) * sizeof(*last));
}

constexpr CpuKernels kKernels = {
    .max_rows = kMaxRows,
    .panels_for_rows = PanelsForRows,
    .multiply = Multiply,
    .multiply_int16 = MultiplyInt16,
    .unpack = Unpack,
    .quantize = Quantize,
    .store = StoreRow,
    .table_floats = kWordFloats,
    .build_tables = BuildTables,
    .multiply_by_tables = MultiplyByTables,
    .decode_binary_coded = DecodeBinaryCoded,
    .softmax = Softmax,
    .accumulate_values = AccumulateValues,
    .rms_norm = RmsNorm,
    .silu_mul = SiluMul,
    .rotate = Rotate,
    .to_float16 = ToFloat16Row,
};

}  // namespace
}  // namespace anyprec
// NOLINTEND(google-build-namespaces,misc-definitions-in-headers)

#endif  // ANYPREC_KERNELS_CPU_ROW_KERNELS_INL_H_
