#include "quantize/calibration.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "runtime/format/json_lines.h"
#include "runtime/format/mapped_file.h"

namespace anyprec {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

absl::StatusOr<Sequences> ReadDocuments(const CalibrationOptions& options,
                                        const Tokenizer& tokenizer,
                                        size_t* longest) {
  const size_t tokens = options.tokens;
  const size_t documents = options.documents;
  ASSIGN_OR_RETURN(JsonLines lines, JsonLines::Open(options.path));
  Sequences sequences;
  while (sequences.size() < documents) {
    ASSIGN_OR_RETURN(const bool more, lines.Next());
    if (!more) break;
    ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                     tokenizer.Encode(lines.text(), {}));
    *longest = std::max(*longest, ids.size());
    if (ids.size() < tokens) continue;
    ids.resize(tokens);
    sequences.push_back(std::move(ids));
  }
  return sequences;
}

absl::StatusOr<Sequences> ReadText(const CalibrationOptions& options,
                                   const Tokenizer& tokenizer,
                                   size_t* longest) {
  ASSIGN_OR_RETURN(const std::string text,
                   ReadSmallFile(options.path, kMaxTextBytes));
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.Encode(text, {}));
  *longest = ids.size();
  const size_t tokens = options.tokens;
  const size_t count = std::min<size_t>(ids.size() / tokens, options.documents);
  Sequences sequences;
  for (size_t i = 0; i < count; ++i) {
    sequences.emplace_back(ids.begin() + i * tokens,
                           ids.begin() + (i + 1) * tokens);
  }
  return sequences;
}

}  // namespace

absl::StatusOr<Sequences> ReadCalibration(const CalibrationOptions& options,
                                          const Tokenizer& tokenizer) {
  ANYPREC_CHECK(options.documents > 0 && options.tokens > 0);
  size_t longest = 0;
  ASSIGN_OR_RETURN(Sequences sequences,
                   absl::EndsWith(options.path, ".jsonl")
                       ? ReadDocuments(options, tokenizer, &longest)
                       : ReadText(options, tokenizer, &longest));
  if (sequences.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.path, ": the longest document has ", longest,
        " tokens, calibration needs ", options.tokens, " or more"));
  }
  return sequences;
}

}  // namespace anyprec
