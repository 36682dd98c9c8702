#include "tests/load/progress_line.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"

namespace anyprec::load {
namespace {

constexpr absl::Duration kRedraw = absl::Seconds(1);
constexpr absl::Duration kLine = absl::Seconds(5);

}  // namespace

std::string FormatProgress(absl::string_view label, const LoadProgress& now,
                           const LoadProgress& before) {
  const double seconds = absl::ToDoubleSeconds(now.elapsed - before.elapsed);
  const double tokens = static_cast<double>(now.tokens - before.tokens);
  const double bits = static_cast<double>(now.token_bits - before.token_bits);
  return absl::StrFormat(
      "%s  %.1f s  %d sent, %d going on, %d answered, %d refused, %d failed, "
      "%.0f tokens/s at %.2f bits",
      label, absl::ToDoubleSeconds(now.elapsed), now.sent, now.in_flight,
      now.answered, now.refused, now.failed, seconds > 0 ? tokens / seconds : 0,
      tokens > 0 ? bits / tokens : 0);
}

ProgressLine::ProgressLine(std::string label,
                           std::function<LoadProgress()> read)
    : label_(std::move(label)),
      read_(std::move(read)),
      terminal_(isatty(STDERR_FILENO) != 0),
      thread_([this] { Run(); }) {}

ProgressLine::~ProgressLine() {
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
  }
  thread_.join();
  if (terminal_) std::fputc('\n', stderr);
}

void ProgressLine::Run() {
  LoadProgress before;
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&stopped_),
                              terminal_ ? kRedraw : kLine);
      if (stopped_) return;
    }
    const LoadProgress now = read_();
    const std::string line = FormatProgress(label_, now, before);
    before = now;
    // "\033[K" clears what a longer line has left.
    std::fprintf(stderr, terminal_ ? "\r%s\033[K" : "%s\n", line.c_str());
    std::fflush(stderr);
  }
}

}  // namespace anyprec::load
