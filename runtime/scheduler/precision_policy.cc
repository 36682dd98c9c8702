#include "runtime/scheduler/precision_policy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "kernels/bit_plane.h"
#include "runtime/scheduler/prompt_pace.h"

namespace anyprec {
namespace {

constexpr absl::string_view kSloName = "slo";
constexpr absl::string_view kFixedName = "fixed";
constexpr absl::string_view kLadderName = "load-ladder";

constexpr int kMaxLadderLoad = 1 << 20;

// As kHeadroom, for going up.
constexpr double kRaiseHeadroom = 0.85;

// Standard deviations above the mean at which answers to come are counted. They
// come at random, so that their number is about Poisson-distributed. In
// simulations each costs an eighth of a bit, keeps hardly more requests, and
// has the slowest twentieth of first tokens 5 to 10 % sooner.
constexpr double kBurst = 2;

// The rest of the time is left to answers, however long the prompts were.
constexpr double kMostPromptShare = 0.8;

// Part of the time that prompts and the answers beside them may take up before
// they give up bits: what is left is for those that come in bursts, which find
// a queue that is short. Chosen in simulations, where less keeps no more, and
// more keeps less.
constexpr double kBusy = 0.4;

// No bits are given up for less of a prompt's time than this.
constexpr double kLeastGain = 0.02;

// More answers make a step longer, and a longer step more answers: so many
// times round. What grows beyond keeps no demand anyway.
constexpr int kLoadRounds = 4;

// More answers than any server holds: what would grow beyond counts as these.
constexpr double kMostAnswers = 1 << 20;

bool AsksForLatency(const PrecisionDemand& demand) {
  return demand.min_bits < demand.max_bits &&
         std::min({demand.first_token_in, demand.token_every, demand.all_in}) <
             absl::InfiniteDuration();
}

// An assignment of precisions, and what is predicted of it.
struct Rung {
  std::vector<int> bits;
  std::vector<size_t> broken;  // demands that it does not keep, ascending
  absl::Duration lateness;     // of their first tokens and of those after
  absl::Duration time;         // until all prompts are computed

  bool BetterThan(const Rung& other) const {
    return std::make_tuple(broken.size(), lateness, time) <
           std::make_tuple(other.broken.size(), other.lateness, other.time);
  }
  bool PreferredTo(const Rung& other) const {
    return std::make_tuple(broken.size(), lateness, -SumOfBits()) <
           std::make_tuple(other.broken.size(), other.lateness,
                           -other.SumOfBits());
  }
  int SumOfBits() const { return std::accumulate(bits.begin(), bits.end(), 0); }
};

// Predicts what an assignment of precisions does to the demands.
class Forecast {
 public:
  Forecast(const PolicyInput& input, std::span<const PrecisionDemand> demands,
           const StepCostModel& costs)
      : demands_(demands),
        chunk_tokens_(std::max(1, input.prefill_chunk_tokens)),
        pressure_(input.pressure),
        recent_(input.recent),
        costs_(costs) {}

  Rung Evaluate(std::vector<int> bits) const;

  // What prompts that go on coming as of late need to leave room for a burst,
  // beside answers at `answer_bits`. REQUIRES: there are demands.
  struct PromptRoom {
    // The highest precision that leaves it; where none does, the highest that
    // is about as quick as the quickest.
    int level = kMaxBits;
    // Part of the time that prompts at that take up, with the answers' rows of
    // the same steps.
    double busy = 0;
  };
  PromptRoom RoomFor(std::span<const int> answer_bits) const;

 private:
  absl::Duration DecodeStepTime(std::span<const int> bits, double scale) const;
  absl::Duration TokenTime(std::span<const int> bits) const;
  absl::Duration ContextTime(const PrecisionDemand& demand) const;
  absl::Duration TokenBudget() const;

