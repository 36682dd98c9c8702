#include "tests/load/call_outcome.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "google/rpc/error_details.pb.h"
#include "server/status_conversion.h"
#include "tests/load/summary.h"

namespace anyprec::load {
namespace {

PromptBits PromptBitsOf(const v1::Finish& finish) {
  PromptBits prompt;
  for (const v1::BitsCount& count : finish.prompt_tokens_by_bits()) {
    if (count.bits() > 0) prompt.Add(count.bits(), count.tokens());
  }
  return prompt;
}

bool Confirms(const v1::Finish& finish, const RequestRecord& record) {
  BitsCounts counts = {};
  for (const TokenArrival& token : record.tokens) {
    ++counts[std::min<int>(token.bits, kMaxBitsReported)];
  }
  for (const v1::BitsCount& count : finish.tokens_by_bits()) {
    if (count.bits() < 1 || count.bits() > kMaxBitsReported) return false;
    counts[count.bits()] -= count.tokens();
  }
  return record.prompt_bits.tokens == record.prompt_tokens &&
         std::all_of(counts.begin(), counts.end(),
                     [](int64_t left) { return left == 0; });
}

Outcome OutcomeOf(const grpc::Status& status, OwnCancel own_cancel,
                  bool finish_seen, bool has_tokens) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return finish_seen ? Outcome::kOk : Outcome::kError;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return has_tokens ? Outcome::kError : Outcome::kRefused;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Outcome::kDeadline;
    case grpc::StatusCode::CANCELLED:
      if (own_cancel == OwnCancel::kPlanned) return Outcome::kCancelled;
      if (own_cancel == OwnCancel::kGaveUp) return Outcome::kLost;
      return Outcome::kError;
    default:
      return Outcome::kError;
  }
}

}  // namespace

void AddMessage(const v1::GenerateResponse& message, absl::Duration now,
                RequestRecord& record) {
  const uint32_t at = record.SincePlanned(now);
  // Not before: a refused request needs no memory for an answer.
  record.tokens.reserve(static_cast<size_t>(record.planned_output_tokens));
  for (const v1::Token& token : message.tokens()) {
    const int bits = std::clamp(token.bits(), 0, kMaxBitsReported);
    record.tokens.push_back({at, static_cast<uint8_t>(bits)});
  }
  if (message.has_finish()) {
    record.prompt_bits = PromptBitsOf(message.finish());
    record.bits_confirmed = Confirms(message.finish(), record);
  }
}

void SetOutcome(const grpc::Status& status, OwnCancel own_cancel,
                bool finish_seen, RequestRecord& record) {
  record.outcome =
      OutcomeOf(status, own_cancel, finish_seen, !record.tokens.empty());
  if (record.outcome == Outcome::kOk) return;
  record.reason = absl::StatusCodeToString(
      static_cast<absl::StatusCode>(status.error_code()));
  record.message = status.error_message();
  if (status.ok()) record.reason = "NO_FINISH";
  google::rpc::RetryInfo retry;
  google::rpc::ErrorInfo info;
  const google::rpc::Status details = FromGrpcStatus(status);
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&retry)) {
      record.retry_delay = absl::Seconds(retry.retry_delay().seconds()) +
                           absl::Nanoseconds(retry.retry_delay().nanos());
    } else if (detail.UnpackTo(&info)) {
      record.reason = info.reason();
    }
  }
}

}  // namespace anyprec::load
