// What every Encode() does with its arguments before it tokenizes.
#ifndef ANYPREC_RUNTIME_TOKENIZER_ENCODE_INPUT_H_
#define ANYPREC_RUNTIME_TOKENIZER_ENCODE_INPUT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

// Valid UTF-8, and where in it control tokens may be found.
class EncodeInput {
 public:
  // Replaces malformed UTF-8, and moves the literal ranges with the text.
  // INVALID_ARGUMENT where the text is too long. `text` and `options` must
  // outlive the object.
  static absl::StatusOr<EncodeInput> Create(absl::string_view text,
                                            const EncodeOptions& options);

  absl::string_view text() const {
    return replaced_ ? absl::string_view(storage_) : borrowed_;
  }
  bool ControlAllowed(TextRange range) const;
  // ControlAllowed() does not depend on the range.
  bool ControlUniform() const { return !parse_special_ || literal_.empty(); }

 private:
  EncodeInput() = default;

  bool parse_special_ = false;
  bool replaced_ = false;
  absl::string_view borrowed_;
  std::string storage_;  // the text, if replaced_
  std::vector<TextRange> literal_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_ENCODE_INPUT_H_
