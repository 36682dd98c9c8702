// Fingerprints of inputs: two runs of a quantization that agree in them would
// produce the same model, so that the second may continue the first.
#ifndef ANYPREC_QUANTIZE_FINGERPRINT_H_
#define ANYPREC_QUANTIZE_FINGERPRINT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace anyprec {

// 64-bit FNV-1a, continued from `hash`: the same on every machine.
inline constexpr uint64_t kFnvOffset = 0xcbf29ce484222325u;
uint64_t HashBytes(absl::string_view bytes, uint64_t hash = kFnvOffset);

// Names, sizes and CRC-32Cs of a file, or of every regular file in a folder
// (not in its folders), as hex digits of their hash. Reads every byte, at some
// 3.5 GB/s from memory (crc32c.h), which is little beside what quantizing does
// with a byte. NOT_FOUND where there is nothing.
absl::StatusOr<std::string> PathFingerprint(const std::string& path);

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_FINGERPRINT_H_
