#include "runtime/scheduler/step_cost_model.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/check.h"

namespace anyprec {
namespace {

// Together an average over about ten steps: long enough to smooth the noise of
// single steps, short enough to follow a context that grows. Most of an error
// goes to the drift, as what changes while serving (load, context) seldom
// depends on the precision.
constexpr double kDriftGain = 0.08;
constexpr double kResidualGain = 0.02;

// Part of a residual forgotten in each step: half of it in some 350 steps, ten
// times slower than kResidualGain learns it. A precision found too slow is
// tried again every few hundred steps, for the few that it takes to learn so.
constexpr double kResidualDecay = 0.002;

// Part of a measured time that its rows take at least, its context aside.
constexpr double kLeastPart = 0.05;

// Where a number of rows lies in a curve: between two points, `weight` of the
// way from `low` to `high`, or at a single one (low == high).
struct Place {
  size_t low = 0;
  size_t high = 0;
  double weight = 1;  // above 1 beyond the last point
};

template <typename Curve>
Place Find(const Curve& curve, int rows) {
  const auto above =
      std::lower_bound(curve.begin(), curve.end(), rows,
                       [](const auto& point, int r) { return point.rows < r; });
  if (above == curve.begin() || curve.size() == 1) return {};
  const size_t high = std::min<size_t>(above - curve.begin(), curve.size() - 1);
  return {high - 1, high,
          static_cast<double>(rows - curve[high - 1].rows) /
              (curve[high].rows - curve[high - 1].rows)};
}

// Whether `rows` lies between two points of the curve, or on one.
template <typename Curve>
bool Spans(const Curve& curve, int rows) {
  return !curve.empty() && curve.front().rows <= rows &&
         rows <= curve.back().rows;
}

// The precisions nearest to `bits`, below and above, whose curves `fit`; 0
// where none does.
template <typename Curves, typename Fit>
std::pair<int, int> Neighbours(const Curves& curves, int bits, const Fit& fit) {
  const int end = static_cast<int>(curves.size());
  int below = bits - 1;
  while (below > 0 && !fit(curves[below])) --below;
  int above = bits + 1;
  while (above < end && !fit(curves[above])) ++above;
  return {below, above < end ? above : 0};
}

bool WithinFactorOfTwo(int a, int b) { return a <= 2 * b && b <= 2 * a; }

// The point nearest to `rows` of those within a factor of two; null if none.
template <typename Curve>
typename Curve::value_type* NearPoint(Curve& curve, int rows) {
  typename Curve::value_type* nearest = nullptr;
  for (auto& point : curve) {
    if (!WithinFactorOfTwo(point.rows, rows)) continue;
    if (nearest == nullptr ||
        std::abs(point.rows - rows) < std::abs(nearest->rows - rows)) {
      nearest = &point;
    }
  }
  return nearest;
}

}  // namespace

// Below the first point a step costs what the first point costs; beyond the
// last one, the last slope goes on. A single point tells of no fixed cost:
// beyond it, time is in proportion to rows.
double StepCostModel::Interpolate(const Curve& curve, int rows) {
  const auto seconds = [&curve](size_t i) {
    return curve[i].seconds * curve[i].residual;
  };
  if (curve.size() == 1) {
    return seconds(0) *
           std::max(1.0, static_cast<double>(rows) / curve.front().rows);
  }
  const Place place = Find(curve, rows);
  const double at =
      std::lerp(seconds(place.low), seconds(place.high), place.weight);
  return place.weight > 1 ? std::max(at, seconds(place.high)) : at;
}

// At `rows`, seen from the nearest row count that this precision's curve has.
// Beyond its ends it rises as those of its neighbours do that have both: one
// point alone would make small chunks of a prompt as dear as a large one.
double StepCostModel::MeasuredSeconds(const Curves& curves, int bits,
                                      int rows) {
  const Curve& own = curves[bits];
  const int nearest = std::clamp(rows, own.front().rows, own.back().rows);
  if (nearest == rows) return Interpolate(own, rows);
  const auto [below, above] = Neighbours(curves, bits, [&](const Curve& curve) {
    return Spans(curve, rows) && Spans(curve, nearest);
  });
  const auto rise = [&](int b) {
    return Interpolate(curves[b], rows) / Interpolate(curves[b], nearest);
  };
  if (below == 0 && above == 0) return Interpolate(own, rows);
  const double ratio =
      below == 0 ? rise(above)
      : above == 0
          ? rise(below)
          : std::lerp(rise(below), rise(above),
                      static_cast<double>(bits - below) / (above - below));
  return ratio * Interpolate(own, nearest);
}

double StepCostModel::SecondsBeforeDrift(const Curves& curves, int bits,
                                         int rows) {
  if (!curves[bits].empty()) return MeasuredSeconds(curves, bits, rows);
  const auto [below, above] = Neighbours(
      curves, bits, [](const Curve& curve) { return !curve.empty(); });
  const auto measured = [&](int b) { return MeasuredSeconds(curves, b, rows); };
  if (below > 0 && above > 0) {
    return std::lerp(measured(below), measured(above),
                     static_cast<double>(bits - below) / (above - below));
  }
  // A step that waits for memory reads `bits` planes of every weight. Where
  // lower bits are no faster than that, their first steps will tell.
  if (below > 0) return measured(below) * bits / below;
  if (above > 0) return measured(above) * bits / above;
  return 0;
}

absl::Duration StepCostModel::Predict(const RowCount& work) const {
  ANYPREC_CHECK(work.bits > 0 &&
                work.bits < static_cast<int>(std::tuple_size_v<Curves>))
      << work.bits;
  if (work.rows <= 0) return absl::ZeroDuration();
  const PhaseCosts& costs = Of(work.phase);
  const double seconds = SecondsBeforeDrift(costs.curves, work.bits, work.rows);
  if (seconds <= 0) return absl::ZeroDuration();
  return absl::Seconds(costs.drift *
                       (seconds + static_cast<double>(work.context) *
                                      costs.seconds_per_context_token));
}

absl::Duration StepCostModel::Predict(std::span<const RowCount> step) const {
  absl::Duration total;
  absl::Duration longest;
  int groups = 0;
  for (const RowCount& work : step) {
    const absl::Duration time = Predict(work);
    if (time <= absl::ZeroDuration()) continue;
    total += time;
    longest = std::max(longest, time);
    ++groups;
  }
  if (groups <= 1) return total;
  return std::max(longest, total - (groups - 1) * SharedTime());
}

void StepCostModel::MeasureShared(absl::Duration time) {
  shared_seconds_ = std::max(0.0, absl::ToDoubleSeconds(time));
}

void StepCostModel::Measure(const RowCount& work, absl::Duration time) {
  Insert(work, time, /*ran_once=*/false);
}

void StepCostModel::MeasureContext(Phase phase, absl::Duration per_token) {
  Of(phase).seconds_per_context_token =
      std::max(0.0, absl::ToDoubleSeconds(per_token));
}

std::vector<StepCostPoint> StepCostModel::Points() const {
  std::vector<StepCostPoint> points;
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
    const Curves& curves = Of(phase).curves;
    for (int bits = 1; bits < static_cast<int>(curves.size()); ++bits) {
      for (const Point& point : curves[bits]) {
        points.push_back({phase, bits, point.rows, absl::Seconds(point.seconds),
                          Predict({phase, bits, point.rows})});
      }
    }
  }
  return points;
}

