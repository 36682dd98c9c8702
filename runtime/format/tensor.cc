#include "runtime/format/tensor.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/check.h"
#include "kernels/types.h"

namespace anyprec {
namespace {

struct DTypeTraits {
  const char* name;
  BlockSize block;
};

// By DType. Block layouts: gguf_dequantize.cc.
constexpr DTypeTraits kTraits[] = {
    {"F64", {1, 8}},      {"F32", {1, 4}},      {"F16", {1, 2}},
    {"BF16", {1, 2}},     {"I64", {1, 8}},      {"I32", {1, 4}},
    {"I16", {1, 2}},      {"I8", {1, 1}},       {"U64", {1, 8}},
    {"U32", {1, 4}},      {"U16", {1, 2}},      {"U8", {1, 1}},
    {"BOOL", {1, 1}},     {"F8_E4M3", {1, 1}},  {"F8_E5M2", {1, 1}},
    {"Q4_0", {32, 18}},   {"Q4_1", {32, 20}},   {"Q5_0", {32, 22}},
    {"Q5_1", {32, 24}},   {"Q8_0", {32, 34}},   {"Q4_K", {256, 144}},
    {"Q5_K", {256, 176}}, {"Q6_K", {256, 210}},
};
static_assert(std::size(kTraits) == static_cast<size_t>(DType::kQ6_K) + 1);

// Products stay below this, so that sums of a few of them do not overflow.
constexpr int64_t kMaxProduct = int64_t{1} << 62;

// Index of the first value that is not finite, or `values.size()`. Infinity and
// NaN alone have all bits of `exponent` set.
template <typename Bits>
size_t FirstNonFinite(std::span<const Bits> values, Bits exponent) {
  // A branch-free pass first: it vectorizes, and the answer is nearly always
  // that there is none.
  bool any = false;
  for (const Bits value : values) any |= (value & exponent) == exponent;
  if (!any) return values.size();
  size_t i = 0;
  while ((values[i] & exponent) != exponent) ++i;
  return i;
}

template <typename Bits>
std::span<const Bits> AsBits(std::span<const std::byte> data) {
  return {reinterpret_cast<const Bits*>(data.data()),
          data.size() / sizeof(Bits)};
}

}  // namespace

absl::string_view DTypeName(DType dtype) {
  return kTraits[static_cast<size_t>(dtype)].name;
}

BlockSize BlockSizeOf(DType dtype) {
  return kTraits[static_cast<size_t>(dtype)].block;
}

std::string ShapeToString(std::span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::optional<int64_t> NumElements(std::span<const int64_t> shape) {
  int64_t product = 1;
  for (const int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    if (dimension > 0 && product > kMaxProduct / dimension) return std::nullopt;
    product *= dimension;
  }
  return product;
}

std::optional<int64_t> NumBytes(DType dtype, std::span<const int64_t> shape) {
  const std::optional<int64_t> elements = NumElements(shape);
  if (!elements.has_value()) return std::nullopt;
  const BlockSize block = BlockSizeOf(dtype);
  const int64_t row = shape.empty() ? 1 : shape.back();
  if (row % block.elements != 0) return std::nullopt;
  const int64_t blocks = *elements / block.elements;
  if (blocks > kMaxProduct / block.bytes) return std::nullopt;
  return blocks * block.bytes;
}

bool IsValidUtf8(absl::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    if (lead < 0x80) continue;
    const int tail = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i < size_t(tail)) {
      return false;
    }
    uint32_t code = lead & (0x3fu >> tail);
    for (int j = 0; j < tail; ++j) {
      const auto byte = static_cast<unsigned char>(text[i++]);
      if ((byte & 0xc0u) != 0x80u) return false;
      code = code << 6 | (byte & 0x3fu);
    }
    // Over-long forms, surrogates, and what lies beyond Unicode.
    constexpr uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
    if (code < kSmallest[tail] || (code >= 0xd800 && code < 0xe000) ||
        code > 0x10ffff) {
      return false;
    }
  }
  return true;
}

std::string PrintableName(absl::string_view name) {
  constexpr size_t kLongest = 120;
  if (name.size() <= kLongest) return absl::CHexEscape(name);
  return absl::StrCat(absl::CHexEscape(name.substr(0, kLongest)), "...");
}

AlignedBytes::AlignedBytes(size_t size) : size_(size) {
  if (size == 0) return;
  // aligned_alloc wants a whole number of alignments.
  const size_t rounded = (size + kAlignment - 1) / kAlignment * kAlignment;
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)));
  ANYPREC_CHECK(data_ != nullptr) << "out of memory for " << size << " bytes";
}

absl::Status CheckFinite(DType dtype, std::span<const std::byte> data,
                         absl::string_view name) {
  size_t index = 0;
  size_t count = 0;
  float value = 0;
  switch (dtype) {
    case DType::kF32: {
      const auto bits = AsBits<uint32_t>(data);
      count = bits.size();
      index = FirstNonFinite<uint32_t>(bits, 0x7f800000u);
      if (index < count) value = std::bit_cast<float>(bits[index]);
      break;
    }
    case DType::kF16: {
      const auto bits = AsBits<uint16_t>(data);
      count = bits.size();
      index = FirstNonFinite<uint16_t>(bits, 0x7c00u);
      if (index < count) value = ToFloat(Float16{bits[index]});
      break;
    }
    case DType::kBF16: {
      const auto bits = AsBits<uint16_t>(data);
      count = bits.size();
      index = FirstNonFinite<uint16_t>(bits, 0x7f80u);
      if (index < count) value = ToFloat(BFloat16{bits[index]});
      break;
    }
    default:
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": type ", DTypeName(dtype),
                       ", needed is one of F32, F16, BF16"));
  }
  if (index == count) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      name, ": element ", index, " is ", std::isnan(value) ? "NaN" : "infinite",
      ", needed is a finite number"));
}

absl::StatusOr<std::vector<float>> ToFloats(const DenseTensor& tensor,
                                            absl::string_view name) {
  if (absl::Status status = CheckFinite(tensor.dtype, tensor.data, name);
      !status.ok()) {
    return status;
  }
  std::vector<float> values;
  switch (tensor.dtype) {
    case DType::kF32: {
      values.resize(tensor.data.size() / sizeof(float));
      if (!values.empty()) {
        std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
      }
      break;
    }
    case DType::kF16: {
      const auto halves = tensor.As<Float16>();
      values.resize(halves.size());
      for (size_t i = 0; i < halves.size(); ++i) values[i] = ToFloat(halves[i]);
      break;
    }
    default: {  // kBF16: CheckFinite let nothing else pass
      const auto halves = tensor.As<BFloat16>();
      values.resize(halves.size());
      for (size_t i = 0; i < halves.size(); ++i) values[i] = ToFloat(halves[i]);
      break;
    }
  }
  return values;
}

}  // namespace anyprec
