// Names, element types, shapes and bytes of stored tensors: the vocabulary
// that every file format here shares.
#ifndef ANYPREC_RUNTIME_FORMAT_TENSOR_H_
#define ANYPREC_RUNTIME_FORMAT_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace anyprec {

// Element types of safetensors, then the block types of GGUF, whose rows are
// sequences of fixed-size blocks of quantized values.
enum class DType {
  kF64,
  kF32,
  kF16,
  kBF16,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool,
  kF8E4M3,
  kF8E5M2,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
};

// "F32", "BF16", "Q4_K": as safetensors and GGUF spell them.
absl::string_view DTypeName(DType dtype);

// Elements that one block holds and the bytes it takes; a plain type is a block
// of one element.
struct BlockSize {
  int elements = 1;
  int bytes = 0;
};
BlockSize BlockSizeOf(DType dtype);

// A tensor as a file declares it. `shape` is row-major, the last dimension
// contiguous, whatever the file's own convention.
struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
};

// "[2048, 128]".
std::string ShapeToString(std::span<const int64_t> shape);

// Product of the dimensions; 1 for a scalar. nullopt where a dimension is
// negative or the product passes 2^62.
std::optional<int64_t> NumElements(std::span<const int64_t> shape);

// Bytes of a tensor. nullopt where NumElements is, where the last dimension is
// not a whole number of blocks, or where the size passes 2^62.
std::optional<int64_t> NumBytes(DType dtype, std::span<const int64_t> shape);

// Whether `text` is well-formed UTF-8, as tensor names must be.
bool IsValidUtf8(absl::string_view text);

// Makes a name from a file fit for a message: escapes what does not print and
// cuts it after 120 bytes.
std::string PrintableName(absl::string_view name);

// Owned memory on a 64-byte boundary (a cache line, and the widest vector).
class AlignedBytes {
 public:
  static constexpr size_t kAlignment = 64;

  AlignedBytes() = default;
  // Uninitialized memory of `size` bytes.
  explicit AlignedBytes(size_t size);

  std::span<std::byte> span() { return {data_.get(), size_}; }
  std::span<const std::byte> span() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

// A tensor in memory: a view of its file's mapping, or of `storage` where it
// had to be converted or moved. Move-only; a view must not outlive the file
// object that it came from. `data` is aligned at least to the element's size.
struct DenseTensor {
  DType dtype = DType::kF32;  // kF32, kF16, kBF16, kI8 or kI32
  std::vector<int64_t> shape;
  std::span<const std::byte> data;
  AlignedBytes storage;

  // The elements as T. REQUIRES: T has the element's size.
  template <typename T>
  std::span<const T> As() const {
    return {reinterpret_cast<const T*>(data.data()), data.size() / sizeof(T)};
  }
};

// Elements of a kF32, kF16 or kBF16 tensor as float. INVALID_ARGUMENT for
// another type, DATA_LOSS naming `name` and the index of the first value that
// is not finite.
absl::StatusOr<std::vector<float>> ToFloats(const DenseTensor& tensor,
                                            absl::string_view name);

// OK where all values of a kF32, kF16 or kBF16 array are finite.
absl::Status CheckFinite(DType dtype, std::span<const std::byte> data,
                         absl::string_view name);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_TENSOR_H_