  const std::span<const PrecisionDemand> demands_;
  const int chunk_tokens_;
  const double pressure_;
  const ServedLoad recent_;
  const StepCostModel& costs_;
};

// Time of a step in which every sequence that runs or may start decodes, and
// `scale` times as many: what those that still prefill will meet as well.
absl::Duration Forecast::DecodeStepTime(std::span<const int> bits,
                                        double scale) const {
  std::array<RowCount, std::tuple_size_v<BitsHistogram>> groups = {};
  for (size_t i = 0; i < demands_.size(); ++i) {
    if (demands_[i].steps_until_start > 0) continue;
    RowCount& group = groups.at(bits[i]);
    ++group.rows;
    group.context += demands_[i].context_tokens + demands_[i].prompt_rows_left;
  }
  size_t used = 0;
  for (size_t b = 0; b < groups.size(); ++b) {
    if (groups[b].rows == 0) continue;
    groups[used] = groups[b];
    groups[used].bits = static_cast<int>(b);
    groups[used].rows = static_cast<int>(std::ceil(scale * groups[b].rows));
    groups[used].context = static_cast<int64_t>(scale * groups[b].context);
    ++used;
  }
  return costs_.Predict(std::span(groups).first(used));
}

// Time between two tokens of an answer, if requests go on coming as of late:
// chunks of their prompts come in between, and the longer a step, the more
// answers share it.
absl::Duration Forecast::TokenTime(std::span<const int> bits) const {
  const auto rows =
      std::count_if(demands_.begin(), demands_.end(),
                    [](const auto& d) { return d.steps_until_start == 0; });
  const double left = 1 - std::min(recent_.prompt_share, kMostPromptShare);
  absl::Duration time = DecodeStepTime(bits, 1) / left;
  for (int round = 0; round < kLoadRounds && rows > 0; ++round) {
    const double mean = recent_.tokens_per_second * absl::ToDoubleSeconds(time);
    const double most = std::min(mean + kBurst * std::sqrt(mean), kMostAnswers);
    if (most <= rows) break;
    time = DecodeStepTime(bits, most / rows) / left;
  }
  return time;
}

// What reading the KV cache adds to the rows of a prompt.
absl::Duration Forecast::ContextTime(const PrecisionDemand& demand) const {
  const int64_t rows = demand.prompt_rows_left;
  // The mean row of the later chunks finds half of the prompt in the cache.
  const int64_t context =
      rows *
      (demand.context_tokens + std::max<int64_t>(0, rows - chunk_tokens_) / 2);
  return context * costs_.ContextTime(Phase::kPrefill);
}

// The least time between two tokens that a running answer allows.
absl::Duration Forecast::TokenBudget() const {
  absl::Duration budget = absl::InfiniteDuration();
  for (const PrecisionDemand& demand : demands_) {
    if (demand.prompt_rows_left > 0) continue;
    budget = std::min(budget, demand.token_every);
  }
  return budget;
}

Rung Forecast::Evaluate(std::vector<int> bits) const {
  Rung rung;
  rung.bits = std::move(bits);
  const absl::Duration step = DecodeStepTime(rung.bits, 1);
  const absl::Duration token_time = TokenTime(rung.bits);
  PromptPace pace(costs_, step, TokenBudget(), chunk_tokens_);
  absl::Duration prompts;
  double chunks = 0;
  std::vector<absl::Duration> first_token(demands_.size());
  std::vector<absl::Duration> prompts_done(demands_.size());
  for (size_t i = 0; i < demands_.size(); ++i) {
    const PrecisionDemand& demand = demands_[i];
    const int rows = demand.prompt_rows_left;
    const int bits = rung.bits[i];
    first_token[i] = (1 + demand.steps_until_start) * step;
    if (rows == 0) continue;
    prompts += rows * pace.RowTime(bits) + ContextTime(demand);
    chunks += static_cast<double>(rows) / pace.ChunkRows(bits);
    // One that is alone in its chunk has a small one.
    prompts = std::max(prompts,
                       costs_.Predict({Phase::kPrefill, bits,
                                       std::min(rows, pace.ChunkRows(bits))}));
    prompts_done[i] = prompts;
    first_token[i] =
        prompts + (demand.steps_until_start + std::ceil(chunks)) * step;
  }
  const absl::Duration chunk =
      chunks == 0 ? absl::ZeroDuration() : prompts / std::ceil(chunks);
  rung.time = prompts + std::max(1.0, std::ceil(chunks)) * step;
  for (size_t i = 0; i < demands_.size(); ++i) {
    const PrecisionDemand& demand = demands_[i];
    if (!AsksForLatency(demand)) continue;
    const double headroom =
        (demand.current_bits != 0 && rung.bits[i] > demand.current_bits
             ? kRaiseHeadroom
             : kHeadroom) /
        pressure_;
    const int after_first = std::max(0, demand.tokens_left - 1);
    // Others' chunks go on in its decode steps, while there are any.
    const absl::Duration all =
        first_token[i] + after_first * token_time +
        std::min(after_first * chunk, prompts - prompts_done[i]);
    const bool prefills = demand.prompt_rows_left > 0;
    if (prefills) {
      rung.lateness +=
          std::max(absl::ZeroDuration(),
                   pressure_ * first_token[i] - demand.first_token_in);
    }
    rung.lateness +=
        after_first * std::max(absl::ZeroDuration(),
                               pressure_ * token_time - demand.token_every);
    if ((prefills && first_token[i] > demand.first_token_in * headroom) ||
        token_time > demand.token_every * headroom ||
        all > demand.all_in * headroom) {
      rung.broken.push_back(i);
    }
  }
  return rung;
}

Forecast::PromptRoom Forecast::RoomFor(std::span<const int> answer_bits) const {
  const absl::Duration step = DecodeStepTime(answer_bits, 1);
  PromptPace pace(costs_, step, TokenBudget(), chunk_tokens_);
  const auto busy = [&](int level) {
    return recent_.prompt_rows_per_second *
           absl::ToDoubleSeconds(pace.RowTime(level) +
                                 step / pace.ChunkRows(level));
  };
  const int lowest = std::min_element(demands_.begin(), demands_.end(),
                                      [](const auto& a, const auto& b) {
                                        return a.min_bits < b.min_bits;
                                      })
                         ->min_bits;
  double least = std::numeric_limits<double>::infinity();
  for (int level = kMaxBits; level >= lowest; --level) {
    const double part = busy(level);
    if (part <= kBusy) return {level, part};
    least = std::min(least, part);
  }
  int level = kMaxBits;
  while (busy(level) > (1 + kLeastGain) * least) --level;
  return {level, busy(level)};
}

// Takes a bit from each of those that `who(i)` names; false where none has one.
template <typename Who>
bool Lower(std::span<const PrecisionDemand> demands, const Who& who,
           std::vector<int>& bits) {
  bool lowered = false;
  for (size_t i = 0; i < demands.size(); ++i) {
    if (!who(i) || bits[i] <= demands[i].min_bits) continue;
    --bits[i];
    lowered = true;
  }
  return lowered;
}

// Comes down from `top`: at each rung `who(rung, i)` says whose bits go lower.
// The first rung that keeps all demands, or the best.
template <typename Who>
Rung Descend(const Forecast& forecast, std::span<const PrecisionDemand> demands,
             const Rung& top, const Who& who) {
  Rung best = top;
  Rung rung = top;
  while (!rung.broken.empty()) {
    std::vector<int> bits = rung.bits;
    const auto named = [&](size_t i) { return who(rung, i); };
    if (!Lower(demands, named, bits)) break;
    rung = forecast.Evaluate(std::move(bits));
    if (rung.BetterThan(best)) best = rung;
  }
  return best;
}

std::vector<int> Ceilings(std::span<const PrecisionDemand> demands) {
  std::vector<int> bits;
  bits.reserve(demands.size());
  for (const PrecisionDemand& demand : demands) bits.push_back(demand.max_bits);
  return bits;
}

// Leaves room for a burst beside the prompts that go on coming. They give up
// bits first, then all that ask for latency together.
void MakeRoom(const Forecast& forecast,
              std::span<const PrecisionDemand> demands,
              std::vector<int>& bits) {
  const auto asks = [&](size_t i) { return AsksForLatency(demands[i]); };
  Forecast::PromptRoom room = forecast.RoomFor(bits);
  std::vector<int> lower = bits;
  while (room.busy > kBusy && Lower(demands, asks, lower)) {
    const Forecast::PromptRoom more = forecast.RoomFor(lower);
    if (more.busy >= room.busy) continue;
    room = more;
    bits = lower;
  }
  for (size_t i = 0; i < demands.size(); ++i) {
    if (demands[i].prompt_rows_left == 0 || !asks(i)) continue;
    bits[i] = std::max(demands[i].min_bits, std::min(bits[i], room.level));
  }
}

std::vector<int> ChooseForSlo(const PolicyInput& input,
                              std::span<const PrecisionDemand> demands,
                              const StepCostModel& costs) {
  if (std::none_of(demands.begin(), demands.end(), AsksForLatency)) {
    return Ceilings(demands);
  }
  const Forecast forecast(input, demands, costs);
  const Rung top = forecast.Evaluate(Ceilings(demands));
  const auto broken = [](const Rung& rung, size_t i) {
    return std::binary_search(rung.broken.begin(), rung.broken.end(), i);
  };
  const auto asks = [&](const Rung&, size_t i) {
    return AsksForLatency(demands[i]);
  };
  const auto any = [](const Rung&, size_t) { return true; };
  Rung best = Descend(forecast, demands, top, broken);
  const auto take_if_better = [&best](Rung rung) {
    if (rung.PreferredTo(best)) best = std::move(rung);
  };
  take_if_better(Descend(forecast, demands, top, asks));
  if (!best.broken.empty()) {
    take_if_better(Descend(forecast, demands, top, any));
  }
  if (std::none_of(demands.begin(), demands.end(), [](const auto& demand) {
        return demand.prompt_rows_left > 0;
      })) {
    return std::move(best.bits);
  }
  MakeRoom(forecast, demands, best.bits);
  return std::move(best.bits);
}

// The same for all, as those without a view of deadlines do.
std::vector<int> ChooseByLoad(const PolicyInput& input,
                              std::span<const PrecisionDemand> demands,
                              int floor_at_load) {
  const double load = std::min(
      1.0, static_cast<double>(input.num_running + input.num_waiting - 1) /
               std::max(1, floor_at_load - 1));
  std::vector<int> bits;
  bits.reserve(demands.size());
  for (const PrecisionDemand& demand : demands) {
    const int rungs = demand.max_bits - demand.min_bits;
    bits.push_back(demand.max_bits -
                   static_cast<int>(std::lround(load * rungs)));
  }
  return bits;
}

}  // namespace

absl::StatusOr<PrecisionPolicy> ParsePrecisionPolicy(absl::string_view text) {
  PrecisionPolicy policy;
  if (text == kSloName) return policy;
  absl::string_view rest = text;
  if (rest == kLadderName) {
    policy.kind = PrecisionPolicy::Kind::kLoadLadder;
    return policy;
  }
  if (absl::ConsumePrefix(&rest, absl::StrCat(kLadderName, ":")) &&
      absl::SimpleAtoi(rest, &policy.floor_at_load) &&
      policy.floor_at_load >= 1 && policy.floor_at_load <= kMaxLadderLoad) {
    policy.kind = PrecisionPolicy::Kind::kLoadLadder;
    return policy;
  }
  rest = text;
  if (absl::ConsumePrefix(&rest, absl::StrCat(kFixedName, ":")) &&
      absl::SimpleAtoi(rest, &policy.bits) && policy.bits >= kMinBits &&
      policy.bits <= kMaxBits) {
    policy.kind = PrecisionPolicy::Kind::kFixed;
    return policy;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", text, "\", needs ", kSloName, ", ", kFixedName, ":BITS with ",
      kMinBits, " to ", kMaxBits, " bits, ", kLadderName, " or ", kLadderName,
      ":REQUESTS with 1 to ", kMaxLadderLoad, " requests"));
}

