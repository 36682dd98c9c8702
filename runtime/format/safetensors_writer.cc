#include "runtime/format/safetensors_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "runtime/format/crc32c.h"
#include "runtime/format/file_writer.h"

namespace anyprec {
namespace {

using nlohmann::json;

constexpr char kPartialSuffix[] = ".partial";
constexpr uint64_t kLengthBytes = 8;
// A cache line, and the widest vector.
constexpr uint64_t kAlignment = 64;

// "0123abcd 4567ef01".
std::string FormatChecksums(const std::vector<uint32_t>& checksums) {
  std::string text;
  for (const uint32_t checksum : checksums) {
    absl::StrAppendFormat(&text, "%s%08x", text.empty() ? "" : " ", checksum);
  }
  return text;
}

// Gives the file its size, with blocks on the disk where the file system can:
// a full disk shows now and not after hours.
absl::Status Reserve(int fd, const std::string& path, uint64_t bytes) {
  const auto size = static_cast<off_t>(bytes);
  if (fallocate(fd, 0, 0, size) == 0) return absl::OkStatus();
  if (errno == EOPNOTSUPP && ftruncate(fd, size) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno,
                             absl::StrCat("reserve ", bytes, " of ", path));
}

absl::Status Rename(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("rename ", from, " to ", to));
}

}  // namespace

struct SafetensorsWriter::Slot {
  TensorSpec spec;
  size_t shard = 0;
  uint64_t offset = 0;  // within its shard's data
  uint64_t size = 0;
  uint64_t written = 0;
  std::vector<uint32_t> checksums;  // one a part
};

struct SafetensorsWriter::Shard {
  Shard() = default;
  Shard(Shard&& other) noexcept
      : name(std::move(other.name)),
        path(std::move(other.path)),
        slots(std::move(other.slots)),
        data_begin(other.data_begin),
        data_bytes(other.data_bytes),
        fd(std::exchange(other.fd, -1)) {}
  Shard& operator=(Shard&&) = delete;
  ~Shard() {
    if (fd >= 0) close(fd);
  }

  std::string name;  // "model.safetensors"
  std::string path;  // of the partial file
  std::vector<size_t> slots;
  uint64_t data_begin = 0;  // within the file
  uint64_t data_bytes = 0;
  int fd = -1;
};

SafetensorsWriter::SafetensorsWriter(std::string directory, Options options)
    : directory_(std::move(directory)), options_(std::move(options)) {}

SafetensorsWriter::~SafetensorsWriter() = default;

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& directory, std::vector<TensorSpec> tensors,
    Options options) {
  std::unique_ptr<SafetensorsWriter> writer(
      new SafetensorsWriter(directory, std::move(options)));
  RETURN_IF_ERROR(writer->Plan(std::move(tensors)));
  RETURN_IF_ERROR(writer->OpenShards());
  return writer;
}

