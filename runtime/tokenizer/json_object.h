// Reads JSON files that come from outside: every error is a Status that names
// the field by its path, and fields that nobody asked for can be rejected.
#ifndef ANYPREC_RUNTIME_TOKENIZER_JSON_OBJECT_H_
#define ANYPREC_RUNTIME_TOKENIZER_JSON_OBJECT_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/token.h"

namespace anyprec {

// `value` as an integer, or an error that names `path`.
absl::StatusOr<int64_t> JsonInt(const nlohmann::json& value,
                                absl::string_view path);

// `value` as a token id: an integer from 0 to 2^31 - 1.
absl::StatusOr<TokenId> JsonTokenId(const nlohmann::json& value,
                                    absl::string_view path);

// A value's JSON for a message, cut after some 60 bytes.
std::string JsonExcerpt(const nlohmann::json& value);

// The fields of one object. A field that is null counts as absent. The value
// must outlive this.
class JsonObject {
 public:
  // `path` names the object in messages; "" for a whole file.
  static absl::StatusOr<JsonObject> Create(const nlohmann::json& value,
                                           absl::string_view path);

  // nullptr if absent.
  const nlohmann::json* Find(absl::string_view key);

  // Errors if absent.
  absl::StatusOr<const nlohmann::json*> Get(absl::string_view key);
  absl::StatusOr<std::string> String(absl::string_view key);
  absl::StatusOr<int64_t> Int(absl::string_view key);
  absl::StatusOr<JsonObject> Object(absl::string_view key);
  // An array. nullptr if absent.
  absl::StatusOr<const nlohmann::json*> Array(absl::string_view key);

  absl::StatusOr<bool> Bool(absl::string_view key, bool if_absent);

  // UNIMPLEMENTED where a field exists that none of the above was called for.
  absl::Status RejectUnread() const;
  // UNIMPLEMENTED where `key` exists with another value than `supported`.
  absl::Status Require(absl::string_view key, const nlohmann::json& supported);

  // The path of a field, for messages.
  std::string Path(absl::string_view key) const;
  const std::string& path() const { return path_; }

 private:
  JsonObject(const nlohmann::json& value, absl::string_view path)
      : value_(&value), path_(path) {}
  absl::Status WrongType(absl::string_view key, absl::string_view wanted) const;

  const nlohmann::json* value_;
  std::string path_;
  absl::flat_hash_set<std::string> read_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_JSON_OBJECT_H_
