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
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kernels/backend.h"
#include "runtime/engine/request.h"
#include "runtime/model/llama_model.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

struct EngineOptions {
  int max_sequences = 64;  // in one step
  int max_queued_requests = 1024;
  int prefill_chunk_tokens = 512;  // prompt tokens in one step, all sequences
  int max_context_tokens = 0;      // 0: the model's
  int kv_block_tokens = 16;
  size_t kv_cache_bytes = 0;  // 0: room for max_sequences full contexts, at
                              // most an eighth of the machine's memory
  KvType kv_type = KvType::kFloat16;
};

struct EngineStats {
  int running = 0;
  int waiting = 0;
  int kv_blocks_total = 0;
  int kv_blocks_free = 0;
  int64_t steps = 0;
  int64_t prompt_tokens = 0;
  BitsHistogram generated_tokens_by_bits = {};
};

// The output of one request. Chunks that the reader has not taken yet merge
// into one, so a slow reader costs memory bounded by its own max_tokens and
// never holds up the engine. Thread-safe. Destroying it cancels the request.
class ResponseStream {
 public:
  virtual ~ResponseStream() = default;

  // Blocks for output; nullopt after the chunk with `finish` was taken.
  virtual std::optional<Chunk> Next() = 0;

  // nullopt where nothing is ready.
  virtual std::optional<Chunk> TryNext() = 0;

  // `ready` runs each time the stream goes from empty to non-empty (at once, if
  // it is non-empty now), on the engine's thread: it must not block.
  virtual void OnReady(absl::AnyInvocable<void()> ready) = 0;

  // Ends the request within one step. A final chunk (kCancelled) still comes.
  virtual void Cancel() = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Starts the loop thread. Takes over the model and the backend that it was
  // loaded into; `tokenizer` must outlive the engine and may be null (then
  // chunks carry no text, and stop strings are refused).
  static absl::StatusOr<std::unique_ptr<Engine>> Create(
      const EngineOptions& options, std::unique_ptr<Backend> backend,
      std::unique_ptr<LlamaModel> model, const Tokenizer* tokenizer);

  // INVALID_ARGUMENT names the field of Request, the value and the range;
  // RESOURCE_EXHAUSTED: the queue is full; UNAVAILABLE: draining;
  // DEADLINE_EXCEEDED: already past.
  virtual absl::StatusOr<std::unique_ptr<ResponseStream>> Submit(
      Request request) = 0;

  virtual const LlamaModel& model() const = 0;
  virtual EngineStats Stats() const = 0;
  virtual int max_context_tokens() const = 0;

  // OK, or why the engine can no longer run steps.
  virtual absl::Status Health() const = 0;

  // Refuses new requests and returns when the accepted ones have ended, or at
  // `deadline`, cancelling the rest.
  virtual void Drain(absl::Time deadline) = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_ENGINE_H_
