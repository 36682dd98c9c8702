#include "runtime/format/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace anyprec {
namespace {

// The polynomial with its bits reversed: the CRC takes bytes lowest bit first.
constexpr uint32_t kPolynomial = 0x82f63b78u;

// tables[i][b] is what byte b, followed by i zero bytes, adds to a CRC. Eight
// of them take 8 bytes in one step ("slicing by 8").
using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = crc >> 1 ^ ((crc & 1u) != 0 ? kPolynomial : 0u);
    }
    tables[0][byte] = crc;
  }
  for (size_t i = 1; i < tables.size(); ++i) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t crc = tables[i - 1][byte];
      tables[i][byte] = crc >> 8 ^ tables[0][crc & 0xffu];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

uint64_t LoadWord(const std::byte* data) {
  uint64_t word;
  std::memcpy(&word, data, sizeof(word));
  return word;
}

#if defined(__x86_64__)

// Bytes of each of three streams in flight: the crc32 instruction takes 3
// cycles but one can start every cycle. Long enough that joining the streams
// (two multiplications by kShift below) does not count.
constexpr size_t kStreamBytes = 1024;

// Appends zero bits: kShift[i] is what bit i of a CRC becomes after
// kStreamBytes zero bytes.
constexpr std::array<uint32_t, 32> MakeShift() {
  std::array<uint32_t, 32> shift{};
  for (size_t bit = 0; bit < 32; ++bit) {
    uint32_t crc = uint32_t{1} << bit;
    for (size_t i = 0; i < kStreamBytes; ++i) {
      crc = crc >> 8 ^ kTables[0][crc & 0xffu];
    }
    shift[bit] = crc;
  }
  return shift;
}

constexpr std::array<uint32_t, 32> kShift = MakeShift();

uint32_t ShiftByStream(uint32_t crc) {
  uint32_t shifted = 0;
  for (size_t bit = 0; bit < 32; ++bit) {
    shifted ^= (crc >> bit & 1u) != 0 ? kShift[bit] : 0u;
  }
  return shifted;
}

__attribute__((target("sse4.2"))) uint32_t ExtendByInstruction(
    uint32_t crc, std::span<const std::byte> data) {
  crc = ~crc;
  const std::byte* at = data.data();
  size_t left = data.size();
  for (; left >= 3 * kStreamBytes; left -= 3 * kStreamBytes) {
    uint64_t first = crc;
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < kStreamBytes; i += 8) {
      first = _mm_crc32_u64(first, LoadWord(at + i));
      second = _mm_crc32_u64(second, LoadWord(at + kStreamBytes + i));
      third = _mm_crc32_u64(third, LoadWord(at + 2 * kStreamBytes + i));
    }
    crc = ShiftByStream(static_cast<uint32_t>(first)) ^
          static_cast<uint32_t>(second);
    crc = ShiftByStream(crc) ^ static_cast<uint32_t>(third);
    at += 3 * kStreamBytes;
  }
  for (; left >= 8; left -= 8, at += 8) {
    crc = static_cast<uint32_t>(_mm_crc32_u64(crc, LoadWord(at)));
  }
  for (; left > 0; --left, ++at) {
    crc = _mm_crc32_u8(crc, static_cast<uint8_t>(*at));
  }
  return ~crc;
}

#endif

}  // namespace

uint32_t internal::ExtendCrc32cByTable(uint32_t crc,
                                       std::span<const std::byte> data) {
  crc = ~crc;
  const std::byte* at = data.data();
  size_t left = data.size();
  for (; left >= 8; left -= 8, at += 8) {
    const uint64_t word = LoadWord(at) ^ crc;
    crc = 0;
    for (size_t i = 0; i < 8; ++i) {
      crc ^= kTables[7 - i][word >> (8 * i) & 0xffu];
    }
  }
  for (; left > 0; --left, ++at) {
    crc = crc >> 8 ^ kTables[0][(crc ^ static_cast<uint32_t>(*at)) & 0xffu];
  }
  return ~crc;
}

uint32_t ExtendCrc32c(uint32_t crc, std::span<const std::byte> data) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return ExtendByInstruction(crc, data);
#endif
  return internal::ExtendCrc32cByTable(crc, data);
}

}  // namespace anyprec
