// Paths, and messages that begin with them.
#ifndef ANYPREC_RUNTIME_TOKENIZER_FILES_H_
#define ANYPREC_RUNTIME_TOKENIZER_FILES_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace anyprec {

// A regular file, or a link to one.
bool IsFile(absl::string_view path);

// The largest tokenizer.json known has 33 MB.
inline constexpr size_t kMaxTokenizerFileBytes = size_t{256} << 20;

// folder/name.
std::string JoinPath(absl::string_view folder, absl::string_view name);

// `status` with "path: " before its message.
absl::Status InFile(const std::string& path, const absl::Status& status);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_FILES_H_
