// Text that activations are measured on, as token sequences.
#ifndef ANYPREC_QUANTIZE_CALIBRATION_H_
#define ANYPREC_QUANTIZE_CALIBRATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

struct CalibrationOptions {
  // A .jsonl file holds one JSON object a line, each with a string `text`: a
  // document. Any other file is one text.
  std::string path;
  // Sequences wanted, and their length. 100 of 512 is what the Any-Precision
  // paper uses; more tokens change little.
  int documents = 100;
  int tokens = 512;
};

// The first `tokens` tokens of each of the first `documents` documents that
// have as many; a plain text is cut into consecutive sequences instead. A
// document or text begins with whatever the tokenizer adds by default (BOS for
// most Llamas, nothing for SmolLM2), and that counts.
//
// Fewer sequences than wanted are fine; INVALID_ARGUMENT where there is none,
// naming the longest length found, or where a line is malformed; DATA_LOSS
// where the file cannot be read to its end.
absl::StatusOr<std::vector<std::vector<int32_t>>> ReadCalibration(
    const CalibrationOptions& options, const Tokenizer& tokenizer);

}  // namespace anyprec

#endif  // ANYPREC_QUANTIZE_CALIBRATION_H_
