// The outputs of one RPC: a stream for each sample that was asked for.
//
// Cancel() may be called from any thread; all else from one at a time.
#ifndef ANYPREC_SERVER_SAMPLE_STREAMS_H_
#define ANYPREC_SERVER_SAMPLE_STREAMS_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/engine/engine.h"
#include "runtime/scheduler/request.h"

namespace anyprec {

class SampleStreams {
 public:
  // Submits `request` `n` times, sample i with seed + i. All samples are
  // accepted, or none.
  // REQUIRES: request.sampling.seed is set.
  static absl::StatusOr<std::unique_ptr<SampleStreams>> Submit(
      const Request& request, int n, Engine& engine);

  // `ready` runs each time there may be output; it must not block.
  void OnReady(const std::function<void()>& ready);

  struct Output {
    int sample = 0;
    bool first = false;  // of this sample
    Chunk chunk;
  };
  // nullopt where nothing is ready.
  std::optional<Output> TryNext();

  int size() const { return static_cast<int>(samples_.size()); }

  // Every sample has ended.
  bool done() const { return open_ == 0; }

  // The client no longer wants the rest. The final chunks still come.
  void Cancel();
  bool cancelled() const { return cancelled_; }

  // Of the samples that ended, in that order.
  const std::vector<Finish>& finishes() const { return finishes_; }

  // Totals over the samples that ended; the times are those of the slowest, and
  // what is said of the prompt, which they share, is of the last.
  const RequestStats& stats() const { return stats_; }

  // Of the first sample that failed, or OK.
  const absl::Status& status() const { return status_; }

 private:
  struct Sample {
    std::unique_ptr<ResponseStream> stream;
    bool started = false;
    bool ended = false;
  };

  SampleStreams() = default;
  void Note(const Finish& finish);

  std::vector<Sample> samples_;
  size_t next_ = 0;  // whose turn it is, so that none starves
  int open_ = 0;
  std::atomic<bool> cancelled_ = false;
  std::vector<Finish> finishes_;
  RequestStats stats_;
  absl::Status status_;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_SAMPLE_STREAMS_H_
