#include "server/signal_watcher.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

namespace anyprec {
namespace {

sigset_t WatchedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

SignalWatcher::SignalWatcher() {
  const sigset_t signals = WatchedSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Whoever read our output may leave; writing to it must not end us.
  signal(SIGPIPE, SIG_IGN);
  thread_ = std::thread([this] { Run(); });
}

SignalWatcher::~SignalWatcher() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  pthread_kill(thread_.native_handle(), SIGTERM);
  thread_.join();
}

void SignalWatcher::Defer() {
  absl::MutexLock lock(&mutex_);
  deferred_ = true;
}

void SignalWatcher::Trigger() {
  absl::MutexLock lock(&mutex_);
  requested_ = true;
}

bool SignalWatcher::WaitFor(absl::Duration timeout) {
  const auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return received_ || requested_;
  };
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&ended), timeout);
}

void SignalWatcher::Run() {
  const sigset_t signals = WatchedSignals();
  while (true) {
    int signal_number = 0;
    sigwait(&signals, &signal_number);
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
    // 128 + n is how a shell reports a process that signal n ended.
    if (!deferred_ || received_) _exit(128 + signal_number);
    received_ = true;
  }
}

}  // namespace anyprec
