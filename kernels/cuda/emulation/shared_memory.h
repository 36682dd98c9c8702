// The shared memory of one block.
#ifndef ANYPREC_KERNELS_CUDA_EMULATION_SHARED_MEMORY_H_
#define ANYPREC_KERNELS_CUDA_EMULATION_SHARED_MEMORY_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/emulation/guarded_array.h"

namespace anyprec::emulation {

// What a block may have on sm_90: 227 KiB of the multiprocessor's 228.
inline constexpr size_t kMaxSharedBytes = 227 << 10;

// Not thread-safe.
class SharedMemory {
 public:
  // The array of `key`, made where there is none yet; a null key stands for the
  // dynamic one. Null where all arrays would together exceed kMaxSharedBytes.
  void* Get(const void* key, size_t bytes) {
    size_t total = bytes;
    for (const auto& [its_key, array] : arrays_) {
      if (its_key == key) return array.data();
      total += array.bytes();
    }
    if (total > kMaxSharedBytes) return nullptr;
    return arrays_.emplace_back(key, bytes).second.data();
  }

  // As GuardedArray::Damage(), of the first array that has any.
  std::string Damage() const {
    for (const auto& [key, array] : arrays_) {
      const std::string damage = array.Damage();
      if (damage.empty()) continue;
      return damage + " in shared memory (" +
             (key == nullptr ? "dynamic)" : "static)");
    }
    return "";
  }

 private:
  std::vector<std::pair<const void*, GuardedArray>> arrays_;
};

}  // namespace anyprec::emulation

#endif  // ANYPREC_KERNELS_CUDA_EMULATION_SHARED_MEMORY_H_
