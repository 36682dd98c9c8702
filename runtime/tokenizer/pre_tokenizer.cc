#include "runtime/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/utf8.h"

namespace anyprec {
namespace {

// Finds the matches of a pattern one after the other.
class MatchIterator {
 public:
  MatchIterator(const Regex& pattern, absl::string_view text,
                Regex::Scratch& scratch)
      : pattern_(pattern), text_(text), scratch_(scratch) {}

  // The next match that is not empty; nullopt at the end.
  absl::StatusOr<std::optional<TextRange>> Next() {
    while (at_ < text_.size()) {
      ASSIGN_OR_RETURN(const std::optional<TextRange> match,
                       pattern_.Find(text_, at_, scratch_));
      if (!match.has_value()) break;
      if (match->begin < match->end) {
        at_ = match->end;
        return match;
      }
      at_ = match->begin;
      if (at_ < text_.size()) at_ += FirstUtf8Char(text_.substr(at_)).length;
    }
    at_ = text_.size();
    return std::nullopt;
  }

 private:
  const Regex& pattern_;
  const absl::string_view text_;
  Regex::Scratch& scratch_;
  size_t at_ = 0;
};

// Turns matches and the gaps between them into pieces.
class PieceBuilder {
 public:
  PieceBuilder(PreTokenizer::Split::Behavior behavior, size_t text_size)
      : behavior_(behavior), text_size_(text_size) {}

  // Takes the next part of the text, a match or not; returns the piece that is
  // complete with it, which may be empty.
  TextRange Add(TextRange part, bool is_match) {
    using Behavior = PreTokenizer::Split::Behavior;
    switch (behavior_) {
      case Behavior::kIsolated:
        return part;
      case Behavior::kRemoved:
        return is_match ? TextRange{part.end, part.end} : part;
      case Behavior::kMergedWithPrevious:
        if (!is_match) {
          const TextRange piece = held_;
          held_ = part;
          return piece;
        }
        return Take({held_.begin, part.end});
      case Behavior::kMergedWithNext:
        if (is_match) {
          const TextRange piece = held_;
          held_ = part;
          return piece;
        }
        return Take({held_.begin, part.end});
    }
    return part;
  }

  // What is still held at the end of the text.
  TextRange Finish() { return Take({held_.begin, held_.end}); }

 private:
  TextRange Take(TextRange piece) {
    held_ = {std::min(piece.end, text_size_), std::min(piece.end, text_size_)};
    return piece;
  }

  const PreTokenizer::Split::Behavior behavior_;
  const size_t text_size_;
  TextRange held_;
};

}  // namespace

absl::Status PreTokenizer::Run(absl::string_view text, bool at_text_start,
                               Regex::Scratch& scratch, Sink sink) const {
  Context context{scratch, sink};
  return RunFrom(0, text, at_text_start, context);
}

absl::Status PreTokenizer::RunFrom(size_t step, absl::string_view piece,
                                   bool first, Context& context) const {
  if (piece.empty()) return absl::OkStatus();
  if (step == steps_.size()) {
    context.sink(piece);
    return absl::OkStatus();
  }
  return std::visit(
      [&](const auto& s) { return Apply(s, step + 1, piece, first, context); },
      steps_[step]);
}

absl::Status PreTokenizer::Apply(const Split& split, size_t next,
                                 absl::string_view piece, bool first,
                                 Context& context) const {
  MatchIterator matches(split.pattern, piece, context.scratch);
  PieceBuilder builder(split.behavior, piece.size());
  const auto pass_on = [&](TextRange range) {
    return RunFrom(next, piece.substr(range.begin, range.end - range.begin),
                   first && range.begin == 0, context);
  };
  size_t done = 0;
  while (done < piece.size()) {
    ASSIGN_OR_RETURN(const std::optional<TextRange> match, matches.Next());
    const TextRange found =
        match.value_or(TextRange{piece.size(), piece.size()});
    if (done < found.begin) {
      RETURN_IF_ERROR(pass_on(builder.Add({done, found.begin}, split.invert)));
    }
    if (found.begin < found.end) {
      RETURN_IF_ERROR(pass_on(builder.Add(found, !split.invert)));
    }
    done = found.end;
  }
  return pass_on(builder.Finish());
}

absl::Status PreTokenizer::Apply(const PrefixSpace&, size_t next,
                                 absl::string_view piece, bool first,
                                 Context& context) const {
  if (absl::StartsWith(piece, " ")) {
    return RunFrom(next, piece, first, context);
  }
  std::string prefixed = " ";
  prefixed.append(piece.data(), piece.size());
  return RunFrom(next, prefixed, first, context);
}

absl::Status PreTokenizer::Apply(const Metaspace& metaspace, size_t next,
                                 absl::string_view piece, bool first,
                                 Context& context) const {
  std::string text = absl::StrReplaceAll(piece, {{" ", metaspace.replacement}});
  const bool wanted =
      metaspace.prepend == Metaspace::Prepend::kAlways ||
      (metaspace.prepend == Metaspace::Prepend::kFirst && first);
  if (wanted && !absl::StartsWith(text, metaspace.replacement)) {
    text.insert(0, metaspace.replacement);
  }
  if (!metaspace.split) return RunFrom(next, text, first, context);

  const absl::string_view view = text;
  for (size_t begin = 0; begin < view.size();) {
    const size_t end =
        std::min(view.find(metaspace.replacement, begin + 1), view.size());
    RETURN_IF_ERROR(RunFrom(next, view.substr(begin, end - begin),
                            first && begin == 0, context));
    begin = end;
  }
  return absl::OkStatus();
}

}  // namespace anyprec
