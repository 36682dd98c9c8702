#include "runtime/progress/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace anyprec {
namespace {

constexpr int kBarWidth = 24;

// Ten redraws a second look smooth and cost nothing.
constexpr absl::Duration kRedrawInterval = absl::Milliseconds(100);

std::string Clock(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  if (seconds >= 3600) {
    return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60,
                           seconds % 60);
  }
  return absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
}

}  // namespace

ProgressBar::ProgressBar(absl::string_view label, double total,
                         absl::string_view unit)
    : label_(label),
      unit_(unit),
      total_(total),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(absl::Now()) {}

ProgressBar::~ProgressBar() {
  absl::MutexLock lock(&mutex_);
  if (terminal_ && last_draw_ != absl::InfinitePast()) {
    last_draw_ = absl::InfinitePast();
    Draw();
    std::fputc('\n', stderr);
  }
}

void ProgressBar::Skip(double amount) {
  absl::MutexLock lock(&mutex_);
  skipped_ += amount;
  done_ += amount;
  Draw();
}

void ProgressBar::Advance(double amount) {
  absl::MutexLock lock(&mutex_);
  done_ += amount;
  Draw();
}

void ProgressBar::SetDone(double amount) {
  absl::MutexLock lock(&mutex_);
  done_ = amount;
  Draw();
}

void ProgressBar::Draw() {
  const absl::Time now = absl::Now();
  const double fraction = std::clamp(done_ / total_, 0.0, 1.0);
  const int tenth = static_cast<int>(fraction * 10);
  if (terminal_ ? now - last_draw_ < kRedrawInterval && fraction < 1
                : tenth == last_tenth_) {
    return;
  }
  last_draw_ = now;
  last_tenth_ = tenth;

  const absl::Duration elapsed = now - start_;
  std::string time = absl::StrCat(Clock(elapsed), " elapsed");
  if (fraction < 1 && done_ > skipped_) {
    const absl::Duration left =
        elapsed * ((total_ - done_) / (done_ - skipped_));
    time = absl::StrCat(Clock(left), " left");
  }
  const int filled = static_cast<int>(fraction * kBarWidth);
  const std::string bar =
      absl::StrCat(std::string(filled, '='), filled < kBarWidth ? ">" : "",
                   std::string(std::max(0, kBarWidth - filled - 1), ' '));
  absl::FPrintF(stderr, "%s%s [%s] %3d%% %.4g/%.4g %s, %s%s",
                terminal_ ? "\r" : "", label_, bar,
                static_cast<int>(fraction * 100), done_, total_, unit_, time,
                terminal_ ? "\x1b[K" : "\n");
  std::fflush(stderr);
}

}  // namespace anyprec
