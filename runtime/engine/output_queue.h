// OutputQueue: the engine's end of a ResponseStream.
//
// Engine and reader share it, as either may let go first: a reader that hangs
// up, or an engine that shuts down before its answers are read.
//
// Thread-safe.
#ifndef ANYPREC_RUNTIME_ENGINE_OUTPUT_QUEUE_H_
#define ANYPREC_RUNTIME_ENGINE_OUTPUT_QUEUE_H_

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/functional/any_invocable.h"
#include "runtime/engine/response_stream.h"
#include "runtime/scheduler/request.h"

namespace anyprec {

class OutputQueue {
 public:
  // Merges `chunk` into what the reader has not taken. REQUIRES: no chunk with
  // `finish` was pushed before.
  void Push(Chunk chunk);

  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }

  // As ResponseStream has them.
  std::optional<Chunk> Next();
  std::optional<Chunk> TryNext();
  void OnReady(absl::AnyInvocable<void()> ready);

 private:
  std::optional<Chunk> Take();  // REQUIRES: mutex_ is held

  std::atomic<bool> cancelled_ = false;

  // Standard mutexes, as ThreadSanitizer does not see into those of a libabsl
  // that was built without it. Taken in this order, if both:
  //   ready_mutex_  guards ready_, and is held while that runs, so that it
  //                 never runs after it was replaced;
  //   mutex_        guards pending_ and ended_.
  std::mutex ready_mutex_;
  absl::AnyInvocable<void()> ready_;

  std::mutex mutex_;
  std::condition_variable pushed_;
  std::optional<Chunk> pending_;
  bool ended_ = false;  // the last chunk was taken
};

// The reader's end.
std::unique_ptr<ResponseStream> MakeResponseStream(
    std::shared_ptr<OutputQueue> queue);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_ENGINE_OUTPUT_QUEUE_H_
