#include "runtime/format/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"

namespace anyprec {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors data is little-endian and used as it lies");

constexpr size_t kLengthBytes = 8;
// No model has more dimensions; bounds the memory for one tensor.
constexpr size_t kMaxRank = 8;

std::optional<DType> ParseDType(absl::string_view name) {
  for (int i = 0; i <= static_cast<int>(DType::kF8E5M2); ++i) {
    const auto dtype = static_cast<DType>(i);
    if (DTypeName(dtype) == name) return dtype;
  }
  return std::nullopt;
}

// One entry of the header.
struct Entry {
  std::string name;
  std::optional<DType> dtype;
  std::optional<std::vector<int64_t>> shape;
  std::vector<uint64_t> offsets;
};

// Reads the header event by event, so that its memory is that of the entries
// and a hostile header cannot blow up into a document. Stops at the first
// fault, with its description.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Entry> entries;
  absl::btree_map<std::string, std::string> metadata;
  std::string fault;

  bool start_object(std::size_t) override {
    if (state_ == State::kStart) return Go(State::kNames);
    if (state_ == State::kName) {
      return Go(in_metadata_ ? State::kMetadata : State::kFields);
    }
    return Fault("an object where none belongs");
  }

  bool end_object() override {
    if (state_ == State::kNames) return Go(State::kEnd);
    if (state_ == State::kFields && !EntryIsWhole()) return false;
    return Go(State::kNames);
  }

  bool key(string_t& name) override {
    switch (state_) {
      case State::kNames:
        in_metadata_ = name == "__metadata__";
        key_.clear();
        if (!in_metadata_) entries.emplace_back().name = name;
        return Go(State::kName);
      case State::kMetadata:
        key_ = name;
        return Go(State::kMetadataValue);
      default:
        key_ = name;
        if (name == "dtype") return Go(State::kDType);
        if (name == "shape") return Go(State::kShape);
        if (name == "data_offsets") return Go(State::kOffsets);
        return Fault("an unknown field");
    }
  }

  bool string(string_t& value) override {
    if (state_ == State::kMetadataValue) {
      if (!metadata.emplace(key_, value).second) {
        return Fault("the key twice");
      }
      return Go(State::kMetadata);
    }
    if (state_ != State::kDType) return Fault("a string where none belongs");
    Entry& entry = entries.back();
    if (entry.dtype.has_value()) return Fault("the field twice");
    entry.dtype = ParseDType(value);
    if (!entry.dtype.has_value()) {
      return Fault(
          absl::StrCat("the unknown type \"", PrintableName(value), "\""));
    }
    return Go(State::kFields);
  }

  bool start_array(std::size_t) override {
    if (state_ == State::kShape) {
      if (entries.back().shape.has_value()) return Fault("the field twice");
      entries.back().shape.emplace();
      return Go(State::kShapeItems);
    }
    if (state_ == State::kOffsets) {
      if (!entries.back().offsets.empty()) return Fault("the field twice");
      return Go(State::kOffsetItems);
    }
    return Fault("an array where none belongs");
  }

  bool end_array() override {
    if (state_ == State::kOffsetItems && entries.back().offsets.size() != 2) {
      return Fault(absl::StrCat(entries.back().offsets.size(),
                                " numbers, needed are 2"));
    }
    return Go(State::kFields);
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::kShapeItems) {
      std::vector<int64_t>& shape = *entries.back().shape;
      if (shape.size() == kMaxRank) {
        return Fault(absl::StrCat("more than ", kMaxRank, " dimensions"));
      }
      if (value > uint64_t{1} << 62) {
        return Fault(absl::StrCat("the dimension ", value,
                                  ", at most 2^62 is possible"));
      }
      shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (state_ == State::kOffsetItems) {
      if (entries.back().offsets.size() == 2) {
        return Fault("more than 2 numbers");
      }
      entries.back().offsets.push_back(value);
      return true;
    }
    return Fault("a number where none belongs");
  }

