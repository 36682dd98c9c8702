#include "runtime/format/gguf_dequantize.h"

#include <cstdint>
#include <cstring>

#include "kernels/check.h"
#include "kernels/types.h"

namespace anyprec {
namespace {

template <typename T>
T LoadAs(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

float LoadHalf(const uint8_t* data) { return ToFloat(LoadAs<Float16>(data)); }

// The simple types hold 32 values a block; byte j of a block's nibbles has
// value j in its low half and value j + 16 in its high half.
constexpr int kHalfBlock = 16;

// Q4_0: d:f16 nibbles:u8[16];            x = d (q - 8)
void DequantizeQ4_0(const uint8_t* block, float* x) {
  const float d = LoadHalf(block);
  const uint8_t* nibbles = block + 2;
  for (int j = 0; j < kHalfBlock; ++j) {
    x[j] = d * static_cast<float>((nibbles[j] & 0xf) - 8);
    x[j + kHalfBlock] = d * static_cast<float>((nibbles[j] >> 4) - 8);
  }
}

// Q4_1: d:f16 m:f16 nibbles:u8[16];      x = d q + m
void DequantizeQ4_1(const uint8_t* block, float* x) {
  const float d = LoadHalf(block);
  const float m = LoadHalf(block + 2);
  const uint8_t* nibbles = block + 4;
  for (int j = 0; j < kHalfBlock; ++j) {
    x[j] = d * static_cast<float>(nibbles[j] & 0xf) + m;
    x[j + kHalfBlock] = d * static_cast<float>(nibbles[j] >> 4) + m;
  }
}

// The 5-bit types keep bit 4 of value j as bit j of `high`.
int FiveBits(uint8_t nibble, uint32_t high, int j) {
  return nibble | static_cast<int>((high >> j & 1u) << 4);
}

// Q5_0: d:f16 high:u32 nibbles:u8[16];   x = d (q - 16)
void DequantizeQ5_0(const uint8_t* block, float* x) {
  const float d = LoadHalf(block);
  const auto high = LoadAs<uint32_t>(block + 2);
  const uint8_t* nibbles = block + 6;
  for (int j = 0; j < kHalfBlock; ++j) {
    const int low = FiveBits(nibbles[j] & 0xf, high, j);
    const int up = FiveBits(nibbles[j] >> 4, high, j + kHalfBlock);
    x[j] = d * static_cast<float>(low - 16);
    x[j + kHalfBlock] = d * static_cast<float>(up - 16);
  }
}

// Q5_1: d:f16 m:f16 high:u32 nibbles:u8[16];  x = d q + m
void DequantizeQ5_1(const uint8_t* block, float* x) {
  const float d = LoadHalf(block);
  const float m = LoadHalf(block + 2);
  const auto high = LoadAs<uint32_t>(block + 4);
  const uint8_t* nibbles = block + 8;
  for (int j = 0; j < kHalfBlock; ++j) {
    const int low = FiveBits(nibbles[j] & 0xf, high, j);
    const int up = FiveBits(nibbles[j] >> 4, high, j + kHalfBlock);
    x[j] = d * static_cast<float>(low) + m;
    x[j + kHalfBlock] = d * static_cast<float>(up) + m;
  }
}

// Q8_0: d:f16 q:i8[32];                  x = d q
void DequantizeQ8_0(const uint8_t* block, float* x) {
  const float d = LoadHalf(block);
  for (int j = 0; j < 2 * kHalfBlock; ++j) {
    x[j] = d * static_cast<float>(static_cast<int8_t>(block[2 + j]));
  }
}

// Q4_K and Q5_K hold 256 values a block in 8 groups of 32, each with a 6-bit
// scale and a 6-bit minimum, packed into 12 bytes:
//
//   byte      bits 7-6             bits 5-0
//   j         scale[j + 4] 5-4     scale[j]        j = 0 .. 3
//   4 + j     min[j + 4] 5-4       min[j]
//
//   byte      bits 7-4             bits 3-0
//   8 + j     min[j + 4] 3-0       scale[j + 4] 3-0
struct ScaleAndMin {
  int scale = 0;
  int min = 0;
};

ScaleAndMin UnpackScale(const uint8_t* packed, int group) {
  if (group < 4) return {packed[group] & 63, packed[group + 4] & 63};
  const int j = group - 4;
  return {(packed[8 + j] & 0xf) | (packed[j] >> 6) << 4,
          (packed[8 + j] >> 4) | (packed[4 + j] >> 6) << 4};
}

// Q4_K: d:f16 dmin:f16 scales:u8[12] nibbles:u8[128];
// x = d scale q - dmin min. 32 bytes of nibbles hold two groups, the first in
// the low halves.
void DequantizeQ4_K(const uint8_t* block, float* x) {
  const float d = LoadHalf(block);
  const float dmin = LoadHalf(block + 2);
  const uint8_t* scales = block + 4;
  for (int group = 0; group < 8; ++group) {
    const ScaleAndMin packed = UnpackScale(scales, group);
    const float scale = d * static_cast<float>(packed.scale);
    const float min = dmin * static_cast<float>(packed.min);
    const uint8_t* nibbles = block + 16 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int j = 0; j < 32; ++j) {
      const int q = nibbles[j] >> shift & 0xf;
      x[32 * group + j] = scale * static_cast<float>(q) - min;
    }
  }
}

// Q5_K: d:f16 dmin:f16 scales:u8[12] high:u8[32] nibbles:u8[128]; as Q4_K, and
// bit 4 of value j of group g is bit g of high[j].
void DequantizeQ5_K(const uint8_t* block, float* x) {
  const float d = LoadHalf(block);
  const float dmin = LoadHalf(block + 2);
  const uint8_t* scales = block + 4;
  const uint8_t* high = block + 16;
  for (int group = 0; group < 8; ++group) {
    const ScaleAndMin packed = UnpackScale(scales, group);
    const float scale = d * static_cast<float>(packed.scale);
    const float min = dmin * static_cast<float>(packed.min);
    const uint8_t* nibbles = block + 48 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int j = 0; j < 32; ++j) {
      const int q = (nibbles[j] >> shift & 0xf) | (high[j] >> group & 1) << 4;
      x[32 * group + j] = scale * static_cast<float>(q) - min;
    }
  }
}

// Q6_K: nibbles:u8[128] high:u8[64] scales:i8[16] d:f16;
// x = d scale (q - 32), a scale for 16 values. Each half of a block, 128
// values, has 64 bytes of nibbles and 32 of high bits. Its value 32 g + j has
// the low half of nibbles[j] (g = 0), of nibbles[32 + j] (g = 1), or the high
// halves of the same (g = 2, 3), and bits 2 g and 2 g + 1 of high[j] above.
void DequantizeQ6_K(const uint8_t* block, float* x) {
  const float d = LoadHalf(block + 208);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* nibbles = block + 64 * half;
    const uint8_t* high = block + 128 + 32 * half;
    const uint8_t* scales = block + 192 + 8 * half;
    for (int group = 0; group < 4; ++group) {
      for (int j = 0; j < 32; ++j) {
        const int low = nibbles[group % 2 * 32 + j] >> (group / 2 * 4) & 0xf;
        const int q = low | (high[j] >> 2 * group & 3) << 4;
        const auto scale = static_cast<int8_t>(scales[2 * group + j / 16]);
        x[128 * half + 32 * group + j] =
            d * static_cast<float>(scale) * static_cast<float>(q - 32);
      }
    }
  }
}

