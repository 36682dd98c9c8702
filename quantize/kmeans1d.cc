#include "quantize/kmeans1d.h"

#include <algorithm>
#include <cstddef>

#include "kernels/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quantize/kmeans1d.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "hwy/highway.h"

#ifndef ANYPREC_QUANTIZE_KMEANS1D_LAYER_
#define ANYPREC_QUANTIZE_KMEANS1D_LAYER_
namespace anyprec {
namespace {

// One layer of the dynamic programme: the best partitions of every prefix
// [0, end) into `cluster` + 1 runs, end in [first, last].
struct Layer {
  const double* weight_sums;  // of the row, [m + 1]
  const double* moment_sums;
  const double* previous;         // totals with one run less, [m + 1]
  const int32_t* earlier_starts;  // of the layer before, ends below `last`
  double* totals;                 // [m + 1], output
  int32_t* starts;                // [m + 1], output
  int cluster;
  int first;
  int last;
};

}  // namespace
}  // namespace anyprec
#endif  // ANYPREC_QUANTIZE_KMEANS1D_LAYER_

HWY_BEFORE_NAMESPACE();
namespace anyprec {
namespace {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// The work is bound by divisions, whose throughput per number no longer grows
// beyond four lanes, while short ranges fill four more often than eight.
using Doubles = hn::CappedTag<double, 4>;
using Vec = hn::Vec<Doubles>;

// Ends between two solved ones that are solved together, see SolveBlock.
constexpr int kBlock = 8;

// Total of the partition whose last run is [start, end).
double Total(const Layer& layer, int start, int end) {
  const double moment = layer.moment_sums[end] - layer.moment_sums[start];
  const double weight = layer.weight_sums[end] - layer.weight_sums[start];
  return layer.previous[start] + moment * moment / weight;
}

// Solves one end, its start known to lie in [low, high]: the lowest of the
// best.
void SolveEnd(const Layer& layer, int end, int low, int high) {
  const Doubles d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  double best = -1.0;
  int best_start = low;
  if (high - low + 1 < lanes) {
    for (int start = low; start <= high; ++start) {
      const double total = Total(layer, start, end);
      if (total > best) {
        best = total;
        best_start = start;
      }
    }
  } else {
    const Vec end_weight = hn::Set(d, layer.weight_sums[end]);
    const Vec end_moment = hn::Set(d, layer.moment_sums[end]);
    Vec best_totals = hn::Set(d, -1.0);
    Vec best_starts = hn::Zero(d);
    for (int next = low; next <= high; next += lanes) {
      // The last step overlaps the one before rather than leave the range.
      const int start = std::min(next, high + 1 - lanes);
      const Vec moment =
          hn::Sub(end_moment, hn::LoadU(d, layer.moment_sums + start));
      const Vec weight =
          hn::Sub(end_weight, hn::LoadU(d, layer.weight_sums + start));
      const Vec total = hn::Add(hn::LoadU(d, layer.previous + start),
                                hn::Div(hn::Mul(moment, moment), weight));
      const auto better = hn::Gt(total, best_totals);
      best_totals = hn::IfThenElse(better, total, best_totals);
      best_starts = hn::IfThenElse(better, hn::Iota(d, start), best_starts);
    }
    double totals[4], starts[4];
    hn::StoreU(best_totals, d, totals);
    hn::StoreU(best_starts, d, starts);
    best = totals[0];
    double lowest = starts[0];
    for (int lane = 1; lane < lanes; ++lane) {
      if (totals[lane] > best ||
          (totals[lane] == best && starts[lane] < lowest)) {
        best = totals[lane];
        lowest = starts[lane];
      }
    }
    best_start = static_cast<int>(lowest);
  }
  layer.totals[end] = best;
  layer.starts[end] = best_start;
}

// Solves `end` between the nearest solved ends, `stride` away on either side.
// The best start never decreases with the end, nor with the number of runs, so
// both neighbours and the layer before bound it.
void SolveBetween(const Layer& layer, int end, int stride) {
  const int left = end - stride;
  const int right = end + stride;
  int low = layer.cluster;
  if (left >= layer.first) low = std::max(low, layer.starts[left]);
  if (end < layer.last) low = std::max(low, layer.earlier_starts[end]);
  int high = end - 1;
  if (right <= layer.last) high = std::min(high, layer.starts[right]);
  SolveEnd(layer, end, std::min(low, high), high);
}

// Solves the ends between `left` and left + kBlock, both solved, a lane each:
// no reduction over lanes and no branch that depends on the values.
void SolveBlock(const Layer& layer, int left, int low, int high) {
  const Doubles d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  for (int end = left + 1; end < left + kBlock; end += lanes) {
    const Vec end_weights = hn::LoadU(d, layer.weight_sums + end);
    const Vec end_moments = hn::LoadU(d, layer.moment_sums + end);
    Vec best_totals = hn::Set(d, -1.0);
    Vec best_starts = hn::Zero(d);
    for (int start = low; start <= high; ++start) {
      const Vec moment =
          hn::Sub(end_moments, hn::Set(d, layer.moment_sums[start]));
      const Vec weight =
          hn::Sub(end_weights, hn::Set(d, layer.weight_sums[start]));
      const Vec total = hn::Add(hn::Set(d, layer.previous[start]),
                                hn::Div(hn::Mul(moment, moment), weight));
      const auto better = hn::Gt(total, best_totals);
      best_totals = hn::IfThenElse(better, total, best_totals);
      best_starts = hn::IfThenElse(
          better, hn::Set(d, static_cast<double>(start)), best_starts);
    }
    double totals[4], starts[4];
    hn::StoreU(best_totals, d, totals);
    hn::StoreU(best_starts, d, starts);
    for (int lane = 0; lane < lanes && end + lane < left + kBlock; ++lane) {
      layer.totals[end + lane] = totals[lane];
      layer.starts[end + lane] = static_cast<int32_t>(starts[lane]);
    }
  }
}

// Visits every end after the two that bound it, at halving strides; the last
// strides, where ranges are short, block by block.
void SolveLayer(const Layer& layer) {
  int stride = 1;
  while (stride <= layer.last - layer.first) stride *= 2;
  for (; stride >= kBlock; stride /= 2) {
    for (int end = layer.first + stride - 1; end <= layer.last;
         end += 2 * stride) {
      SolveBetween(layer, end, stride);
    }
  }
  for (int left = layer.first - 1; left < layer.last; left += kBlock) {
    const int right = left + kBlock;
    if (left >= layer.first && right <= layer.last &&
        layer.starts[right] <= left) {
      const int low =
          std::max(layer.starts[left], layer.earlier_starts[left + 1]);
      const int high = layer.starts[right];
      SolveBlock(layer, left, std::min(low, high), high);
      continue;
    }
    for (stride = kBlock / 2; stride >= 1; stride /= 2) {
      for (int end = left + stride; end < right && end <= layer.last;
           end += 2 * stride) {
        SolveBetween(layer, end, stride);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace
}  // namespace anyprec
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace anyprec {
namespace {

HWY_EXPORT(SolveLayer);

}  // namespace

void KMeans1d::Partition(const SortedRow& row, int clusters,
                         std::span<int32_t> boundaries) {
  ANYPREC_CHECK(clusters >= 1);
  ANYPREC_CHECK(boundaries.size() == static_cast<size_t>(clusters) + 1);
  const int m = row.size();
  if (m <= clusters) {
    for (int c = 0; c <= clusters; ++c) boundaries[c] = std::min(c, m);
    return;
  }
  const size_t ends = static_cast<size_t>(m) + 1;
  previous_.resize(ends);
  current_.resize(ends);
  starts_.resize(clusters * ends);
  for (int end = 1; end <= m; ++end) {
    previous_[end] = row.Gain(0, end);
    starts_[end] = 0;
  }
  for (int c = 1; c < clusters; ++c) {
    // Each run holds at least one value, so c values at least come before this
    // one's and clusters - 1 - c after. The last layer needs its last end only.
    const int last = m - (clusters - 1 - c);
    int32_t* starts = starts_.data() + c * ends;
    HWY_DYNAMIC_DISPATCH(SolveLayer)
    (Layer{.weight_sums = row.weight_sums(),
           .moment_sums = row.moment_sums(),
           .previous = previous_.data(),
           .earlier_starts = starts - ends,
           .totals = current_.data(),
           .starts = starts,
           .cluster = c,
           .first = c + 1 == clusters ? last : c + 1,
           .last = last});
    previous_.swap(current_);
  }
  boundaries[clusters] = m;
  for (int c = clusters - 1; c >= 0; --c) {
    boundaries[c] = starts_[c * ends + boundaries[c + 1]];
  }
}

}  // namespace anyprec
#endif  // HWY_ONCE
