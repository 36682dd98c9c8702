#include "runtime/tokenizer/encode_input.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/tokenizer/utf8.h"

namespace anyprec {

absl::StatusOr<EncodeInput> EncodeInput::Create(absl::string_view text,
                                                const EncodeOptions& options) {
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a text of ", text.size(), " bytes, at most ", kMaxTextBytes));
  }
  EncodeInput input;
  input.parse_special_ = options.parse_special;
  input.borrowed_ = text;
  if (IsWellFormedUtf8(text)) {
    input.literal_.assign(options.literal.begin(), options.literal.end());
    return input;
  }
  // A literal range is replaced by itself, so that its ends can be found again.
  input.replaced_ = true;
  size_t done = 0;
  const auto replace_up_to = [&](size_t end) {
    input.storage_ += ReplaceInvalidUtf8(text.substr(done, end - done));
    done = end;
    return input.storage_.size();
  };
  for (const TextRange& range : options.literal) {
    const size_t begin =
        replace_up_to(std::clamp(range.begin, done, text.size()));
    const size_t end = replace_up_to(std::clamp(range.end, done, text.size()));
    input.literal_.push_back({begin, end});
  }
  replace_up_to(text.size());
  return input;
}

bool EncodeInput::ControlAllowed(TextRange range) const {
  if (!parse_special_) return false;
  // The first literal range that ends behind the beginning of `range`.
  const auto next = std::upper_bound(
      literal_.begin(), literal_.end(), range.begin,
      [](size_t at, const TextRange& literal) { return at < literal.end; });
  return next == literal_.end() || next->begin >= range.end;
}

}  // namespace anyprec
