// A progress bar with the time left, on stderr: redrawn in place on a
// terminal, a line each ten percent elsewhere (logs, pipes).
//
//   quantizing [=========>          ]  48% 51.2/106 Mweights, 0:14 left
//
// Thread-safe: workers may report as they finish.
#ifndef ANYPREC_RUNTIME_PROGRESS_PROGRESS_BAR_H_
#define ANYPREC_RUNTIME_PROGRESS_PROGRESS_BAR_H_

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace anyprec {

class ProgressBar {
 public:
  // `total` > 0 in `unit`s.
  ProgressBar(absl::string_view label, double total, absl::string_view unit);
  // Ends the line.
  ~ProgressBar();

  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // Work that earlier runs have done: counts as progress, not for the speed
  // from which the time left is estimated. Call it first.
  void Skip(double amount);
  void Advance(double amount);
  void SetDone(double amount);

 private:
  void Draw() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string label_;
  const std::string unit_;
  const double total_;
  const bool terminal_;
  const absl::Time start_;

  absl::Mutex mutex_;
  double done_ ABSL_GUARDED_BY(mutex_) = 0;
  double skipped_ ABSL_GUARDED_BY(mutex_) = 0;
  int last_tenth_ ABSL_GUARDED_BY(mutex_) = -1;
  absl::Time last_draw_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_PROGRESS_PROGRESS_BAR_H_
