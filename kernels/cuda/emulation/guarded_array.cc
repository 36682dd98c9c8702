#include "kernels/cuda/emulation/guarded_array.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/check.h"

namespace anyprec::emulation {
namespace {

constexpr size_t kAlignment = 256;

// A NaN in every float format.
constexpr int kPoison = 0xff;

// As wide as what a warp writes at most in one instruction, 16 bytes a lane.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kGuardBytes = 0;
#else
constexpr size_t kGuardBytes = 512;
#endif

char* Allocate(size_t bytes) {
  void* memory = nullptr;
  ANYPREC_CHECK(posix_memalign(&memory, kAlignment, bytes) == 0);
  std::memset(memory, kPoison, bytes);
  return static_cast<char*>(memory);
}

bool Intact(const char* guard) {
  return std::all_of(guard, guard + kGuardBytes, [](char c) {
    return static_cast<unsigned char>(c) == kPoison;
  });
}

}  // namespace

GuardedArray::GuardedArray(size_t bytes)
    : memory_(Allocate(bytes + 2 * kGuardBytes), std::free),
      data_(memory_.get() + kGuardBytes),
      bytes_(bytes) {}

bool GuardedArray::Contains(const void* first, size_t bytes) const {
  const char* at = static_cast<const char*>(first);
  return at >= data_ && at <= data_ + bytes_ &&
         bytes <= static_cast<size_t>(data_ + bytes_ - at);
}

std::string GuardedArray::Damage() const {
  const std::string array = "an array of " + std::to_string(bytes_) + " bytes";
  if (!Intact(data_ - kGuardBytes)) return "wrote before " + array;
  if (!Intact(data_ + bytes_)) return "wrote past " + array;
  return "";
}

}  // namespace anyprec::emulation
