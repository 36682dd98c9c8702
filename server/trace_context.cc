#include "server/trace_context.h"

#include <algorithm>
#include <cstddef>

namespace anyprec {
namespace {

// Lower case only.
bool IsHex(absl::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

bool IsZero(absl::string_view text) {
  return text.find_first_not_of('0') == absl::string_view::npos;
}

}  // namespace

absl::string_view ParseTraceParent(absl::string_view header) {
  constexpr size_t kLength = 2 + 1 + 32 + 1 + 16 + 1 + 2;
  if (header.size() < kLength) return {};
  const absl::string_view parent = header.substr(0, kLength);
  const absl::string_view version = parent.substr(0, 2);
  const absl::string_view trace_id = parent.substr(3, 32);
  const absl::string_view parent_id = parent.substr(36, 16);
  const absl::string_view flags = parent.substr(53);
  if (parent[2] != '-' || parent[35] != '-' || parent[52] != '-') return {};
  if (!IsHex(version) || !IsHex(trace_id) || !IsHex(parent_id) ||
      !IsHex(flags)) {
    return {};
  }
  if (version == "ff" || IsZero(trace_id) || IsZero(parent_id)) return {};
  const bool ends = header.size() == kLength;
  if (!ends && (version == "00" || header[kLength] != '-')) return {};
  return parent;
}

std::string TraceParentOf(const grpc::CallbackServerContext& context) {
  const auto found = context.client_metadata().find("traceparent");
  if (found == context.client_metadata().end()) return "";
  const grpc::string_ref value = found->second;
  return std::string(
      ParseTraceParent(absl::string_view(value.data(), value.size())));
}

}  // namespace anyprec
