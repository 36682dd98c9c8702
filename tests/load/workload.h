// What a test sends: arrivals, lengths and classes put together.
//
// A plan depends on its inputs and the seed alone. Each property of a request
// (class, lengths, cancellation, prompt) has a random stream of its own, so
// that two tests that differ in their rates send the same requests in the same
// order.
#ifndef ANYPREC_TESTS_LOAD_WORKLOAD_H_
#define ANYPREC_TESTS_LOAD_WORKLOAD_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tests/load/request_class.h"
#include "tests/load/seeded_random.h"
#include "tests/load/trace.h"
#include "tests/load/trace_scaling.h"

namespace anyprec::load {

struct PlannedRequest {
  absl::Duration at;  // since the run began
  int prompt_tokens = 1;
  int output_tokens = 1;
  int class_index = 0;
  // The client cancels this long after `at`.
  std::optional<absl::Duration> cancel_after;
  uint64_t seed = 0;  // of the prompt's tokens
  // Blocks of the prompt that equal those of other requests (trace.h).
  std::vector<int64_t> hash_ids;
  int hash_block_tokens = 0;
};

struct IntRange {
  int low = 1;
  int high = 1;  // included
};

// "128", or "16-512". INVALID_ARGUMENT names `name`; both at least 1.
absl::StatusOr<IntRange> ParseIntRange(absl::string_view name,
                                       absl::string_view text);

// Where lengths come from: drawn from `entries` with equal chances, or where
// there are none uniformly from the ranges.
struct LengthSource {
  std::vector<TraceEntry> entries;
  IntRange prompt_tokens;
  IntRange output_tokens;
  LengthCaps caps;
};

// Thread-compatible.
class RequestPlanner {
 public:
  // REQUIRES: `classes` is not empty.
  RequestPlanner(std::vector<RequestClass> classes, LengthSource lengths,
                 uint64_t seed);

  // The next request, with drawn lengths.
  PlannedRequest Next(absl::Duration at);
  // The next request, with the lengths of `entry`.
  PlannedRequest Next(absl::Duration at, TraceEntry entry);

  // Requests so far whose lengths the caps have cut.
  int64_t capped() const { return capped_; }

 private:
  TraceEntry DrawLengths();
  int DrawClass();

  const std::vector<RequestClass> classes_;
  const LengthSource lengths_;
  double total_share_ = 0;
  SeededRandom class_random_;
  SeededRandom length_random_;
  SeededRandom cancel_random_;
  SeededRandom prompt_random_;
  int64_t capped_ = 0;
};

// One request for each arrival.
std::vector<PlannedRequest> PlanWorkload(
    std::span<const absl::Duration> arrivals, RequestPlanner& planner);

// One request for each entry that comes before `end`. REQUIRES: the entries
// have times.
std::vector<PlannedRequest> PlanReplay(std::span<const TraceEntry> entries,
                                       absl::Duration end,
                                       RequestPlanner& planner);

}  // namespace anyprec::load

#endif  // ANYPREC_TESTS_LOAD_WORKLOAD_H_
