// ResponseStream: the output of one request, as its reader sees it.
#ifndef ANYPREC_RUNTIME_ENGINE_RESPONSE_STREAM_H_
#define ANYPREC_RUNTIME_ENGINE_RESPONSE_STREAM_H_

#include <optional>

#include "absl/functional/any_invocable.h"
#include "runtime/scheduler/request.h"

namespace anyprec {

// Chunks that the reader has not taken yet merge into one, so a slow reader
// costs memory bounded by its own max_tokens and never holds up the engine.
// May outlive the engine. Thread-safe. Destroying it cancels the request.
class ResponseStream {
 public:
  virtual ~ResponseStream() = default;

  // Blocks for output; nullopt after the chunk with `finish` was taken.
  virtual std::optional<Chunk> Next() = 0;

  // nullopt where nothing is ready.
  virtual std::optional<Chunk> TryNext() = 0;

  // `ready` runs each time the stream goes from empty to non-empty, on the
  // engine's thread, and at once, on the caller's, if it is non-empty now; at
  // times once more than that. It must not block and must not destroy the
  // stream or call OnReady(). It does not run after the stream is destroyed.
  virtual void OnReady(absl::AnyInvocable<void()> ready) = 0;

  // Ends the request within one step. A final chunk (kCancelled) still comes.
  virtual void Cancel() = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_RESPONSE_STREAM_H_
