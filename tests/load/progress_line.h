// Shows on stderr how a run goes: one line redrawn each second on a terminal, a
// line every five seconds elsewhere (logs, pipes).
//
//   slo 1.5x  12.0 s  240 sent, 17 going on, 210 answered, 13 refused, 0
//   failed, 312 tokens/s at 5.21 bits
#ifndef ANYPREC_TESTS_LOAD_PROGRESS_LINE_H_
#define ANYPREC_TESTS_LOAD_PROGRESS_LINE_H_

#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "tests/load/load_driver.h"

namespace anyprec::load {

// Tokens a second and their bits are those since `before`.
std::string FormatProgress(absl::string_view label, const LoadProgress& now,
                           const LoadProgress& before);

class ProgressLine {
 public:
  // `read` is called from a thread of this object's.
  ProgressLine(std::string label, std::function<LoadProgress()> read);
  // Ends the line.
  ~ProgressLine();

  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

 private:
  void Run();

  const std::string label_;
  const std::function<LoadProgress()> read_;
  const bool terminal_;
  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_PROGRESS_LINE_H_
