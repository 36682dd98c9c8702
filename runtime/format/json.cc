#include "runtime/format/json.h"

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace anyprec {
namespace {

using nlohmann::json;

// Watches the parser: answers false, which drops a value instead of storing
// it, from the first fault on.
class Guard {
 public:
  bool operator()(int depth, json::parse_event_t event, const json& value) {
    if (!fault_.empty()) return false;
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        if (depth >= kMaxJsonDepth) {
          fault_ = absl::StrCat("nests deeper than ", kMaxJsonDepth, " levels");
        } else if (event == json::parse_event_t::object_start) {
          keys_.emplace_back();
        }
        break;
      case json::parse_event_t::object_end:
        keys_.pop_back();
        break;
      case json::parse_event_t::key: {
        const auto& key = value.get_ref<const std::string&>();
        if (!keys_.back().insert(key).second) {
          fault_ =
              absl::StrCat("has the key \"", key, "\" twice in one object");
        }
        break;
      }
      default:
        break;
    }
    return fault_.empty();
  }

  const std::string& fault() const { return fault_; }

 private:
  std::vector<std::set<std::string>> keys_;  // of the objects now open
  std::string fault_;
};

// The library's words for what is wrong and where, without its exception.
std::string SyntaxError(absl::string_view text) {
  class Listener : public nlohmann::json_sax<json> {
   public:
    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return true; }
    bool key(string_t&) override { return true; }
    bool end_object() override { return true; }
    bool start_array(std::size_t) override { return true; }
    bool end_array() override { return true; }
    bool parse_error(std::size_t position, const std::string&,
                     const nlohmann::detail::exception&) override {
      message = absl::StrCat("not valid JSON at byte ", position);
      return false;
    }
    std::string message = "not valid JSON";
  };
  Listener listener;
  json::sax_parse(text.begin(), text.end(), &listener);
  return listener.message;
}

}  // namespace

absl::StatusOr<json> ParseJsonObject(absl::string_view text,
                                     absl::string_view source) {
  Guard guard;
  json document = json::parse(
      text.begin(), text.end(),
      [&guard](int depth, json::parse_event_t event, json& value) {
        return guard(depth, event, value);
      },
      /*allow_exceptions=*/false);
  if (!guard.fault().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": the JSON ", guard.fault()));
  }
  if (document.is_discarded()) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": ", SyntaxError(text)));
  }
  if (!document.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": the JSON is of type ", document.type_name(),
                     ", needed is an object"));
  }
  return document;
}

}  // namespace anyprec
