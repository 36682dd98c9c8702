#include "runtime/format/file_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace anyprec {

absl::Status WriteAt(int fd, const std::string& path, uint64_t offset,
                     std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t count =
        pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return absl::ErrnoToStatus(
          errno, absl::StrCat("write ", data.size(), " bytes at ", offset,
                              " of ", path));
    }
    data = data.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return absl::OkStatus();
}

absl::Status SyncFile(int fd, const std::string& path) {
  // Some file systems cannot sync (EINVAL, EROFS): nothing more can be done.
  if (fsync(fd) == 0 || errno == EINVAL || errno == EROFS) {
    return absl::OkStatus();
  }
  return absl::ErrnoToStatus(errno, absl::StrCat("fsync ", path));
}

absl::Status SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  const absl::Cleanup close_fd = [fd] { close(fd); };
  return SyncFile(fd, path);
}

absl::Status WriteFileAtomically(const std::string& path,
                                 absl::string_view contents) {
  const std::string partial = absl::StrCat(path, ".partial");
  const int fd =
      open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("create ", partial));
  }
  const absl::Cleanup close_fd = [fd] { close(fd); };
  RETURN_IF_ERROR(
      WriteAt(fd, partial, 0,
              std::as_bytes(std::span(contents.data(), contents.size()))));
  RETURN_IF_ERROR(SyncFile(fd, partial));
  if (rename(partial.c_str(), path.c_str()) != 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("rename ", partial, " to ", path));
  }
  return absl::OkStatus();
}

}  // namespace anyprec
