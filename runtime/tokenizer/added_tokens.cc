#include "runtime/tokenizer/added_tokens.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "runtime/tokenizer/utf8.h"

namespace anyprec {

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) {
  std::stable_sort(
      tokens.begin(), tokens.end(),
      [](const AddedToken& a, const AddedToken& b) { return a.text < b.text; });
  for (AddedToken& token : tokens) {
    if (token.text.empty()) continue;
    if (!tokens_.empty() && tokens_.back().text == token.text) {
      tokens_.back() = std::move(token);
    } else {
      tokens_.push_back(std::move(token));
    }
  }
  for (const AddedToken& token : tokens_) {
    first_bytes_[static_cast<uint8_t>(token.text[0])] = true;
  }
}

// Narrows the sorted tokens, byte by byte, to those that share a prefix with
// the text; the shortest of these stands first.
const AddedToken* AddedTokens::LongestPrefix(absl::string_view text) const {
  const AddedToken* longest = nullptr;
  auto begin = tokens_.begin();
  auto end = tokens_.end();
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    // All of [begin, end) agree on bytes [0, i); one of exactly i bytes, which
    // was noted already, has no byte i and sorts before all others.
    const auto before = [i](const AddedToken& token, uint8_t value) {
      return token.text.size() <= i ||
             static_cast<uint8_t>(token.text[i]) < value;
    };
    const auto after = [i](uint8_t value, const AddedToken& token) {
      return token.text.size() > i &&
             value < static_cast<uint8_t>(token.text[i]);
    };
    begin = std::lower_bound(begin, end, byte, before);
    end = std::upper_bound(begin, end, byte, after);
    if (begin == end) break;
    if (begin->text.size() == i + 1) longest = &*begin;
  }
  return longest;
}

std::vector<AddedTokens::Segment> AddedTokens::Split(
    absl::string_view text, const ControlFilter& control_allowed) const {
  std::vector<Segment> segments;
  size_t done = 0;  // Segments cover [0, done).
  for (size_t at = 0; at < text.size();) {
    if (!first_bytes_[static_cast<uint8_t>(text[at])]) {
      ++at;
      continue;
    }
    const AddedToken* token = LongestPrefix(text.substr(at));
    if (token == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + token->text.size();
    at = end;
    if (token->control && !control_allowed({begin, end})) continue;
    if (token->strip_left) {
      begin -= TrailingWhiteSpace(text.substr(done, begin - done));
    }
    if (token->strip_right) end += LeadingWhiteSpace(text.substr(end));
    if (done < begin) segments.push_back({{done, begin}, std::nullopt});
    segments.push_back({{begin, end}, token->id});
    at = done = end;
  }
  if (done < text.size()) {
    segments.push_back({{done, text.size()}, std::nullopt});
  }
  return segments;
}

}  // namespace anyprec
