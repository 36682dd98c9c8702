#include "quantize/calibration.h"

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "runtime/format/json.h"
#include "runtime/format/mapped_file.h"

namespace anyprec {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

// What Tokenizer::Encode takes.
constexpr size_t kMaxTextBytes = size_t{64} << 20;

absl::StatusOr<Sequences> ReadDocuments(const CalibrationOptions& options,
                                        const Tokenizer& tokenizer,
                                        size_t* longest) {
  std::ifstream file(options.path);
  if (!file) {
    return absl::NotFoundError(
        absl::StrCat(options.path, ": cannot be opened"));
  }
  const size_t tokens = options.tokens;
  const size_t documents = options.documents;
  Sequences sequences;
  std::string line;
  for (int number = 1; sequences.size() < documents && getline(file, line);
       ++number) {
    if (line.empty()) continue;
    const std::string where = absl::StrCat(options.path, ":", number);
    ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(line, where));
    const auto text = object.find("text");
    if (text == object.end() || !text->is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": needs a field \"text\" that is a string"));
    }
    ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                     tokenizer.Encode(text->get_ref<const std::string&>(), {}));
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
