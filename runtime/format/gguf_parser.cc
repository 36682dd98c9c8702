// GgufFile::Open: the walk over a file that validates it.
#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/format/gguf.h"

namespace anyprec {
namespace {

constexpr char kMagic[] = {'G', 'G', 'U', 'F'};
// Real files have a few dozen pairs and, at 405B, some 1,100 tensors. The
// limits bound what a hostile count can make us allocate.
constexpr uint64_t kMaxPairs = 1 << 14;
constexpr uint64_t kMaxTensors = 1 << 17;
constexpr uint64_t kMaxNameBytes = 256;
constexpr uint32_t kMaxRank = 4;  // the format's own limit

// The file's numbers of the tensor types that we read.
std::optional<DType> ParseTensorType(uint32_t type) {
  switch (type) {
    case 0:
      return DType::kF32;
    case 1:
      return DType::kF16;
    case 2:
      return DType::kQ4_0;
    case 3:
      return DType::kQ4_1;
    case 6:
      return DType::kQ5_0;
    case 7:
      return DType::kQ5_1;
    case 8:
      return DType::kQ8_0;
    case 12:
      return DType::kQ4_K;
    case 13:
      return DType::kQ5_K;
    case 14:
      return DType::kQ6_K;
    case 24:
      return DType::kI8;
    case 25:
      return DType::kI16;
    case 26:
      return DType::kI32;
    case 27:
      return DType::kI64;
    case 28:
      return DType::kF64;
    case 30:
      return DType::kBF16;
    default:
      return std::nullopt;
  }
}

template <typename T>
T LoadAs(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

}  // namespace

// Walks the file once, front to back, checking every length against what is
// left.
class GgufFile::Parser {
 public:
  explicit Parser(GgufFile* file)
      : file_(*file), bytes_(file->file_->bytes()) {}

  absl::Status Parse() {
    RETURN_IF_ERROR(ParseFileHeader());
    for (uint64_t i = 0; i < pairs_; ++i) RETURN_IF_ERROR(ParsePair());
    file_.tensors_.reserve(tensors_);
    for (uint64_t i = 0; i < tensors_; ++i) RETURN_IF_ERROR(ParseInfo());
    return PlaceTensors();
  }

 private:
  size_t Left() const { return bytes_.size() - at_; }

  absl::Status Error(absl::string_view what) const {
    return absl::DataLossError(
        absl::StrCat(file_.path(), ": ", what, " (at byte ", at_, ")"));
  }

  absl::StatusOr<std::span<const std::byte>> Take(uint64_t count,
                                                  absl::string_view what) {
    if (count > Left()) {
      return Error(absl::StrCat(what, " needs ", count, " bytes, ", Left(),
                                " are left"));
    }
    const auto taken = bytes_.subspan(at_, count);
    at_ += count;
    return taken;
  }

  template <typename T>
  absl::StatusOr<T> TakeNumber(absl::string_view what) {
    ASSIGN_OR_RETURN(const auto bytes, Take(sizeof(T), what));
    return LoadAs<T>(bytes.data());
  }

  absl::StatusOr<std::string> TakeName(absl::string_view what) {
    ASSIGN_OR_RETURN(const auto length, TakeNumber<uint64_t>(what));
    if (length > kMaxNameBytes) {
      return Error(absl::StrCat(what, " of ", length, " bytes, at most ",
                                kMaxNameBytes, " are read"));
    }
    ASSIGN_OR_RETURN(const auto bytes, Take(length, what));
    std::string name(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!IsValidUtf8(name)) {
      return Error(
          absl::StrCat(what, " \"", PrintableName(name), "\" is not UTF-8"));
    }
    return name;
  }

