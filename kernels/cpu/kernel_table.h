// The kernels of one instruction set, as function pointers on raw memory.
//
// Matrices are read as panels: sixteen consecutive output rows, interleaved, so
// that one vector holds one input column of sixteen outputs. Every sum of
// products then runs over k in order within its own lane, with no reduction
// across lanes: the bits of y[row][i] depend on no other row, however many rows
// and panels a kernel takes at a time.
//
//   fp32, fp16     [k][16]           16 outputs of column 0, of column 1, ...
//   bf16, int8     [k / 2][16][2]    pairs of columns, as dot products of
//                                    pairs want them
//
// k is even here; odd ones are padded with a zero column.
#ifndef ANYPREC_KERNELS_CPU_KERNEL_TABLE_H_
#define ANYPREC_KERNELS_CPU_KERNEL_TABLE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa.h"

namespace anyprec {

inline constexpr int kPanelRows = 16;

enum class PanelType { kFloat32, kFloat16, kBFloat16, kInt8 };

// Columns of activations that share a scale: an int32 lane holds the sum of 512
// products of 8 and 16 bits, 2^31 - 65536 at most, without overflow.
inline constexpr int kActivationSegment = 512;

// Keys whose scores are held at a time, and panels of them.
inline constexpr int kKeyPanels = 8;
inline constexpr int kKeyChunk = kKeyPanels * kPanelRows;

// The tokens [begin, end) of each key panel of a chunk.
struct KeyRange {
  int begin[kKeyPanels];
  int end[kKeyPanels];
};

// Sixteen rows of a binary-coded layer at one precision. Bit j of word w is
// column 32 w + j, so that one vector holds 32 columns of sixteen rows.
struct BinaryCodedTile {
  int precision;
  int k;
  int group_size;
  const uint32_t* planes[8];  // each [k / 32][16], most significant bit first
  const uint16_t* scales;     // fp16 [groups][1 + precision][16]: beta, alphas
};

struct CpuKernels {
  // Most activation rows that the products below take at a time.
  int max_rows;
  // Panels that they take at best (1, 2 or 4) with that many rows.
  int (*panels_for_rows)(int rows);

  // out[m][16 p + i] = sum over c < k of x[c][m] * panel_p[c][i].
  //   x    [k, rows]
  //   out  [rows, out_stride]
  void (*multiply)(PanelType type, int rows, int panels, const float* x,
                   const void* const* weights, int k, float* out,
                   size_t out_stride);
  // The same for int8 panels and quantized x, summed in int32 per segment.
  //   x       [k / 2, rows] pairs of int16, the first column in the lower half
  //   scales  [ceil(k / kActivationSegment), rows]
  void (*multiply_int16)(int rows, int panels, const int32_t* x,
                         const float* scales, const void* const* weights, int k,
                         float* out, size_t out_stride);
  // One panel as fp32.
  void (*unpack)(PanelType type, const void* panel, int k, float* out);
  // q = x / scale, scale = max |x| / 32767 in each segment of k columns; NaN if
  // x is not finite there.
  void (*quantize)(const float* x, int k, int16_t* q, float* scales);
  // y[i] = tile[i] * row_scales[i], or y[i] += that, for i < n. A null
  // `row_scales` means 1.
  void (*store)(const float* tile, const float* row_scales, int n,
                bool accumulate, float* y);

  // Products of one row with binary-coded tiles, by tables of sums of x.
  //   tables  [k / 32][table_floats]: for each few columns, all sums of +-x
  //   sums    [groups]: x summed over a group
  int table_floats;
  void (*build_tables)(const float* x, int k, int group_size, float* tables,
                       float* sums);
  // out[i] = sum over c < k of x[c] * W[i][c], for the sixteen rows i.
  void (*multiply_by_tables)(const BinaryCodedTile& tile, const float* tables,
                             const float* sums, float* out);
  // Columns [begin, end) as an fp32 panel. REQUIRES: multiples of 32.
  void (*decode_binary_coded)(const BinaryCodedTile& tile, int begin, int end,
                              float* panel);

  // One step of an online softmax over a chunk of keys, for one query:
  // scores[i] becomes exp(scores[i] - max) for the tokens in `range`, and
  // `max` and `sum` are brought forward. Returns what earlier sums shrink by.
  float (*softmax)(const KeyRange& range, float* scores, float* max,
                   float* sum);
  // out[m] = out[m] * rescale[m] + sum over t in range of weights[m][t] *
  // values[t], t ascending.
  //   weights  [rows, kKeyChunk]
  //   values   for each key panel, [tokens, width], fp32 or fp16
  //   out      [rows, width], width a multiple of 16
  void (*accumulate_values)(PanelType type, int rows, const KeyRange& range,
                            const float* weights, const float* rescale,
                            const void* const* values, int width, float* out);

  // Backend::RmsNorm, SiluMul of one row; Rotate of one head.
  void (*rms_norm)(const float* x, const float* weight, int n, float epsilon,
                   float* y);
  void (*silu_mul)(const float* gate, const float* up, int n, float* y);
  void (*rotate)(const float* rope, int head_dim, float* head);
  // y = x, rounded to fp16.
  void (*to_float16)(const float* x, int n, uint16_t* y);
};

// REQUIRES: this machine runs `isa`.
const CpuKernels& KernelsFor(Isa isa);

// What KernelsFor chooses from, each from a translation unit of its own.
const CpuKernels& PortableKernels();
const CpuKernels& Avx2Kernels();
const CpuKernels& Avx512Kernels();

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_KERNEL_TABLE_H_