void StepCostModel::Insert(const RowCount& work, absl::Duration time,
                           bool ran_once) {
  ANYPREC_CHECK(work.rows > 0) << work.rows;
  PhaseCosts& costs = Of(work.phase);
  Curve& curve = costs.curves.at(work.bits);
  const auto place = std::lower_bound(
      curve.begin(), curve.end(), work.rows,
      [](const Point& point, int rows) { return point.rows < rows; });
  const double seconds =
      absl::ToDoubleSeconds(time) / costs.drift -
      static_cast<double>(work.context) * costs.seconds_per_context_token;
  const Point point = {
      .rows = work.rows,
      // Whatever the context is said to cost, some is left.
      .seconds = std::max(seconds, kLeastPart * absl::ToDoubleSeconds(time)),
      .ran_once = ran_once};
  if (place != curve.end() && place->rows == work.rows) {
    *place = point;
  } else {
    curve.insert(place, point);
  }
}

// Takes a step of one group as a measurement where one is missing. Points stay
// a factor of two apart, so that a curve has few of them.
bool StepCostModel::Learn(const RowCount& work, absl::Duration time) {
  Point* const near = NearPoint(Of(work.phase).curves.at(work.bits), work.rows);
  if (near == nullptr) {
    Insert(work, time, /*ran_once=*/true);
    return true;
  }
  if (!near->ran_once) return false;
  // Its only run may have met cold memory or buffers that grew.
  near->seconds *= std::min(1.0, absl::FDivDuration(time, Predict(work)));
  near->ran_once = false;
  return true;
}

// Each end of the interpolation by its part in it.
void StepCostModel::MoveResiduals(Curve& curve, int rows, double amount) {
  if (curve.empty()) return;  // estimated from others
  const Place place = Find(curve, rows);
  const double weight = std::min(1.0, place.weight);
  curve[place.high].residual *= 1 + amount * weight;
  if (place.low != place.high) {
    curve[place.low].residual *= 1 + amount * (1 - weight);
  }
}

void StepCostModel::Observe(std::span<const RowCount> step,
                            absl::Duration time) {
  // The clock was set back, or there was no work.
  if (time <= absl::ZeroDuration() || step.empty()) return;
  if (step.size() == 1 && Learn(step[0], time)) return;
  absl::Duration predicted;
  std::vector<absl::Duration> parts;
  parts.reserve(step.size());
  for (const RowCount& work : step) {
    parts.push_back(Predict(work));
    if (parts.back() <= absl::ZeroDuration()) return;
    predicted += parts.back();
  }
  const double excess = std::clamp(absl::FDivDuration(time, Predict(step)),
                                   1 / kMaxRatio, kMaxRatio) -
                        1;
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
    PhaseCosts& costs = Of(phase);
    double phase_share = 0;
    for (size_t i = 0; i < step.size(); ++i) {
      if (step[i].phase != phase) continue;
      const double share = absl::FDivDuration(parts[i], predicted);
      MoveResiduals(costs.curves[step[i].bits], step[i].rows,
                    kResidualGain * share * excess);
      phase_share += share;
    }
    if (phase_share == 0) continue;
    costs.drift *= 1 + kDriftGain * phase_share * excess;
    for (Curve& curve : costs.curves) {
      for (Point& point : curve) {
        point.residual += kResidualDecay * (1 - point.residual);
      }
    }
  }
}

void StepCostModel::ForgetRecent() {
  for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
    PhaseCosts& costs = Of(phase);
    costs.drift = 1;
    for (Curve& curve : costs.curves) {
      std::erase_if(curve, [](const Point& point) { return point.ran_once; });
      for (Point& point : curve) point.residual = 1;
    }
  }
}

}  // namespace anyprec
