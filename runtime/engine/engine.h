// Engine: turns requests into tokens on a thread of its own.
//
// Continuous batching: every step mixes prefill chunks and decodes; sequences
// join and leave between steps; sequences of different precisions share a
// step. The engine thread alone touches scheduler, KV cache and backend.
//
// Thread-safe.
#ifndef ANYPREC_RUNTIME_ENGINE_ENGINE_H_
#define ANYPREC_RUNTIME_ENGINE_ENGINE_H_

#include <cstddef>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kernels/backend.h"
#include "runtime/engine/engine_stats.h"
#include "runtime/engine/response_stream.h"
#include "runtime/model/llama_model.h"
#include "runtime/scheduler/admission.h"
#include "runtime/scheduler/precision_policy.h"
#include "runtime/scheduler/request.h"
#include "runtime/scheduler/step_cost_model.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

struct EngineOptions {
  int max_sequences = 64;  // in one step
  int max_queued_requests = 1024;
  // Predicted work before a new request's first token, at the lowest
  // precisions; more is refused.
  absl::Duration max_queue_time = absl::InfiniteDuration();
  int prefill_chunk_tokens = 512;  // prompt tokens in one step, all sequences
  int max_context_tokens = 0;      // 0: the model's
  int kv_block_tokens = 16;
  size_t memory_bytes = 0;    // that we may use; 0: the machine's
  size_t kv_cache_bytes = 0;  // 0: room for max_sequences full contexts, at
                              // most an eighth of the memory; on a device with
                              // memory of its own, at most what
                              // gpu_memory_fraction leaves
  // Of such a device's memory, what may be in use once the KV cache is there,
  // other processes' part included. Steps take nothing of the rest: that is for
  // the driver, and for what others may still take.
  double gpu_memory_fraction = 0.9;
  KvType kv_type = KvType::kFloat16;
  // Keep the blocks of prompts, for prompts that begin alike, until their room
  // is needed.
  bool prefix_cache = true;
  // Speculate for requests that do not say, where it is predicted to pay.
  bool speculate = false;
  PrecisionPolicy policy;
  // How long to measure step times before the first request. Zero: not at all;
  // until first steps of requests have been measured in its place, automatic
  // precision then takes its ceiling.
  absl::Duration warm_up = absl::Seconds(3);
  // Measured before, in place of warm_up.
  std::optional<StepCostModel> step_costs;
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Starts the loop thread. Takes over the model and the backend that it was
  // loaded into; `tokenizer` must outlive the engine and may be null (then
  // chunks carry no text, and stop strings are refused). Takes up to
  // options.warm_up. INVALID_ARGUMENT names the option.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(
      const EngineOptions& options, std::unique_ptr<Backend> backend,
      std::unique_ptr<LlamaModel> model, const Tokenizer* tokenizer);

  // What Submit() would say of the queue, for a request that is not there yet:
  // RESOURCE_EXHAUSTED with a Refusal where it is full or the request's SLO
  // could not be kept even at its floor; DEADLINE_EXCEEDED: already past;
  // UNAVAILABLE: draining; the status of Health() where that is not OK.
  virtual absl::Status Admit(const AdmissionQuery& query) = 0;

  // INVALID_ARGUMENT: the message is "field: value, needs range", where field
  // is a path in Request, such as "sampling.top_p" or "stopping.stop[2]".
  // All else as Admit().
  virtual absl::StatusOr<std::unique_ptr<ResponseStream>> Submit(
      Request request) = 0;

  // Narrows what automatic requests may take, from the next step on.
  // INVALID_ARGUMENT where that is no range within the loaded precisions.
  virtual absl::Status SetPrecisionLimits(const PrecisionLimits& limits) = 0;

  virtual const LlamaModel& model() const = 0;
  virtual EngineStats Stats() const = 0;
  // EngineOptions::max_context_tokens, or what the KV cache holds if less.
  virtual int max_context_tokens() const = 0;

  // OK, or why the engine can no longer run steps.
  virtual absl::Status Health() const = 0;

  // Refuses new requests and returns when the accepted ones have ended, or at
  // `deadline`, cancelling the rest.
  virtual void Drain(absl::Time deadline) = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_ENGINE_H_
