#include "tests/load/timeline.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "tests/load/distribution.h"
#include "tests/load/slo.h"

namespace anyprec::load {
namespace {

constexpr int kUsualWindows = 40;
constexpr absl::Duration kShortestWindow = absl::Milliseconds(100);
// A page of some megabytes is as much as a browser draws at ease.
constexpr int64_t kMostWindows = 20'000;

absl::Duration LastEvent(std::span<const RequestRecord> records,
                         absl::Duration end) {
  for (const RequestRecord& record : records) {
    end = std::max(end, record.finished_at);
  }
  return end;
}

class Builder {
 public:
  Builder(absl::Duration window, absl::Duration last) : window_(window) {
    const int64_t count =
        std::max<int64_t>(1, absl::Ceil(last, window_) / window_);
    windows_.resize(count);
    ttft_ms_.resize(count);
    tpot_ms_.resize(count);
  }

  void Add(const RequestRecord& record) {
    TimelineWindow& planned = windows_[Index(record.planned_at)];
    ++planned.planned;
    if (record.outcome == Outcome::kRefused) {
      ++planned.refused;
    } else if (record.outcome != Outcome::kOk &&
               record.outcome != Outcome::kCancelled) {
      ++planned.failed;
    }
    AddPresence(record);
    for (size_t i = 0; i < record.tokens.size(); ++i) {
      const int bits = std::min<int>(record.tokens[i].bits, kMaxBitsReported);
      ++windows_[Index(record.TokenTime(i))].tokens_by_bits[bits];
    }
    if (record.outcome != Outcome::kOk) return;
    if (const auto ttft = TtftMs(record)) {
      ttft_ms_[Index(record.planned_at)].push_back(*ttft);
    }
    if (const auto tpot = TpotMs(record)) {
      tpot_ms_[Index(record.finished_at)].push_back(*tpot);
    }
  }

  std::vector<TimelineWindow> Finish() {
    for (size_t i = 0; i < windows_.size(); ++i) {
      SetPercentiles(ttft_ms_[i], windows_[i].ttft_p50_ms,
                     windows_[i].ttft_p99_ms);
      SetPercentiles(tpot_ms_[i], windows_[i].tpot_p50_ms,
                     windows_[i].tpot_p99_ms);
    }
    return std::move(windows_);
  }

 private:
  size_t Index(absl::Duration at) const {
    return static_cast<size_t>(std::clamp<int64_t>(
        at / window_, 0, static_cast<int64_t>(windows_.size()) - 1));
  }

  // Counts the request at the end of each window that it is here for.
  void AddPresence(const RequestRecord& record) {
    const absl::Duration first =
        record.tokens.empty() ? record.finished_at : record.TokenTime(0);
    for (size_t i = Index(record.sent_at); i < Index(record.finished_at); ++i) {
      const absl::Duration end = window_ * static_cast<int64_t>(i + 1);
      ++(end < first ? windows_[i].waiting : windows_[i].running);
    }
  }

  static void SetPercentiles(std::vector<double>& samples,
                             std::optional<double>& p50,
                             std::optional<double>& p99) {
    if (samples.empty()) return;
    std::sort(samples.begin(), samples.end());
    p50 = Percentile(samples, 50);
    p99 = Percentile(samples, 99);
  }

  const absl::Duration window_;
  std::vector<TimelineWindow> windows_;
  std::vector<std::vector<double>> ttft_ms_;
  std::vector<std::vector<double>> tpot_ms_;
};

}  // namespace

Timeline MakeTimeline(std::span<const RequestRecord> records,
                      const MeasuredTime& measured, absl::Duration window) {
  const absl::Duration last = LastEvent(records, measured.end);
  if (window <= absl::ZeroDuration()) {
    window = std::max(kShortestWindow, measured.end / kUsualWindows);
  }
  window = std::max(window, last / kMostWindows);
  Builder builder(window, last);
  for (const RequestRecord& record : records) builder.Add(record);
  Timeline timeline;
  timeline.window_s = absl::ToDoubleSeconds(window);
  timeline.warm_up_s = absl::ToDoubleSeconds(measured.warm_up);
  timeline.end_s = absl::ToDoubleSeconds(measured.end);
  timeline.windows = builder.Finish();
  return timeline;
}

}  // namespace anyprec::load
