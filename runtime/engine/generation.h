// Generation: one request on its way through the engine. Turns the logits of
// its rows into tokens, text and, in the end, a finish reason.
//
// Thread-compatible: built by the thread that submits, then the engine's.
#ifndef ANYPREC_RUNTIME_ENGINE_GENERATION_H_
#define ANYPREC_RUNTIME_ENGINE_GENERATION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/engine/output_queue.h"
#include "runtime/engine/request_validation.h"
#include "runtime/engine/sampler.h"
#include "runtime/engine/speculative_sampler.h"
#include "runtime/engine/stop_filter.h"
#include "runtime/scheduler/request.h"
#include "runtime/scheduler/sequence.h"
#include "runtime/scheduler/step_plan.h"
#include "runtime/tokenizer/incremental_decoder.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

class Generation {
 public:
  // `request` is valid, and may run at `bits`. `seed` stands in where it has
  // none. `tokenizer` may be null; it and `limits` must outlive this object.
  Generation(uint64_t id, Request request, BitsRange bits, uint64_t seed,
             const ModelLimits& limits, const Tokenizer* tokenizer,
             absl::Time now);

  Sequence& sequence() { return sequence_; }
  const Request& request() const { return sequence_.request; }
  const std::shared_ptr<OutputQueue>& output() const { return output_; }

  // Why the request must end now whatever it produced; nullopt: it need not.
  std::optional<FinishReason> Interrupted(absl::Time now) const;

  // Takes the logits [step.num_logits, vocab_size] of its share of a step:
  // scores prompt rows, and draws what the step yields, if it samples: the next
  // token, a draft, or the drafts that are accepted and one token more, up to
  // the end of the answer. Returns it, or a token without meaning where the
  // logits were bad. Deliver() comes after.
  NewTokens TakeLogits(const SequenceStep& step, std::span<const float> logits,
                       SamplerScratch& scratch);

  // The same for a step of which the backend drew `token`, or kNotFinite.
  NewTokens TakeDrawn(const SequenceStep& step, TokenId token);

  // Hands out what these made, after the sequence took the tokens in.
  // Returns whether the request is finished, as if by Finish().
  bool Deliver(const SequenceStep& step, absl::Time now);

  // Ends the request with what is left of its text. `status` is OK for kStop
  // and kLength. The last chunk is made, and waits for HandOutLast().
  void Finish(FinishReason reason, absl::Status status, absl::Time now);

  void HandOutLast();

 private:
  absl::Status TryTakeLogits(const SequenceStep& step,
                             std::span<const float> logits,
                             SamplerScratch& scratch, NewTokens& tokens);
  void Accept(TokenOutput output, const SequenceStep& step, NewTokens& tokens);
  absl::Status ScorePrompt(const SequenceStep& step,
                           std::span<const float> logits,
                           SamplerScratch& scratch);
  std::optional<FinishReason> TakeToken(TokenId token, int count);
  bool IsStopToken(TokenId token) const;
  RequestStats Stats(absl::Time now) const;

  const ModelLimits& limits_;
  Sequence sequence_;
  Sampler sampler_;
  SpeculativeSampler speculative_sampler_;
  std::optional<IncrementalDecoder> decoder_;
  StopFilter stop_filter_;
  const std::shared_ptr<OutputQueue> output_;

  Chunk chunk_;  // what the reader gets next
  // What the step came to: an error, or the end of the answer.
  absl::Status failure_;
  std::optional<FinishReason> end_;
};

// "DEADLINE_EXCEEDED: ..." and so on, for the reasons that are no success.
absl::Status StatusOf(FinishReason reason);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_GENERATION_H_
