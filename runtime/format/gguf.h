// Reader of GGUF files, versions 2 and 3, little-endian (the format of
// llama.cpp): typed metadata and tensors, and a writer of files that hold
// metadata only.
//
//   file     = "GGUF" version:u32 tensors:u64 pairs:u64 pair* info* pad data
//   pair     = key:string type:u32 value
//   string   = bytes:u64 utf8
//   value    = number | bool:u8 | string | element_type:u32 count:u64 value*
//   info     = name:string dims:u32 dim:u64* type:u32 offset:u64
//
// pad brings data to a multiple of "general.alignment" (32 where absent), and
// each tensor's offset within data is such a multiple. Dimensions are listed
// fastest first; TensorInfo turns them round.
//
// Open() walks all metadata and validates all infos, so that nothing later can
// read outside the file; values stay in the mapping until asked for.
//
// Thread-safe once open.
#ifndef ANYPREC_RUNTIME_FORMAT_GGUF_H_
#define ANYPREC_RUNTIME_FORMAT_GGUF_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/format/mapped_file.h"
#include "runtime/format/tensor.h"

namespace anyprec {

class GgufFile {
 public:
  // The file's own numbers.
  enum class ValueType : uint32_t {
    kUint8 = 0,
    kInt8 = 1,
    kUint16 = 2,
    kInt16 = 3,
    kUint32 = 4,
    kInt32 = 5,
    kFloat32 = 6,
    kBool = 7,
    kString = 8,
    kArray = 9,
    kUint64 = 10,
    kInt64 = 11,
    kFloat64 = 12,
  };

  struct Tensor {
    TensorInfo info;
    std::span<const std::byte> data;
  };

  // DATA_LOSS or INVALID_ARGUMENT naming the file, the key or tensor, the value
  // found and the value needed. UNIMPLEMENTED names a block type that we do not
  // read, or a big-endian file.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Open(
      const std::string& path);

  const std::string& path() const { return file_->path(); }
  const MappedFile& mapping() const { return *file_; }

  // Metadata. NOT_FOUND where the key is absent, INVALID_ARGUMENT where its
  // value has another type or does not fit; both name file and key.
  bool Has(absl::string_view key) const;
  absl::StatusOr<std::string> GetString(absl::string_view key) const;
  absl::StatusOr<bool> GetBool(absl::string_view key) const;
  // Any integer type whose value is not negative.
  absl::StatusOr<uint64_t> GetUint(absl::string_view key) const;
  // Any integer type.
  absl::StatusOr<int64_t> GetInt(absl::string_view key) const;
  // Any number.
  absl::StatusOr<double> GetFloat(absl::string_view key) const;
  absl::StatusOr<std::vector<std::string>> GetStringArray(
      absl::string_view key) const;
  // Any integer element type.
  absl::StatusOr<std::vector<int64_t>> GetIntArray(absl::string_view key) const;
  // Any number.
  absl::StatusOr<std::vector<float>> GetFloatArray(absl::string_view key) const;

  // Keys in file order.
  std::span<const std::string> keys() const { return keys_; }

  // In file order.
  std::span<const Tensor> tensors() const { return tensors_; }
  // Null where there is none.
  const Tensor* Find(absl::string_view name) const;

  // Writes a metadata-only GGUF version 3 file: this file's pairs whose key
  // starts with one of `prefixes`, byte for byte and in order. (A parent model
  // keeps the vocabulary of the GGUF it came from in this form.)
  absl::Status WriteMetadata(const std::string& path,
                             std::span<const std::string> prefixes) const;

 private:
  struct Value {
    ValueType type = ValueType::kUint8;
    ValueType element_type = ValueType::kUint8;  // of kArray
    uint64_t count = 1;                          // of kArray
    std::span<const std::byte> pair;             // the whole pair, key included
    std::span<const std::byte> value;  // of the number, string or elements
  };
  class Parser;

  // Bytes of a number; 0 for strings and arrays.
  static size_t NumberBytes(ValueType type);
  explicit GgufFile(std::unique_ptr<MappedFile> file);
  absl::StatusOr<const Value*> Lookup(absl::string_view key) const;
  absl::Status WrongType(absl::string_view key, const Value& value,
                         absl::string_view needed) const;

  const std::unique_ptr<MappedFile> file_;
  std::vector<std::string> keys_;
  absl::flat_hash_map<std::string, Value> values_;
  std::vector<Tensor> tensors_;
  absl::flat_hash_map<std::string, size_t> index_;  // name -> tensors_
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_GGUF_H_