void DequantizeF64(const uint8_t* block, float* x) {
  *x = static_cast<float>(LoadAs<double>(block));
}
void DequantizeF32(const uint8_t* block, float* x) {
  *x = LoadAs<float>(block);
}
void DequantizeF16(const uint8_t* block, float* x) { *x = LoadHalf(block); }
void DequantizeBF16(const uint8_t* block, float* x) {
  *x = ToFloat(LoadAs<BFloat16>(block));
}

template <void (*kBlock)(const uint8_t*, float*)>
void ForEachBlock(BlockSize size, std::span<const std::byte> blocks,
                  float* values) {
  const auto* block = reinterpret_cast<const uint8_t*>(blocks.data());
  for (size_t i = 0; i < blocks.size(); i += static_cast<size_t>(size.bytes)) {
    kBlock(block + i, values);
    values += size.elements;
  }
}

using BlocksFunction = void (*)(BlockSize, std::span<const std::byte>, float*);

// Null for types that are no number format of ours.
BlocksFunction FunctionOf(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return ForEachBlock<DequantizeF64>;
    case DType::kF32:
      return ForEachBlock<DequantizeF32>;
    case DType::kF16:
      return ForEachBlock<DequantizeF16>;
    case DType::kBF16:
      return ForEachBlock<DequantizeBF16>;
    case DType::kQ4_0:
      return ForEachBlock<DequantizeQ4_0>;
    case DType::kQ4_1:
      return ForEachBlock<DequantizeQ4_1>;
    case DType::kQ5_0:
      return ForEachBlock<DequantizeQ5_0>;
    case DType::kQ5_1:
      return ForEachBlock<DequantizeQ5_1>;
    case DType::kQ8_0:
      return ForEachBlock<DequantizeQ8_0>;
    case DType::kQ4_K:
      return ForEachBlock<DequantizeQ4_K>;
    case DType::kQ5_K:
      return ForEachBlock<DequantizeQ5_K>;
    case DType::kQ6_K:
      return ForEachBlock<DequantizeQ6_K>;
    default:
      return nullptr;
  }
}

}  // namespace

bool CanDequantize(DType dtype) { return FunctionOf(dtype) != nullptr; }

void Dequantize(DType dtype, std::span<const std::byte> blocks,
                std::span<float> values) {
  const BlocksFunction function = FunctionOf(dtype);
  const BlockSize size = BlockSizeOf(dtype);
  const auto block_bytes = static_cast<size_t>(size.bytes);
  ANYPREC_CHECK(function != nullptr) << DTypeName(dtype);
  ANYPREC_CHECK(blocks.size() % block_bytes == 0 &&
                blocks.size() / block_bytes *
                        static_cast<size_t>(size.elements) ==
                    values.size())
      << blocks.size() << " bytes of " << DTypeName(dtype) << " for "
      << values.size() << " values";
  function(size, blocks, values.data());
}

}  // namespace anyprec
