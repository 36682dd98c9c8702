#include "tests/load/generate_request.h"

#include <cstdint>
#include <vector>

#include "tests/load/prompt.h"

namespace anyprec::load {

v1::GenerateRequest MakeGenerateRequest(const PlannedRequest& planned,
                                        const RequestClass& one, int vocab_size,
                                        uint64_t run) {
  v1::GenerateRequest request;
  const std::vector<int32_t> prompt = PromptTokens(planned, vocab_size, run);
  request.mutable_token_ids()->mutable_ids()->Assign(prompt.begin(),
                                                     prompt.end());
  request.mutable_sampling()->set_temperature(0);
  request.mutable_stopping()->set_max_tokens(planned.output_tokens);
  request.mutable_stopping()->set_ignore_eos(true);
  v1::PrecisionSpec* precision = request.mutable_precision();
  if (one.fixed_bits.has_value()) {
    precision->set_fixed_bits(*one.fixed_bits);
  } else {
    if (one.min_bits.has_value()) precision->set_min_bits(*one.min_bits);
    if (one.max_bits.has_value()) precision->set_max_bits(*one.max_bits);
  }
  if (one.priority != 0) precision->set_priority(one.priority);
  if (one.has_slo()) {
    v1::SloSpec* slo = precision->mutable_slo();
    if (one.ttft_ms.has_value()) slo->set_ttft_ms(*one.ttft_ms);
    if (one.tpot_ms.has_value()) slo->set_tpot_ms(*one.tpot_ms);
    if (one.deadline_ms.has_value()) slo->set_deadline_ms(*one.deadline_ms);
  }
  return request;
}

}  // namespace anyprec::load
