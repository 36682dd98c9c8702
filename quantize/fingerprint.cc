#include "quantize/fingerprint.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/format/crc32c.h"
#include "runtime/format/mapped_file.h"

namespace anyprec {
namespace {

namespace fs = std::filesystem;

// Resident at a time, so that a model larger than the memory can be read.
constexpr size_t kPieceBytes = size_t{64} << 20;

absl::StatusOr<std::string> Describe(const fs::path& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file,
                   MappedFile::Open(path.string()));
  const std::span<const std::byte> bytes = file->bytes();
  uint32_t crc = 0;
  for (size_t done = 0; done < bytes.size(); done += kPieceBytes) {
    const auto piece =
        bytes.subspan(done, std::min(kPieceBytes, bytes.size() - done));
    crc = ExtendCrc32c(crc, piece);
    file->DropPages(piece);
  }
  return absl::StrCat(path.filename().string(), "\n", bytes.size(), "\n", crc,
                      "\n");
}

}  // namespace

uint64_t HashBytes(absl::string_view bytes, uint64_t hash) {
  for (const char c : bytes) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  return hash;
}

absl::StatusOr<std::string> PathFingerprint(const std::string& path) {
  std::error_code error;
  std::set<fs::path> paths;  // sorted: folders list in any order
  if (fs::is_directory(path, error)) {
    for (fs::directory_iterator entry(path, error), end; !error && entry != end;
         entry.increment(error)) {
      std::error_code ignored;
      if (entry->is_regular_file(ignored)) paths.insert(entry->path());
    }
  } else if (fs::exists(path, error)) {
    paths.insert(path);
  } else {
    return absl::NotFoundError(absl::StrCat(path, ": no such file or folder"));
  }
  if (error) {
    return absl::InternalError(absl::StrCat(path, ": ", error.message()));
  }
  uint64_t hash = kFnvOffset;
  for (const fs::path& file : paths) {
    ASSIGN_OR_RETURN(const std::string description, Describe(file));
    hash = HashBytes(description, hash);
  }
  return absl::StrCat(absl::Hex(hash, absl::kZeroPad16));
}

}  // namespace anyprec
