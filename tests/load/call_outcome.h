// How a call ended, from its gRPC status and messages.
//
// Thread-safe: functions without state.
#ifndef ANYPREC_TESTS_LOAD_CALL_OUTCOME_H_
#define ANYPREC_TESTS_LOAD_CALL_OUTCOME_H_

#include <grpcpp/support/status.h>

#include "absl/time/time.h"
#include "anyprec/v1/inference_service.pb.h"
#include "tests/load/record.h"

namespace anyprec::load {

// Why we ended a call ourselves.
enum class OwnCancel { kNone, kPlanned, kGaveUp };

// Adds the message's tokens, which arrived at `now`, and what its closing
// histograms say: of the prompt, and whether they agree with all tokens so far.
void AddMessage(const v1::GenerateResponse& message, absl::Duration now,
                RequestRecord& record);

// Sets outcome, reason, message and retry_delay. CANCELLED is the client's
// doing only where `own_cancel` says so; OK without a closing message is an
// error, as the answer may lack its end.
void SetOutcome(const grpc::Status& status, OwnCancel own_cancel,
                bool finish_seen, RequestRecord& record);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_CALL_OUTCOME_H_