  bool number_integer(number_integer_t value) override {
    return Fault(absl::StrCat("the negative number ", value));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return Fault(absl::StrCat("the number ", PrintableName(text),
                              ", needed is an integer"));
  }
  bool null() override { return Fault("a null where none belongs"); }
  bool boolean(bool) override { return Fault("a boolean where none belongs"); }
  bool binary(binary_t&) override { return Fault("binary data"); }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    fault = absl::StrCat(": header is not valid JSON at byte ", position);
    return false;
  }

 private:
  enum class State {
    kStart,   // before the header
    kNames,   // between entries
    kName,    // after an entry's name
    kFields,  // between an entry's fields
    kDType,   // after the key of a field
    kShape,
    kShapeItems,  // inside its array
    kOffsets,
    kOffsetItems,
    kMetadata,       // between the pairs of __metadata__
    kMetadataValue,  // after a pair's key
    kEnd,
  };

  bool Go(State state) {
    state_ = state;
    return true;
  }

  bool Fault(absl::string_view what) {
    if (state_ == State::kStart) {
      fault = absl::StrCat(": header holds ", what);
      return false;
    }
    const std::string name = in_metadata_ || entries.empty()
                                 ? "__metadata__"
                                 : PrintableName(entries.back().name);
    fault = absl::StrCat(": tensor \"", name,
                         "\": ", key_.empty() ? "entry" : PrintableName(key_),
                         " holds ", what);
    return false;
  }

  bool EntryIsWhole() {
    const Entry& entry = entries.back();
    key_.clear();
    if (!entry.dtype.has_value()) return Fault("no dtype");
    if (!entry.shape.has_value()) return Fault("no shape");
    if (entry.offsets.empty()) return Fault("no data_offsets");
    return true;
  }

  State state_ = State::kStart;
  bool in_metadata_ = false;
  std::string key_;  // the field or metadata key last read
};

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(
    const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> mapped, MappedFile::Open(path));
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile(std::move(mapped)));
  RETURN_IF_ERROR(file->ParseHeader());
  return file;
}

SafetensorsFile::SafetensorsFile(std::unique_ptr<MappedFile> file)
    : file_(std::move(file)) {}

const SafetensorsFile::Tensor* SafetensorsFile::Find(
    absl::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

absl::Status SafetensorsFile::ParseHeader() {
  const std::span<const std::byte> bytes = file_->bytes();
  if (bytes.size() < kLengthBytes) {
    return absl::DataLossError(absl::StrCat(path(), ": ", bytes.size(),
                                            " bytes, needed are at least ",
                                            kLengthBytes));
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  const size_t rest = bytes.size() - kLengthBytes;
  if (length > std::min<uint64_t>(rest, kMaxHeaderBytes)) {
    return absl::DataLossError(
        absl::StrCat(path(), ": header of ", length, " bytes, the file has ",
                     rest, " and at most ", kMaxHeaderBytes, " are read"));
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  HeaderReader reader;
  if (!nlohmann::json::sax_parse(text, text + length, &reader)) {
    return absl::DataLossError(absl::StrCat(path(), reader.fault));
  }
  const auto data = bytes.subspan(kLengthBytes + length);
  tensors_.reserve(reader.entries.size());
  for (Entry& entry : reader.entries) {
    const std::string where =
        absl::StrCat(path(), ": tensor \"", PrintableName(entry.name), "\": ");
    const uint64_t begin = entry.offsets[0];
    const uint64_t end = entry.offsets[1];
    if (begin > end || end > data.size()) {
      return absl::DataLossError(
          absl::StrCat(where, "data_offsets [", begin, ", ", end,
                       "], needed is a range within the file's ", data.size(),
                       " bytes of data"));
    }
    const std::optional<int64_t> size = NumBytes(*entry.dtype, *entry.shape);
    if (!size.has_value() || static_cast<uint64_t>(*size) != end - begin) {
      return absl::DataLossError(absl::StrCat(
          where, end - begin, " bytes of data, ", DTypeName(*entry.dtype), " ",
          ShapeToString(*entry.shape), " needs ",
          size.has_value() ? absl::StrCat(*size) : "more than 2^62"));
    }
    tensors_.push_back(
        {{std::move(entry.name), *entry.dtype, std::move(*entry.shape)},
         data.subspan(begin, end - begin)});
  }
  metadata_ = std::move(reader.metadata);
  return CheckCoverage(data.size());
}

// Sorted by their data, the tensors must follow each other without gap or
// overlap and end with the file.
absl::Status SafetensorsFile::CheckCoverage(size_t data_bytes) {
  std::sort(tensors_.begin(), tensors_.end(),
            [](const Tensor& a, const Tensor& b) {
              // Empty tensors go before the one that begins where they do.
              return std::pair(a.data.data(), a.data.size()) <
                     std::pair(b.data.data(), b.data.size());
            });
  const std::byte* const begin =
      file_->bytes().data() + (file_->bytes().size() - data_bytes);
  size_t covered = 0;
  index_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const Tensor& tensor = tensors_[i];
    const std::string name = PrintableName(tensor.info.name);
    const auto at = static_cast<size_t>(tensor.data.data() - begin);
    if (at != covered) {
      return absl::DataLossError(
          absl::StrCat(path(), ": tensor \"", name, "\": data begins at ", at,
                       at < covered ? ", inside" : ", after a gap behind",
                       " the data before it, which ends at ", covered));
    }
    covered += tensor.data.size();
    if (!index_.emplace(tensor.info.name, i).second) {
      return absl::DataLossError(
          absl::StrCat(path(), ": tensor \"", name, "\" is declared twice"));
    }
  }
  if (covered != data_bytes) {
    return absl::DataLossError(absl::StrCat(path(), ": ", data_bytes,
                                            " bytes of data, the tensors ",
                                            "take ", covered));
  }
  return absl::OkStatus();
}

}  // namespace anyprec
