#include "server/open_calls.h"

namespace anyprec {

OpenCalls::Entry OpenCalls::Enter() {
  const std::lock_guard lock(mutex_);
  ++open_;
  return Entry(this);
}

bool OpenCalls::AwaitNone(absl::Time deadline) {
  std::unique_lock lock(mutex_);
  return none_.wait_until(lock, absl::ToChronoTime(deadline),
                          [this] { return open_ == 0; });
}

void OpenCalls::Leave() {
  const std::lock_guard lock(mutex_);
  if (--open_ == 0) none_.notify_all();
}

}  // namespace anyprec
