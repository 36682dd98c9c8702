// How fast streams that run together bring tokens.
#ifndef ANYPREC_TESTS_BENCH_DECODE_RATE_H_
#define ANYPREC_TESTS_BENCH_DECODE_RATE_H_

#include <algorithm>
#include <span>
#include <vector>

#include "absl/time/time.h"

namespace anyprec {

// When each token of a stream came.
using Arrivals = std::vector<absl::Time>;

// Tokens a second while every stream was decoding: from the last first token
// to the first last one. 0 where there was no such time.
// REQUIRES: each stream has a token.
inline double DecodeRate(std::span<const Arrivals> streams) {
  absl::Time begin = absl::InfinitePast();
  absl::Time end = absl::InfiniteFuture();
  for (const Arrivals& arrivals : streams) {
    begin = std::max(begin, arrivals.front());
    end = std::min(end, arrivals.back());
  }
  if (end <= begin) return 0;
  int tokens = 0;
  for (const Arrivals& arrivals : streams) {
    for (const absl::Time arrival : arrivals) {
      tokens += arrival > begin && arrival <= end ? 1 : 0;
    }
  }
  return tokens / absl::ToDoubleSeconds(end - begin);
}

}  // namespace anyprec

#endif  // ANYPREC_TESTS_BENCH_DECODE_RATE_H_
