// How an answer is wanted: sampling, stopping, precision and speculation, as
// the API's messages ask for them.
//
// Pure functions of their arguments; thread-safe. What is wrong is noted with
// `check`, below whose path the message lies; the result is of no use then.
#ifndef ANYPREC_SERVER_PARAMETER_CONVERSION_H_
#define ANYPREC_SERVER_PARAMETER_CONVERSION_H_

#include "absl/strings/string_view.h"
#include "anyprec/v1/inference_service.pb.h"
#include "runtime/scheduler/request.h"
#include "server/field_checker.h"
#include "server/served_model.h"

namespace anyprec {

// A time that a request may ask for: from a microsecond to a day.
void CheckMilliseconds(absl::string_view field, double value,
                       const FieldChecker& check);

// `n` is set where the message has it.
SamplingParams ConvertSampling(const v1::SamplingParams& message,
                               const ServedModel& model,
                               const FieldChecker& check, int* n);

// The prompt may yet show max_tokens to be wrong, or leave room for it.
StopCriteria ConvertStopping(const v1::StoppingCriteria& message,
                             const ServedModel& model,
                             const FieldChecker& check);

// Checks the deadline and leaves it to the caller, who knows the time.
PrecisionSpec ConvertPrecision(const v1::PrecisionSpec& message,
                               const ServedModel& model,
                               const FieldChecker& check);

// Of a request at `precision`.
SpeculationSpec ConvertSpeculation(const v1::Speculation& message,
                                   const PrecisionSpec& precision,
                                   const ServedModel& model,
                                   const FieldChecker& check);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_PARAMETER_CONVERSION_H_
