#include "kernels/cpu/huge_pages.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace anyprec {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

}  // namespace

absl::StatusOr<HugePageBuffer> HugePageBuffer::Create(size_t bytes) {
  HugePageBuffer buffer;
  if (bytes == 0) return buffer;
  const auto exhausted = [bytes](absl::string_view reason) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot allocate ", bytes, " bytes: ", reason));
  };
  // mmap aligns to 4 KiB; the slack lets us begin on a huge page.
  const size_t slack = bytes >= kHugePageBytes ? kHugePageBytes : 0;
  if (bytes > std::numeric_limits<size_t>::max() - slack) {
    return exhausted("beyond the address space");
  }
  void* mapping = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return exhausted(std::strerror(errno));
  buffer.mapping_ = mapping;
  buffer.mapping_bytes_ = bytes + slack;
  buffer.data_ = mapping;
  buffer.size_ = bytes;
  if (slack != 0) {
    const auto address = reinterpret_cast<uintptr_t>(mapping);
    const uintptr_t offset = -address % kHugePageBytes;
    buffer.data_ = static_cast<char*>(mapping) + offset;
    // A hint: EINVAL from a kernel built without huge pages does no harm.
    (void)madvise(buffer.data_, bytes, MADV_HUGEPAGE);
  }
  return buffer;
}

HugePageBuffer::~HugePageBuffer() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
}

}  // namespace anyprec
