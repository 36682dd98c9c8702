#include "tests/bench/engine_measurement.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/status_macros.h"
#include "tests/bench/decode_rate.h"

namespace anyprec {
namespace {

Request RandomRequest(int vocab_size, int seed, int bits, int prompt_tokens,
                      int tokens) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<TokenId> id(0, vocab_size - 1);
  Request request;
  request.id = absl::StrCat("stream-", seed);
  for (int i = 0; i < prompt_tokens; ++i) request.prompt.push_back(id(random));
  request.sampling.temperature = 0;
  request.stopping.max_tokens = tokens;
  request.stopping.ignore_eos = true;
  request.precision.fixed_bits = bits;
  request.speculation = SpeculationSpec{.draft_tokens = 0, .draft_bits = {}};
  return request;
}

// Where streams would wait for each other's memory, nothing is measured.
absl::Status CheckRoom(Engine& engine, int streams, int context) {
  if (context > engine.max_context_tokens()) {
    return absl::FailedPreconditionError(
        absl::StrCat(context, " tokens of context, there is room for ",
                     engine.max_context_tokens()));
  }
  const EngineStats stats = engine.Stats();
  const int blocks =
      streams * ((context + stats.kv_block_tokens - 1) / stats.kv_block_tokens);
  if (blocks > stats.kv_blocks_total) {
    return absl::FailedPreconditionError(
        absl::StrCat(streams, " streams of ", context, " tokens need ", blocks,
                     " KV blocks, there are ", stats.kv_blocks_total));
  }
  return absl::OkStatus();
}

struct StreamResult {
  Arrivals arrivals;
  absl::Status status;
};

StreamResult Read(ResponseStream& stream) {
  StreamResult result;
  while (std::optional<Chunk> chunk = stream.Next()) {
    result.arrivals.insert(result.arrivals.end(), chunk->tokens.size(),
                           absl::Now());
    if (chunk->finish.has_value()) result.status = chunk->finish->status;
  }
  return result;
}

}  // namespace

absl::StatusOr<EngineRates> MeasureStreams(Engine& engine,
                                           std::span<const int> bits,
                                           int prompt_tokens, int tokens) {
  const int count = static_cast<int>(bits.size());
  RETURN_IF_ERROR(CheckRoom(engine, count, prompt_tokens + tokens));
  std::vector<StreamResult> results(count);
  std::vector<std::unique_ptr<ResponseStream>> streams;
  const absl::Time start = absl::Now();
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(
        streams.emplace_back(),
        engine.Submit(RandomRequest(engine.model().config().vocab_size, i,
                                    bits[i], prompt_tokens, tokens)));
  }
  std::vector<std::thread> readers;
  for (int i = 0; i < count; ++i) {
    readers.emplace_back([&, i] { results[i] = Read(*streams[i]); });
  }
  for (std::thread& reader : readers) reader.join();

  std::vector<Arrivals> arrivals;
  absl::Time prefilled = start;
  for (StreamResult& result : results) {
    RETURN_IF_ERROR(result.status);
    prefilled = std::max(prefilled, result.arrivals.front());
    arrivals.push_back(std::move(result.arrivals));
  }
  EngineRates rates;
  rates.prefill_tokens_per_second = static_cast<double>(count) * prompt_tokens /
                                    absl::ToDoubleSeconds(prefilled - start);
  rates.decode_tokens_per_second = DecodeRate(arrivals);
  if (rates.decode_tokens_per_second > 0) return rates;
  return absl::FailedPreconditionError(
      absl::StrCat("the first of ", count,
                   " streams ended before the last had "
                   "begun to decode; ",
                   tokens, " tokens are too few"));
}

absl::StatusOr<MixedRates> MeasureMixed(Engine& engine,
                                        std::span<const int> bits,
                                        int streams_each, int prompt_tokens,
                                        int tokens) {
  std::vector<int> mixed;
  double step_seconds = 0;
  for (const int precision : bits) {
    const std::vector<int> group(streams_each, precision);
    ASSIGN_OR_RETURN(const EngineRates rates,
                     MeasureStreams(engine, group, prompt_tokens, tokens));
    step_seconds += streams_each / rates.decode_tokens_per_second;
    mixed.insert(mixed.end(), group.begin(), group.end());
  }
  ASSIGN_OR_RETURN(const EngineRates rates,
                   MeasureStreams(engine, mixed, prompt_tokens, tokens));
  return MixedRates{.mixed_tokens_per_second = rates.decode_tokens_per_second,
                    .grouped_tokens_per_second = mixed.size() / step_seconds};
}

}  // namespace anyprec
