#include "server/client/generation_flags.h"

namespace anyprec {
namespace {

void SetPrecision(const GenerationFlags& flags, v1::PrecisionSpec& precision) {
  if (flags.bits) precision.set_fixed_bits(*flags.bits);
  if (flags.min_bits) precision.set_min_bits(*flags.min_bits);
  if (flags.max_bits) precision.set_max_bits(*flags.max_bits);
  if (flags.priority) precision.set_priority(*flags.priority);
  v1::SloSpec& slo = *precision.mutable_slo();
  if (flags.ttft_ms) slo.set_ttft_ms(*flags.ttft_ms);
  if (flags.tpot_ms) slo.set_tpot_ms(*flags.tpot_ms);
  if (flags.deadline_ms) slo.set_deadline_ms(*flags.deadline_ms);
}

void SetSampling(const GenerationFlags& flags, v1::SamplingParams& sampling) {
  const auto narrow = [](double value) { return static_cast<float>(value); };
  if (flags.temperature) sampling.set_temperature(narrow(*flags.temperature));
  if (flags.top_k) sampling.set_top_k(*flags.top_k);
  if (flags.top_p) sampling.set_top_p(narrow(*flags.top_p));
  if (flags.min_p) sampling.set_min_p(narrow(*flags.min_p));
  if (flags.repetition_penalty) {
    sampling.set_repetition_penalty(narrow(*flags.repetition_penalty));
  }
  if (flags.presence_penalty) {
    sampling.set_presence_penalty(narrow(*flags.presence_penalty));
  }
  if (flags.frequency_penalty) {
    sampling.set_frequency_penalty(narrow(*flags.frequency_penalty));
  }
  if (flags.seed) sampling.set_seed(*flags.seed);
  if (flags.n) sampling.set_n(*flags.n);
}

}  // namespace

void AddGenerationFlags(GenerationFlags& generation, FlagSet& flags) {
  flags.Add("bits", &generation.bits, "Fixed precision of every token.");
  flags.Add("min_bits", &generation.min_bits,
            "Quality floor: never fewer bits than this.");
  flags.Add("max_bits", &generation.max_bits, "Never more bits than this.");
  flags.Add("ttft_ms", &generation.ttft_ms,
            "Wanted: milliseconds to the first token.");
  flags.Add("tpot_ms", &generation.tpot_ms,
            "Wanted: milliseconds per token after the first.");
  flags.Add("deadline_ms", &generation.deadline_ms,
            "Milliseconds for the whole answer; past them it ends in an error. "
            "The server takes the highest precision that keeps all three. The "
            "client waits a little longer, for what the server says.");
  flags.Add("priority", &generation.priority,
            "Among waiting requests, higher ones go first.");
  flags.Add("draft_tokens", &generation.draft_tokens,
            "Speculate: draft so many tokens at low precision before each is "
            "verified at the request's own. 0: do not.");
  flags.Add("draft_bits", &generation.draft_bits,
            "Speculate, with drafts of this precision.");
  flags.Add("max_tokens", &generation.max_tokens,
            "Length limit of the answer; else what the context has room for.");
  flags.Add("stop", &generation.stop,
            "Text to stop before; may be given more than once.");
  flags.Add("ignore_eos", &generation.ignore_eos,
            "Continue past the model's own end.");
  flags.Add("temperature", &generation.temperature,
            "0 takes the likeliest token; the server's default is 1.");
  flags.Add("top_k", &generation.top_k, "Draw from so many likeliest tokens.");
  flags.Add("top_p", &generation.top_p,
            "Draw from the likeliest tokens of this total probability.");
  flags.Add("min_p", &generation.min_p,
            "Drop tokens below this fraction of the likeliest one.");
  flags.Add("repetition_penalty", &generation.repetition_penalty,
            "Divides the logits of tokens seen; above 1 discourages them.");
  flags.Add("presence_penalty", &generation.presence_penalty,
            "Subtracted from the logits of tokens in the answer.");
  flags.Add("frequency_penalty", &generation.frequency_penalty,
            "The same, times how often they were seen.");
  flags.Add("seed", &generation.seed,
            "The same seed gives the same text; else the server draws one.");
  flags.Add("n", &generation.n, "How many samples to draw.");
  flags.Add("logprobs", &generation.logprobs,
            "With --json: log-probability of each token, and this many "
            "alternatives.");
}

v1::GenerateRequest ToRequest(const GenerationFlags& generation) {
  v1::GenerateRequest request;
  SetPrecision(generation, *request.mutable_precision());
  SetSampling(generation, *request.mutable_sampling());
  if (generation.draft_tokens) {
    request.mutable_speculation()->set_draft_tokens(*generation.draft_tokens);
  }
  if (generation.draft_bits) {
    request.mutable_speculation()->set_draft_bits(*generation.draft_bits);
  }
  v1::StoppingCriteria& stopping = *request.mutable_stopping();
  if (generation.max_tokens) stopping.set_max_tokens(*generation.max_tokens);
  stopping.mutable_stop()->Assign(generation.stop.begin(),
                                  generation.stop.end());
  stopping.set_ignore_eos(generation.ignore_eos);
  if (generation.logprobs) request.set_logprobs(*generation.logprobs);
  return request;
}

}  // namespace anyprec
