#include "kernels/cpu/cpu_linear.h"

#include "kernels/status_macros.h"

namespace anyprec {

absl::StatusOr<uint8_t*> MatMulScratch::Reserve(size_t bytes) {
  if (bytes > buffer_.size()) {
    // Half as much again, so that growing batches settle after a few calls.
    ASSIGN_OR_RETURN(buffer_, HugePageBuffer::Create(bytes + bytes / 2));
  }
  return buffer_.as<uint8_t>();
}

}  // namespace anyprec
