#include "runtime/scheduler/step_cost_model.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/check.h"

namespace anyprec {
namespace {

// An average over about 1 / kGain steps: long enough to smooth the noise of
// single steps, short enough to follow a context that grows.
constexpr double kGain = 0.1;

// The two points around `rows`: first and last index into a curve.
template <typename Curve>
std::pair<size_t, size_t> Bracket(const Curve& curve, int rows) {
  const auto above =
      std::lower_bound(curve.begin(), curve.end(), rows,
                       [](const auto& point, int r) { return point.rows < r; });
  if (above == curve.begin()) return {0, 0};
  const size_t high = std::min<size_t>(above - curve.begin(), curve.size() - 1);
  return {high - 1, high};
}

// Below the first point a step costs what the first point costs; beyond the
// last one, the last slope goes on.
template <typename Curve>
double Interpolate(const Curve& curve, int rows) {
  if (curve.size() == 1) {
    const auto& only = curve.front();
    return only.seconds * std::max(1.0, static_cast<double>(rows) / only.rows);
  }
  const auto [low, high] = Bracket(curve, rows);
  if (low == high) return curve[low].seconds;
  const double slope = (curve[high].seconds - curve[low].seconds) /
                       (curve[high].rows - curve[low].rows);
  const double seconds = curve[low].seconds + slope * (rows - curve[low].rows);
  return rows > curve[high].rows ? std::max(seconds, curve[high].seconds)
                                 : seconds;
}

}  // namespace

void StepCostModel::Measure(const RowCount& work, absl::Duration time) {
  ANYPREC_CHECK(work.rows > 0) << work.rows;
  Curve& curve =
      (work.phase == Phase::kDecode ? decode_ : prefill_).at(work.bits);
  const auto place = std::lower_bound(
      curve.begin(), curve.end(), work.rows,
      [](const Point& point, int rows) { return point.rows < rows; });
  const Point point = {work.rows, absl::ToDoubleSeconds(time)};
  if (place != curve.end() && place->rows == work.rows) {
    *place = point;
  } else {
    curve.insert(place, point);
  }
}

int StepCostModel::NearestMeasured(Phase phase, int bits) const {
  const Curves& curves = CurvesOf(phase);
  int nearest = -1;
  for (int b = 0; b < static_cast<int>(curves.size()); ++b) {
    if (curves[b].empty()) continue;
    if (nearest < 0 || std::abs(b - bits) < std::abs(nearest - bits)) {
      nearest = b;
    }
  }
  return nearest;
}

absl::Duration StepCostModel::Predict(const RowCount& work) const {
  if (work.rows <= 0) return absl::ZeroDuration();
  const int bits = NearestMeasured(work.phase, work.bits);
  if (bits < 0) return absl::ZeroDuration();
  return absl::Seconds(Interpolate(CurvesOf(work.phase)[bits], work.rows));
}

absl::Duration StepCostModel::Predict(std::span<const RowCount> step) const {
  absl::Duration total;
  for (const RowCount& work : step) total += Predict(work);
  return total;
}

void StepCostModel::Observe(std::span<const RowCount> step,
                            absl::Duration time) {
  const absl::Duration predicted = Predict(step);
  if (predicted <= absl::ZeroDuration()) return;
  const double ratio =
      std::clamp(absl::FDivDuration(time, predicted), 1 / kMaxRatio, kMaxRatio);
  for (const RowCount& work : step) {
    const int bits = NearestMeasured(work.phase, work.bits);
    if (bits < 0 || work.rows <= 0) continue;
    const double share = absl::FDivDuration(Predict(work), predicted);
    const double factor = 1 + kGain * share * (ratio - 1);
    Curve& curve = (work.phase == Phase::kDecode ? decode_ : prefill_)[bits];
    const auto [low, high] = Bracket(curve, work.rows);
    for (size_t i = low; i <= high; ++i) curve[i].seconds *= factor;
  }
}

}  // namespace anyprec
