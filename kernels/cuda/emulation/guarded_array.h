// A heap array that stands in for memory of a device.
#ifndef ANYPREC_KERNELS_CUDA_EMULATION_GUARDED_ARRAY_H_
#define ANYPREC_KERNELS_CUDA_EMULATION_GUARDED_ARRAY_H_

#include <cstddef>
#include <memory>
#include <string>

namespace anyprec::emulation {

// Aligned to 256 bytes as cudaMalloc does, full of NaNs, with guard zones
// before and after: so that a read of what was never written, or out of bounds,
// does not pass for a number, and a write out of bounds is found afterwards.
// Under ASan the heap's own guard zones find both as they happen. Movable; not
// thread-safe.
class GuardedArray {
 public:
  explicit GuardedArray(size_t bytes);

  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool Contains(const void* first, size_t bytes) const;

  // "wrote past an array of 64 bytes", or "" where the guard zones are whole.
  std::string Damage() const;

 private:
  std::unique_ptr<char, void (*)(void*)> memory_;
  char* data_;
  size_t bytes_;
};

}  // namespace anyprec::emulation

#endif  // ANYPREC_KERNELS_CUDA_EMULATION_GUARDED_ARRAY_H_
