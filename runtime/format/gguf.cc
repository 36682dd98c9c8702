#include "runtime/format/gguf.h"

#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/format/file_writer.h"

namespace anyprec {
namespace {

static_assert(std::endian::native == std::endian::little,
              "GGUF numbers are little-endian and used as they lie");

constexpr uint32_t kWrittenVersion = 3;

using ValueType = GgufFile::ValueType;

absl::string_view TypeName(ValueType type) {
  constexpr const char* kNames[] = {
      "uint8",   "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
      "boolean", "string", "array",  "uint64", "int64",  "float64"};
  return kNames[static_cast<uint32_t>(type)];
}

template <typename T>
T LoadAs(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

// A number of the file as int64; nullopt for other types, and beyond 2^63 - 1.
std::optional<int64_t> ToInteger(ValueType type, const std::byte* data) {
  switch (type) {
    case ValueType::kUint8:
      return LoadAs<uint8_t>(data);
    case ValueType::kInt8:
      return LoadAs<int8_t>(data);
    case ValueType::kUint16:
      return LoadAs<uint16_t>(data);
    case ValueType::kInt16:
      return LoadAs<int16_t>(data);
    case ValueType::kUint32:
      return LoadAs<uint32_t>(data);
    case ValueType::kInt32:
      return LoadAs<int32_t>(data);
    case ValueType::kInt64:
      return LoadAs<int64_t>(data);
    case ValueType::kUint64: {
      const auto value = LoadAs<uint64_t>(data);
      if (value > uint64_t{std::numeric_limits<int64_t>::max()}) {
        return std::nullopt;
      }
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> ToReal(ValueType type, const std::byte* data) {
  if (type == ValueType::kFloat32) return LoadAs<float>(data);
  if (type == ValueType::kFloat64) return LoadAs<double>(data);
  const std::optional<int64_t> integer = ToInteger(type, data);
  if (!integer.has_value()) return std::nullopt;
  return static_cast<double>(*integer);
}

}  // namespace

size_t GgufFile::NumberBytes(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool:
      return 1;
    case ValueType::kUint16:
    case ValueType::kInt16:
      return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32:
      return 4;
    case ValueType::kUint64:
    case ValueType::kInt64:
    case ValueType::kFloat64:
      return 8;
    case ValueType::kString:
    case ValueType::kArray:
      return 0;
  }
  return 0;
}

GgufFile::GgufFile(std::unique_ptr<MappedFile> file) : file_(std::move(file)) {}

const GgufFile::Tensor* GgufFile::Find(absl::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

bool GgufFile::Has(absl::string_view key) const {
  return values_.contains(key);
}

absl::StatusOr<const GgufFile::Value*> GgufFile::Lookup(
    absl::string_view key) const {
  const auto found = values_.find(key);
  if (found != values_.end()) return &found->second;
  return absl::NotFoundError(
      absl::StrCat(path(), ": the key \"", key, "\" is missing"));
}

absl::Status GgufFile::WrongType(absl::string_view key, const Value& value,
                                 absl::string_view needed) const {
  const bool array = value.type == ValueType::kArray;
  return absl::InvalidArgumentError(absl::StrCat(
      path(), ": the key \"", key, "\" is ", array ? "an array of " : "a ",
      TypeName(array ? value.element_type : value.type), ", needed is ",
      needed));
}

absl::StatusOr<std::string> GgufFile::GetString(absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, Lookup(key));
  if (value->type != ValueType::kString) {
    return WrongType(key, *value, "a string");
  }
  const auto text = value->value.subspan(sizeof(uint64_t));
  return std::string(reinterpret_cast<const char*>(text.data()), text.size());
}

absl::StatusOr<bool> GgufFile::GetBool(absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, Lookup(key));
  if (value->type != ValueType::kBool) {
    return WrongType(key, *value, "a boolean");
  }
  return value->value[0] != std::byte{0};
}

absl::StatusOr<int64_t> GgufFile::GetInt(absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, Lookup(key));
  const std::optional<int64_t> integer =
      ToInteger(value->type, value->value.data());
  if (!integer.has_value()) return WrongType(key, *value, "an integer");
  return *integer;
}

absl::StatusOr<uint64_t> GgufFile::GetUint(absl::string_view key) const {
  ASSIGN_OR_RETURN(const int64_t integer, GetInt(key));
  if (integer < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path(), ": the key \"", key, "\" is ", integer,
                     ", needed is no less than 0"));
  }
  return static_cast<uint64_t>(integer);
}

absl::StatusOr<double> GgufFile::GetFloat(absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, Lookup(key));
  const std::optional<double> real = ToReal(value->type, value->value.data());
  if (!real.has_value()) return WrongType(key, *value, "a number");
  return *real;
}

absl::StatusOr<std::vector<std::string>> GgufFile::GetStringArray(
    absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, Lookup(key));
  if (value->type != ValueType::kArray ||
      value->element_type != ValueType::kString) {
    return WrongType(key, *value, "an array of string");
  }
  std::vector<std::string> strings;
  strings.reserve(value->count);
  const std::byte* at = value->value.data();
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto length = LoadAs<uint64_t>(at);
    at += sizeof(length);
    strings.emplace_back(reinterpret_cast<const char*>(at), length);
    at += length;
  }
  return strings;
}

absl::StatusOr<std::vector<int64_t>> GgufFile::GetIntArray(
    absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, Lookup(key));
  if (value->type != ValueType::kArray) {
    return WrongType(key, *value, "an array of integers");
  }
  const size_t bytes = NumberBytes(value->element_type);
  std::vector<int64_t> integers;
  integers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    const std::optional<int64_t> integer =
        ToInteger(value->element_type, value->value.data() + i * bytes);
    if (!integer.has_value()) {
      return WrongType(key, *value, "an array of integers");
    }
    integers.push_back(*integer);
  }
  return integers;
}

absl::StatusOr<std::vector<float>> GgufFile::GetFloatArray(
    absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, Lookup(key));
  if (value->type != ValueType::kArray) {
    return WrongType(key, *value, "an array of numbers");
  }
  const size_t bytes = NumberBytes(value->element_type);
  std::vector<float> numbers;
  numbers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    const std::optional<double> number =
        ToReal(value->element_type, value->value.data() + i * bytes);
    if (!number.has_value()) {
      return WrongType(key, *value, "an array of numbers");
    }
    numbers.push_back(static_cast<float>(*number));
  }
  return numbers;
}

absl::Status GgufFile::WriteMetadata(
    const std::string& path, std::span<const std::string> prefixes) const {
  std::string pairs;
  uint64_t count = 0;
  for (const std::string& key : keys_) {
    bool wanted = false;
    for (const std::string& prefix : prefixes) {
      wanted |= absl::StartsWith(key, prefix);
    }
    if (!wanted) continue;
    const std::span<const std::byte> pair = values_.at(key).pair;
    pairs.append(reinterpret_cast<const char*>(pair.data()), pair.size());
    ++count;
  }
  constexpr uint64_t kNoTensors = 0;
  std::string contents = "GGUF";
  const auto append = [&contents](auto number) {
    contents.append(reinterpret_cast<const char*>(&number), sizeof(number));
  };
  append(kWrittenVersion);
  append(kNoTensors);
  append(count);
  contents += pairs;
  return WriteFileAtomically(path, contents);
}

}  // namespace anyprec