  absl::Status ParseFileHeader() {
    ASSIGN_OR_RETURN(const auto magic, Take(sizeof(kMagic), "the magic"));
    if (std::memcmp(magic.data(), kMagic, sizeof(kMagic)) != 0) {
      at_ = 0;
      return Error("does not begin with \"GGUF\"");
    }
    ASSIGN_OR_RETURN(const auto version, TakeNumber<uint32_t>("the version"));
    if (version != 2 && version != 3) {
      // A big-endian file has its bytes the other way round.
      const bool swapped = version == 2u << 24 || version == 3u << 24;
      return absl::UnimplementedError(absl::StrCat(
          file_.path(), ": GGUF version ", version,
          swapped ? " (a big-endian file)" : "", ", supported are 2 and 3"));
    }
    ASSIGN_OR_RETURN(tensors_, TakeNumber<uint64_t>("the tensor count"));
    ASSIGN_OR_RETURN(pairs_, TakeNumber<uint64_t>("the metadata count"));
    // The smallest info and pair take 24 and 13 bytes.
    if (tensors_ > kMaxTensors || tensors_ > Left() / 24) {
      return Error(absl::StrCat(tensors_, " tensors, at most ", kMaxTensors,
                                " and what fits the file are read"));
    }
    if (pairs_ > kMaxPairs || pairs_ > Left() / 13) {
      return Error(absl::StrCat(pairs_, " metadata pairs, at most ", kMaxPairs,
                                " and what fits the file are read"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<ValueType> TakeType(absl::string_view key) {
    ASSIGN_OR_RETURN(const auto type, TakeNumber<uint32_t>(key));
    if (type > static_cast<uint32_t>(ValueType::kFloat64)) {
      return Error(absl::StrCat("key \"", PrintableName(key),
                                "\" has the unknown value type ", type));
    }
    return static_cast<ValueType>(type);
  }

  absl::Status SkipStrings(uint64_t count, absl::string_view what) {
    for (uint64_t i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(const auto length, TakeNumber<uint64_t>(what));
      RETURN_IF_ERROR(Take(length, what).status());
    }
    return absl::OkStatus();
  }

  absl::Status ParsePair() {
    const size_t begin = at_;
    ASSIGN_OR_RETURN(std::string key, TakeName("a metadata key"));
    const std::string what = absl::StrCat("key \"", PrintableName(key), "\"");
    Value value;
    ASSIGN_OR_RETURN(value.type, TakeType(key));
    ValueType element = value.type;
    if (value.type == ValueType::kArray) {
      ASSIGN_OR_RETURN(element, TakeType(key));
      ASSIGN_OR_RETURN(value.count, TakeNumber<uint64_t>(what));
      value.element_type = element;
      if (element == ValueType::kArray) {
        return Error(absl::StrCat(what, " is an array of arrays"));
      }
    }
    const size_t value_begin = at_;
    if (element == ValueType::kString) {
      RETURN_IF_ERROR(SkipStrings(value.count, what));
    } else {
      const size_t bytes = GgufFile::NumberBytes(element);
      if (value.count > Left() / bytes) {
        return Error(absl::StrCat(what, " has ", value.count, " values of ",
                                  bytes, " bytes, ", Left(), " are left"));
      }
      RETURN_IF_ERROR(Take(value.count * bytes, what).status());
    }
    value.pair = bytes_.subspan(begin, at_ - begin);
    value.value = bytes_.subspan(value_begin, at_ - value_begin);
    if (!file_.values_.emplace(key, value).second) {
      return Error(absl::StrCat(what, " comes twice"));
    }
    file_.keys_.push_back(std::move(key));
    return absl::OkStatus();
  }

  absl::Status ParseInfo() {
    Tensor tensor;
    TensorInfo& info = tensor.info;
    ASSIGN_OR_RETURN(info.name, TakeName("a tensor's name"));
    const std::string what =
        absl::StrCat("tensor \"", PrintableName(info.name), "\"");
    ASSIGN_OR_RETURN(const auto rank, TakeNumber<uint32_t>(what));
    if (rank == 0 || rank > kMaxRank) {
      return Error(absl::StrCat(what, " has ", rank, " dimensions, needed are ",
                                "1 .. ", kMaxRank));
    }
    info.shape.resize(rank);
    for (uint32_t i = 0; i < rank; ++i) {
      ASSIGN_OR_RETURN(const auto dimension, TakeNumber<uint64_t>(what));
      if (dimension == 0 || dimension > uint64_t{1} << 62) {
        return Error(absl::StrCat(what, ": dimension ", i, " is ", dimension,
                                  ", needed is 1 .. 2^62"));
      }
      info.shape[rank - 1 - i] = static_cast<int64_t>(dimension);
    }
    ASSIGN_OR_RETURN(const auto type, TakeNumber<uint32_t>(what));
    const std::optional<DType> dtype = ParseTensorType(type);
    if (!dtype.has_value()) {
      return absl::UnimplementedError(absl::StrCat(
          file_.path(), ": ", what, " has GGUF type ", type,
          ", supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, "
          "Q5_K, Q6_K"));
    }
    info.dtype = *dtype;
    ASSIGN_OR_RETURN(const auto offset, TakeNumber<uint64_t>(what));
    if (!file_.index_.emplace(info.name, file_.tensors_.size()).second) {
      return Error(absl::StrCat(what, " comes twice"));
    }
    offsets_.push_back(offset);
    file_.tensors_.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Alignment() const {
    constexpr uint64_t kDefault = 32;
    constexpr char kKey[] = "general.alignment";
    if (!file_.Has(kKey)) return kDefault;
    ASSIGN_OR_RETURN(const uint64_t alignment, file_.GetUint(kKey));
    // A power of two; above a megabyte it is nonsense.
    if (!std::has_single_bit(alignment) || alignment > 1 << 20) {
      return absl::DataLossError(
          absl::StrCat(file_.path(), ": ", kKey, " is ", alignment,
                       ", needed is a power of two up to 2^20"));
    }
    return alignment;
  }

  absl::Status PlaceTensors() {
    ASSIGN_OR_RETURN(const uint64_t alignment, Alignment());
    const uint64_t data_begin = (at_ + alignment - 1) / alignment * alignment;
    // A metadata-only file may end without padding.
    const uint64_t data_bytes =
        data_begin > bytes_.size() ? 0 : bytes_.size() - data_begin;
    std::vector<std::pair<uint64_t, size_t>> order;
    for (size_t i = 0; i < file_.tensors_.size(); ++i) {
      Tensor& tensor = file_.tensors_[i];
      const std::string what = absl::StrCat(
          file_.path(), ": tensor \"", PrintableName(tensor.info.name), "\": ");
      const auto size = NumBytes(tensor.info.dtype, tensor.info.shape);
      if (!size.has_value()) {
        return absl::DataLossError(
            absl::StrCat(what, ShapeToString(tensor.info.shape),
                         " is too large or no whole number of ",
                         DTypeName(tensor.info.dtype), " blocks a row"));
      }
      const uint64_t offset = offsets_[i];
      if (offset % alignment != 0) {
        return absl::DataLossError(absl::StrCat(
            what, "offset ", offset, ", needed is a multiple of ", alignment));
      }
      if (offset > data_bytes ||
          static_cast<uint64_t>(*size) > data_bytes - offset) {
        return absl::DataLossError(
            absl::StrCat(what, *size, " bytes at offset ", offset,
                         ", the file has ", data_bytes, " bytes of data"));
      }
      tensor.data = bytes_.subspan(data_begin + offset, *size);
      order.emplace_back(offset, i);
    }
    return CheckOverlaps(std::move(order));
  }

  absl::Status CheckOverlaps(std::vector<std::pair<uint64_t, size_t>> order) {
    std::sort(order.begin(), order.end());
    for (size_t i = 1; i < order.size(); ++i) {
      const Tensor& before = file_.tensors_[order[i - 1].second];
      const Tensor& tensor = file_.tensors_[order[i].second];
      if (before.data.data() + before.data.size() > tensor.data.data()) {
        return absl::DataLossError(absl::StrCat(
            file_.path(), ": tensor \"", PrintableName(tensor.info.name),
            "\" at offset ", order[i].first, " overlaps \"",
            PrintableName(before.info.name), "\", ", before.data.size(),
            " bytes at offset ", order[i - 1].first));
      }
    }
    return absl::OkStatus();
  }

  GgufFile& file_;
  const std::span<const std::byte> bytes_;
  size_t at_ = 0;
  uint64_t tensors_ = 0;
  uint64_t pairs_ = 0;
  std::vector<uint64_t> offsets_;  // of file_.tensors_
};

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Open(
    const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> mapped, MappedFile::Open(path));
  std::unique_ptr<GgufFile> file(new GgufFile(std::move(mapped)));
  RETURN_IF_ERROR(Parser(file.get()).Parse());
  return file;
}

}  // namespace anyprec
