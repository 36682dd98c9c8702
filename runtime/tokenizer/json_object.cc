#include "runtime/tokenizer/json_object.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

using nlohmann::json;

}  // namespace

std::string JsonExcerpt(const json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  constexpr size_t kMaxBytes = 60;
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kMaxBytes) text = text.substr(0, kMaxBytes) + "...";
  return text;
}

absl::StatusOr<int64_t> JsonInt(const json& value, absl::string_view path) {
  const bool too_large =
      value.is_number_unsigned() &&
      value.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()};
  if (!value.is_number_integer() || too_large) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", JsonExcerpt(value), ", needs an integer"));
  }
  return value.get<int64_t>();
}

absl::StatusOr<TokenId> JsonTokenId(const json& value, absl::string_view path) {
  ASSIGN_OR_RETURN(const int64_t id, JsonInt(value, path));
  if (id < 0 || id > std::numeric_limits<TokenId>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", id, " is no token id"));
  }
  return static_cast<TokenId>(id);
}

absl::StatusOr<JsonObject> JsonObject::Create(const json& value,
                                              absl::string_view path) {
  if (!value.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, path.empty() ? "" : ": ", JsonExcerpt(value),
                     ", needs an object"));
  }
  return JsonObject(value, path);
}

std::string JsonObject::Path(absl::string_view key) const {
  return absl::StrCat(path_, path_.empty() ? "" : ".", key);
}

absl::Status JsonObject::WrongType(absl::string_view key,
                                   absl::string_view wanted) const {
  return absl::InvalidArgumentError(
      absl::StrCat(Path(key), ": ", JsonExcerpt((*value_)[std::string(key)]),
                   ", needs ", wanted));
}

const json* JsonObject::Find(absl::string_view key) {
  read_.emplace(key);
  const auto found = value_->find(std::string(key));
  if (found == value_->end() || found->is_null()) return nullptr;
  return &*found;
}

absl::StatusOr<const json*> JsonObject::Get(absl::string_view key) {
  const json* value = Find(key);
  if (value == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(Path(key), " is missing"));
  }
  return value;
}

absl::StatusOr<std::string> JsonObject::String(absl::string_view key) {
  ASSIGN_OR_RETURN(const json* value, Get(key));
  if (!value->is_string()) return WrongType(key, "a string");
  return value->get<std::string>();
}

absl::StatusOr<int64_t> JsonObject::Int(absl::string_view key) {
  ASSIGN_OR_RETURN(const json* value, Get(key));
  return JsonInt(*value, Path(key));
}

absl::StatusOr<JsonObject> JsonObject::Object(absl::string_view key) {
  ASSIGN_OR_RETURN(const json* value, Get(key));
  return Create(*value, Path(key));
}

absl::StatusOr<const json*> JsonObject::Array(absl::string_view key) {
  const json* value = Find(key);
  if (value != nullptr && !value->is_array()) return WrongType(key, "an array");
  return value;
}

absl::StatusOr<bool> JsonObject::Bool(absl::string_view key, bool if_absent) {
  const json* value = Find(key);
  if (value == nullptr) return if_absent;
  if (!value->is_boolean()) return WrongType(key, "true or false");
  return value->get<bool>();
}

absl::Status JsonObject::RejectUnread() const {
  for (const auto& [key, value] : value_->items()) {
    if (read_.contains(key) || value.is_null()) continue;
    return absl::UnimplementedError(
        absl::StrCat(Path(key), " is not supported"));
  }
  return absl::OkStatus();
}

absl::Status JsonObject::Require(absl::string_view key, const json& supported) {
  const json* value = Find(key);
  if (value == nullptr || *value == supported) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat(Path(key), ": ", JsonExcerpt(*value),
                   " is not supported, only ", JsonExcerpt(supported)));
}

}  // namespace anyprec
