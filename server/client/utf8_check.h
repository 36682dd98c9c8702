// Whether texts are UTF-8, before they are sent: gRPC and protobuf would refuse
// them without a word about which one is wrong, and where.
//
// runtime/tokenizer/utf8.h does more, but the client knows nothing of runtime.
#ifndef ANYPREC_SERVER_CLIENT_UTF8_CHECK_H_
#define ANYPREC_SERVER_CLIENT_UTF8_CHECK_H_

#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace anyprec {

// INVALID_ARGUMENT names `object` and the first byte that begins no character.
absl::Status RequireUtf8(absl::string_view object, absl::string_view text);

// The same of each argument of a command: "--stop" where it is a flag with its
// value, else "argument N", where `anyprec COMMAND` has the command as its
// argument 1.
absl::Status RequireUtf8Arguments(std::span<const std::string> arguments);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_CLIENT_UTF8_CHECK_H_
