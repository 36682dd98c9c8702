#include "tests/load/prompt.h"

#include <algorithm>

#include "kernels/check.h"
#include "tests/load/seeded_random.h"

namespace anyprec::load {

std::vector<int32_t> PromptTokens(const PlannedRequest& request, int vocab_size,
                                  uint64_t run) {
  ANYPREC_CHECK(vocab_size >= 1) << vocab_size;
  const int low = vocab_size / 4;
  const int high = std::max(low, vocab_size / 4 * 3 - 1);
  std::vector<int32_t> ids;
  ids.reserve(request.prompt_tokens);
  const auto append = [&](uint64_t seed, int count) {
    SeededRandom random(seed ^ run);
    for (int i = 0; i < count; ++i) {
      ids.push_back(static_cast<int32_t>(random.Integer(low, high)));
    }
  };
  for (const int64_t hash_id : request.hash_ids) {
    const int left = request.prompt_tokens - static_cast<int>(ids.size());
    append(static_cast<uint64_t>(hash_id),
           std::min(left, request.hash_block_tokens));
  }
  append(request.seed, request.prompt_tokens - static_cast<int>(ids.size()));
  return ids;
}

}  // namespace anyprec::load