// Distributes the tensors over shards and offsets.
absl::Status SafetensorsWriter::Plan(std::vector<TensorSpec> tensors) {
  shards_.emplace_back();
  for (TensorSpec& spec : tensors) {
    const std::string where = absl::StrCat(
        directory_, ": tensor \"", PrintableName(spec.info.name), "\": ");
    const std::optional<int64_t> size =
        NumBytes(spec.info.dtype, spec.info.shape);
    if (!size.has_value() || !IsValidUtf8(spec.info.name) ||
        spec.info.name == "__metadata__") {
      return absl::InvalidArgumentError(
          absl::StrCat(where, "no size in ", ShapeToString(spec.info.shape),
                       ", or no possible name"));
    }
    ANYPREC_CHECK(spec.checksum_parts == 0 || *size % spec.checksum_parts == 0)
        << where << spec.checksum_parts << " parts of " << *size << " bytes";
    if (!index_.emplace(spec.info.name, slots_.size()).second) {
      return absl::InvalidArgumentError(absl::StrCat(where, "declared twice"));
    }
    const auto bytes = static_cast<uint64_t>(*size);
    const auto most = static_cast<uint64_t>(options_.max_shard_bytes);
    if (shards_.back().data_bytes > 0 &&
        shards_.back().data_bytes + bytes > most) {
      shards_.emplace_back();
    }
    Shard& shard = shards_.back();
    Slot slot;
    slot.shard = shards_.size() - 1;
    slot.offset = shard.data_bytes;
    slot.size = bytes;
    slot.checksums.resize(static_cast<size_t>(spec.checksum_parts));
    slot.spec = std::move(spec);
    shard.slots.push_back(slots_.size());
    shard.data_bytes += bytes;
    slots_.push_back(std::move(slot));
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::OpenShards() {
  for (size_t i = 0; i < shards_.size(); ++i) {
    Shard& shard = shards_[i];
    shard.name = shards_.size() == 1
                     ? "model.safetensors"
                     : absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1,
                                       shards_.size());
    const std::string final_path = absl::StrCat(directory_, "/", shard.name);
    shard.path = absl::StrCat(final_path, kPartialSuffix);
    shard.data_begin = kLengthBytes + Header(shard).size();
    const uint64_t file_bytes = shard.data_begin + shard.data_bytes;
    if (options_.resume) {
      RETURN_IF_ERROR(Reopen(final_path, file_bytes, &shard));
    } else {
      shard.fd = open(shard.path.c_str(),
                      O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
      if (shard.fd < 0) {
        return absl::ErrnoToStatus(errno, absl::StrCat("create ", shard.path));
      }
      RETURN_IF_ERROR(Reserve(shard.fd, shard.path, file_bytes));
    }
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Reopen(const std::string& final_path,
                                       uint64_t file_bytes, Shard* shard) {
  struct stat info;
  if (stat(shard->path.c_str(), &info) != 0 &&
      stat(final_path.c_str(), &info) == 0) {
    // A run that ended between Finish() and what its caller did then.
    RETURN_IF_ERROR(Rename(final_path, shard->path));
  }
  shard->fd = open(shard->path.c_str(), O_RDWR | O_CLOEXEC);
  if (shard->fd < 0 || fstat(shard->fd, &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("reopen ", shard->path));
  }
  if (static_cast<uint64_t>(info.st_size) != file_bytes) {
    return absl::DataLossError(absl::StrCat(shard->path, ": ", info.st_size,
                                            " bytes, needed are ", file_bytes));
  }
  return absl::OkStatus();
}

// The JSON of a shard, padded so that data begins on kAlignment. Its size does
// not depend on the checksums.
std::string SafetensorsWriter::Header(const Shard& shard) const {
  json header = json::object();
  json& metadata = header["__metadata__"] = json::object();
  for (const auto& [key, value] : options_.metadata) metadata[key] = value;
  for (const size_t i : shard.slots) {
    const Slot& slot = slots_[i];
    const TensorInfo& info = slot.spec.info;
    header[info.name] = {
        {"dtype", std::string(DTypeName(info.dtype))},
        {"shape", info.shape},
        {"data_offsets", {slot.offset, slot.offset + slot.size}},
    };
    if (!slot.checksums.empty()) {
      metadata[absl::StrCat("crc32c:", info.name)] =
          FormatChecksums(slot.checksums);
    }
  }
  std::string text =
      header.dump(-1, ' ', false, json::error_handler_t::replace);
  const uint64_t used = kLengthBytes + text.size();
  text.append((kAlignment - used % kAlignment) % kAlignment, ' ');
  return text;
}

absl::Status SafetensorsWriter::Append(absl::string_view name,
                                       std::span<const std::byte> data) {
  const auto found = index_.find(name);
  ANYPREC_CHECK(found != index_.end()) << "undeclared tensor " << name;
  Slot& slot = slots_[found->second];
  ANYPREC_CHECK(data.size() <= slot.size - slot.written)
      << name << ": " << data.size() << " bytes, left are "
      << slot.size - slot.written;
  const Shard& shard = shards_[slot.shard];
  RETURN_IF_ERROR(WriteAt(shard.fd, shard.path,
                          shard.data_begin + slot.offset + slot.written, data));
  // Each part's checksum takes the bytes that fall into it.
  const uint64_t part_bytes =
      slot.checksums.empty() ? 0 : slot.size / slot.checksums.size();
  while (!data.empty()) {
    size_t count = data.size();
    if (!slot.checksums.empty()) {
      const uint64_t left = part_bytes - slot.written % part_bytes;
      count = std::min<uint64_t>(count, left);
      uint32_t& checksum = slot.checksums[slot.written / part_bytes];
      checksum = ExtendCrc32c(checksum, data.first(count));
    }
    slot.written += count;
    data = data.subspan(count);
  }
  return absl::OkStatus();
}

bool SafetensorsWriter::IsComplete(absl::string_view name) const {
  const auto found = index_.find(name);
  ANYPREC_CHECK(found != index_.end()) << "undeclared tensor " << name;
  const Slot& slot = slots_[found->second];
  return slot.written == slot.size;
}

const std::vector<uint32_t>& SafetensorsWriter::Checksums(
    absl::string_view name) const {
  const auto found = index_.find(name);
  ANYPREC_CHECK(found != index_.end()) << "undeclared tensor " << name;
  return slots_[found->second].checksums;
}

absl::Status SafetensorsWriter::MarkWritten(absl::string_view name,
                                            std::vector<uint32_t> checksums) {
  const auto found = index_.find(name);
  if (found == index_.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        directory_, ": tensor \"", PrintableName(name), "\" is not declared"));
  }
  Slot& slot = slots_[found->second];
  if (checksums.size() != slot.checksums.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        directory_, ": tensor \"", PrintableName(name), "\": ",
        checksums.size(), " checksums, needed are ", slot.checksums.size()));
  }
  slot.checksums = std::move(checksums);
  slot.written = slot.size;
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Sync() {
  for (const Shard& shard : shards_) {
    RETURN_IF_ERROR(SyncFile(shard.fd, shard.path));
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Finish() {
  for (const Slot& slot : slots_) {
    if (slot.written == slot.size) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        directory_, ": tensor \"", PrintableName(slot.spec.info.name),
        "\" has ", slot.written, " of ", slot.size, " bytes"));
  }
  for (const Shard& shard : shards_) {
    const std::string header = Header(shard);
    const uint64_t length = header.size();
    std::string bytes(sizeof(length), '\0');
    std::memcpy(bytes.data(), &length, sizeof(length));
    bytes += header;
    ANYPREC_CHECK(bytes.size() == shard.data_begin) << shard.path;
    RETURN_IF_ERROR(
        WriteAt(shard.fd, shard.path, 0,
                std::as_bytes(std::span(bytes.data(), bytes.size()))));
  }
  RETURN_IF_ERROR(Sync());
  for (const Shard& shard : shards_) {
    RETURN_IF_ERROR(
        Rename(shard.path, absl::StrCat(directory_, "/", shard.name)));
  }
  if (shards_.size() > 1) RETURN_IF_ERROR(WriteIndex());
  return SyncDirectory(directory_);
}

absl::Status SafetensorsWriter::WriteIndex() const {
  uint64_t total = 0;
  json map = json::object();
  for (const Slot& slot : slots_) {
    total += slot.size;
    map[slot.spec.info.name] = shards_[slot.shard].name;
  }
  const json index = {{"metadata", {{"total_size", total}}},
                      {"weight_map", std::move(map)}};
  return WriteFileAtomically(
      absl::StrCat(directory_, "/model.safetensors.index.json"),
      index.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace anyprec
