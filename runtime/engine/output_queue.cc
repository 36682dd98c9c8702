#include "runtime/engine/output_queue.h"

#include <iterator>
#include <utility>

#include "kernels/check.h"

namespace anyprec {
namespace {

template <typename T>
void AppendTo(std::vector<T>& all, std::vector<T>&& more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()),
             std::make_move_iterator(more.end()));
}

class QueueReader : public ResponseStream {
 public:
  explicit QueueReader(std::shared_ptr<OutputQueue> queue)
      : queue_(std::move(queue)) {}

  ~QueueReader() override {
    queue_->Cancel();
    queue_->OnReady(nullptr);
  }

  std::optional<Chunk> Next() override { return queue_->Next(); }
  std::optional<Chunk> TryNext() override { return queue_->TryNext(); }
  void OnReady(absl::AnyInvocable<void()> ready) override {
    queue_->OnReady(std::move(ready));
  }
  void Cancel() override { queue_->Cancel(); }

 private:
  const std::shared_ptr<OutputQueue> queue_;
};

}  // namespace

void OutputQueue::Push(Chunk chunk) {
  {
    const std::lock_guard lock(mutex_);
    ANYPREC_CHECK(!ended_) << "output after the end";
    if (pending_.has_value()) {
      ANYPREC_CHECK(!pending_->finish.has_value()) << "output after the end";
      pending_->text += chunk.text;
      AppendTo(pending_->tokens, std::move(chunk.tokens));
      AppendTo(pending_->prompt_logprobs, std::move(chunk.prompt_logprobs));
      pending_->finish = std::move(chunk.finish);
      return;
    }
    pending_ = std::move(chunk);
  }
  pushed_.notify_all();
  const std::lock_guard lock(ready_mutex_);
  if (ready_) ready_();
}

std::optional<Chunk> OutputQueue::Take() {
  std::optional<Chunk> chunk = std::exchange(pending_, std::nullopt);
  if (chunk.has_value() && chunk->finish.has_value()) ended_ = true;
  return chunk;
}

std::optional<Chunk> OutputQueue::Next() {
  std::unique_lock lock(mutex_);
  pushed_.wait(lock, [this] { return pending_.has_value() || ended_; });
  return Take();
}

std::optional<Chunk> OutputQueue::TryNext() {
  const std::lock_guard lock(mutex_);
  return Take();
}

void OutputQueue::OnReady(absl::AnyInvocable<void()> ready) {
  const std::lock_guard lock(ready_mutex_);
  ready_ = std::move(ready);
  if (!ready_) return;
  bool non_empty;
  {
    const std::lock_guard queue_lock(mutex_);
    non_empty = pending_.has_value();
  }
  if (non_empty) ready_();
}

std::unique_ptr<ResponseStream> MakeResponseStream(
    std::shared_ptr<OutputQueue> queue) {
  return std::make_unique<QueueReader>(std::move(queue));
}

}  // namespace anyprec
