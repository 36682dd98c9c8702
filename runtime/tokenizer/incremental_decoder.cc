#include "runtime/tokenizer/incremental_decoder.h"

#include "runtime/tokenizer/utf8.h"

namespace anyprec {

IncrementalDecoder::IncrementalDecoder(const Tokenizer* tokenizer,
                                       Options options)
    : tokenizer_(tokenizer), options_(options) {
  Reset();
}

void IncrementalDecoder::Reset() {
  strip_space_ =
      options_.at_text_start && tokenizer_->special().strip_leading_space;
  pending_.clear();
}

std::string IncrementalDecoder::Append(TokenId id) {
  std::string bytes = tokenizer_->TokenBytes(id);
  if (!options_.skip_special) bytes += tokenizer_->ControlText(id);
  if (bytes.empty()) return "";
  if (strip_space_ && bytes.front() == ' ') bytes.erase(0, 1);
  strip_space_ = false;

  pending_ += bytes;
  std::string delta;
  const size_t incomplete = AppendValidUtf8(pending_, &delta);
  pending_.erase(0, pending_.size() - incomplete);
  return delta;
}

std::string IncrementalDecoder::Finish() {
  std::string delta = ReplaceInvalidUtf8(pending_);
  Reset();
  return delta;
}

}  // namespace anyprec
