// Parsing of small JSON files from outside: bounded in size and depth, without
// duplicate keys, never throwing.
#ifndef ANYPREC_RUNTIME_FORMAT_JSON_H_
#define ANYPREC_RUNTIME_FORMAT_JSON_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace anyprec {

// Real configuration files nest 3 or 4 deep. The limit keeps recursive code
// (copying and dumping a document) away from the end of the stack.
inline constexpr int kMaxJsonDepth = 32;

// INVALID_ARGUMENT, beginning with `source`, where `text` is not one JSON
// object in UTF-8, nests deeper than kMaxJsonDepth, or has a key twice in one
// object. The document takes up to about 30 bytes for a byte of text: callers
// limit the text.
absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text,
                                               absl::string_view source);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_JSON_H_
