#include "runtime/format/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace anyprec {
namespace {

// Opens `path` for reading and tells its size. The caller closes `*fd`.
absl::Status OpenRegularFile(const std::string& path, int* fd, size_t* size) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  *fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  struct stat info;
  if (fstat(*fd, &info) != 0) {
    const int error = errno;
    close(*fd);
    return absl::ErrnoToStatus(error, absl::StrCat("stat ", path));
  }
  if (!S_ISREG(info.st_mode)) {
    close(*fd);
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not a regular file"));
  }
  *size = static_cast<size_t>(info.st_size);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(
    const std::string& path) {
  int fd = -1;
  size_t size = 0;
  if (absl::Status status = OpenRegularFile(path, &fd, &size); !status.ok()) {
    return status;
  }
  const absl::Cleanup close_fd = [fd] { close(fd); };
  std::span<const std::byte> bytes;
  if (size > 0) {
    void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      return absl::ErrnoToStatus(errno,
                                 absl::StrCat("mmap ", size, " of ", path));
    }
    bytes = {static_cast<const std::byte*>(data), size};
  }
  return std::unique_ptr<MappedFile>(new MappedFile(path, bytes));
}

MappedFile::MappedFile(std::string path, std::span<const std::byte> bytes)
    : path_(std::move(path)), bytes_(bytes) {}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) {
    munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
}

void MappedFile::DropPages(std::span<const std::byte> range) const {
  if (range.empty()) return;
  ANYPREC_CHECK(range.data() >= bytes_.data() &&
                range.data() + range.size() <= bytes_.data() + bytes_.size())
      << path_ << ": range outside the mapping";
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(range.data());
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t last = (begin + range.size()) / page * page;
  if (first >= last) return;
  // Advice only: where the kernel refuses, the pages stay, nothing else.
  madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path,
                                          size_t max_bytes) {
  int fd = -1;
  size_t size = 0;
  if (absl::Status status = OpenRegularFile(path, &fd, &size); !status.ok()) {
    return status;
  }
  const absl::Cleanup close_fd = [fd] { close(fd); };
  if (size > max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        path, ": ", size, " bytes, at most ", max_bytes, " are read"));
  }
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t count = read(fd, text.data() + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("read ", path));
    }
    if (count == 0) {
      return absl::DataLossError(absl::StrCat(path, ": ends after ", done,
                                              " bytes, its size said ", size));
    }
    done += static_cast<size_t>(count);
  }
  return text;
}

}  // namespace anyprec
