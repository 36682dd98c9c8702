// A file mapped into memory, read-only, for as long as the object lives.
//
// Guarantees: bytes() stays valid and unchanged until destruction, provided
// that nobody rewrites or truncates the file meanwhile: a truncated file raises
// SIGBUS, as any mapping does. Model files are therefore replaced by rename,
// never in place.
//
// Thread-safe.
#ifndef ANYPREC_RUNTIME_FORMAT_MAPPED_FILE_H_
#define ANYPREC_RUNTIME_FORMAT_MAPPED_FILE_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace anyprec {

class MappedFile {
 public:
  // NOT_FOUND, PERMISSION_DENIED or INTERNAL, naming the path; an empty file
  // maps to an empty span. INVALID_ARGUMENT for what is not a regular file.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(
      const std::string& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }

  // Gives back the resident pages that lie wholly within `range`, a part of
  // bytes(). They stay readable: the next access faults them in again. For
  // loaders that copy, so that the copy and the file are not both resident.
  void DropPages(std::span<const std::byte> range) const;

 private:
  MappedFile(std::string path, std::span<const std::byte> bytes);

  const std::string path_;
  const std::span<const std::byte> bytes_;
};

// Reads a whole small file. RESOURCE_EXHAUSTED where it is larger than
// `max_bytes`, before a byte of it is read.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path,
                                          size_t max_bytes);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_MAPPED_FILE_H_
