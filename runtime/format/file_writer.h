// Durable writing of files with the errors that name them.
#ifndef ANYPREC_RUNTIME_FORMAT_FILE_WRITER_H_
#define ANYPREC_RUNTIME_FORMAT_FILE_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace anyprec {

// Writes all of `data` at `offset` of the open file `fd`. `path` is for the
// message.
absl::Status WriteAt(int fd, const std::string& path, uint64_t offset,
                     std::span<const std::byte> data);

// Flushes a file's data and size to the disk.
absl::Status SyncFile(int fd, const std::string& path);

// Flushes a folder's entries: what makes a rename within it survive a crash.
absl::Status SyncDirectory(const std::string& path);

// Writes `path` as a whole: readers see the old contents, if any, or the new.
absl::Status WriteFileAtomically(const std::string& path,
                                 absl::string_view contents);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_FILE_WRITER_H_