std::string ToString(const PrecisionPolicy& policy) {
  switch (policy.kind) {
    case PrecisionPolicy::Kind::kSlo:
      return std::string(kSloName);
    case PrecisionPolicy::Kind::kFixed:
      return absl::StrCat(kFixedName, ":", policy.bits);
    case PrecisionPolicy::Kind::kLoadLadder:
      return absl::StrCat(kLadderName, ":", policy.floor_at_load);
  }
  return "unknown";
}

BitsRange AllowedBits(const PrecisionPolicy& policy,
                      const PrecisionLimits& limits, const BitsRange& own) {
  BitsRange bits = own;
  bits.max = std::clamp(limits.max_bits, bits.min, bits.max);
  bits.min = std::clamp(limits.min_bits, bits.min, bits.max);
  if (policy.kind == PrecisionPolicy::Kind::kFixed) {
    bits.min = bits.max = std::clamp(policy.bits, bits.min, bits.max);
  }
  return bits;
}

std::vector<int> ChoosePrecisions(const PrecisionPolicy& policy,
                                  const PolicyInput& input,
                                  const StepCostModel& costs) {
  std::vector<PrecisionDemand> demands(input.demands.begin(),
                                       input.demands.end());
  for (PrecisionDemand& demand : demands) {
    const BitsRange bits =
        AllowedBits(policy, input.limits, {demand.min_bits, demand.max_bits});
    demand.min_bits = bits.min;
    demand.max_bits = bits.max;
  }
  switch (policy.kind) {
    case PrecisionPolicy::Kind::kSlo:
      return ChooseForSlo(input, demands, costs);
    case PrecisionPolicy::Kind::kFixed:
      return Ceilings(demands);
    case PrecisionPolicy::Kind::kLoadLadder:
      return ChooseByLoad(input, demands, policy.floor_at_load);
  }
  return Ceilings(demands);
}

}  // namespace anyprec
