// What the bit-plane kernels of all instruction sets share: the layout of
// weights in memory, one job, and the table of functions that do it.
//
// Plain structs and function pointers, on purpose: translation units compiled
// for AVX-512 include this header and must hold no inline function that the
// linker could share with the rest of the program.
#ifndef ANYPREC_KERNELS_CPU_BIT_PLANE_KERNELS_H_
#define ANYPREC_KERNELS_CPU_BIT_PLANE_KERNELS_H_

#include <stddef.h>
#include <stdint.h>

namespace anyprec {

// Rows are handled 16 at a time: their results fill one 512-bit vector.
inline constexpr int kTileRows = 16;
// Columns come in chunks of 64, whose indices as bytes fill one vector, and
// eight chunks make a block, of which a row's bits fill one vector.
inline constexpr int kChunkColumns = 64;
inline constexpr int kBlockChunks = 8;
inline constexpr int kBlockColumns = kChunkColumns * kBlockChunks;

// int16 arithmetic stays exact: no partial sum of products, in whatever order,
// leaves the range of int32. Centroids T are at most kMaxCentroid, and the
// scale of a block of activations makes the sum of their magnitudes, divided by
// it, at most kMaxMagnitudeSum: |sum T q| <= 2^12 * sum |q| < 2^31, where q are
// the rounded quotients x / scale and sum |q| <= 523000 + 480 for the at most
// 960 columns of a scale block, below 2^19 even when the fp32 sum of magnitudes
// is off by 960 roundings of 2^-24.
inline constexpr int kMaxCentroid = 1 << 12;
inline constexpr float kMaxMagnitudeSum = 523000.0f;
inline constexpr float kMaxInt16 = 32767.0f;
// Blocks of smaller scales, which do not arise, count as zero, so that the
// reciprocal of the scale stays finite.
inline constexpr float kMinScale = 0x1p-100f;

// Up to kByteTableBits bits centroids are at most kMaxByteCentroid, so that
// they fit a byte and a batch takes half the products (bit_plane_amx.cc). That
// raises the perplexity of SmolLM2-135M (WikiText-2, five windows of 2048) by
// 0.2, 0.6 and 0.6 % at 3, 4 and 5 bits.
inline constexpr int kByteTableBits = 5;
inline constexpr int kMaxByteCentroid = 127;

// The weights of a layer at one precision, packed for these kernels.
//
// Planes. K is padded to whole chunks, n to whole tiles. A plane is a sequence
// of tiles; a tile is `blocks` blocks of [16 rows][64 bytes] followed by
// `tail_chunks` chunks of [16 rows][8 bytes], so a thread reads each plane in
// one direction. In a tail chunk, byte c of a row holds columns 8 c .. 8 c + 7.
// In a block the bytes of a row are permuted so that interleaving planes byte
// by byte within 128-bit lanes, which is all that unpack instructions can do,
// ends with the columns in order:
//
//   stored byte  bits 5 4 | 3 2 | 1 | 0       holds the row's byte
//                     l      g    e   h       16 g + 8 (1 - h) + 2 l + e
//
// Tables, 2^precision 16-bit values a row: int16 centroids or, in kFloat32
// mode, the codebook's fp16. Up to 5 bits as words, from 6 bits on as all low
// bytes followed by all high bytes.
//
// A *scale block* shares one scale of int16 activations and one int32 sum. It
// is a block; the tail belongs to the last one, or is one by itself where
// there is no block.
struct PackedWeights {
  const uint8_t* planes[8];  // [0, precision), 64-byte aligned
  const uint8_t* tables;     // [16 tiles, 2 << precision bytes]
  const float* row_scales;   // [16 tiles]; W = table value * scale
  int precision;
  int n;
  int k;
  int tiles;         // ceil(n / 16)
  int chunks;        // ceil(k / 64)
  int blocks;        // chunks / 8
  int tail_chunks;   // chunks % 8
  int scale_blocks;  // max(blocks, 1)
};

// y[rows, n] = x[rows, k] * W^T, or += where `accumulate`.
struct BitPlaneJob {
  PackedWeights weights;
  const float* x;
  float* y;
  int rows;
  bool accumulate;
  uint8_t* packed_x;  // packed_bytes() of scratch, 64-byte aligned
};

// Rows of x that Pack takes at a time; calls for other ranges may run in
// parallel.
inline constexpr int kPackRows = 16;

// One way to do a job: Pack all rows, then Multiply all tiles. A row's result
// does not depend on the job's other rows nor on how the tiles are divided.
struct BitPlaneProduct {
  size_t (*packed_bytes)(const BitPlaneJob& job);
  // Rows [begin, end); begin is a multiple of kPackRows, and so is end unless
  // it is job.rows.
  void (*pack)(const BitPlaneJob& job, int begin, int end);
  void (*multiply)(const BitPlaneJob& job, int first_tile, int last_tile);
};

// All ways of one instruction set.
struct BitPlaneKernels {
  BitPlaneProduct decode_int16;
  BitPlaneProduct decode_float32;
  BitPlaneProduct prefill_int16;
  BitPlaneProduct prefill_float32;
};

BitPlaneKernels PortableBitPlaneKernels();

// REQUIRES (to call the functions): the machine has the instruction set.
BitPlaneKernels Avx2BitPlaneKernels();

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_BIT_PLANE_KERNELS_H_
