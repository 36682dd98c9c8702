#include "tests/load/summary.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "tests/load/slo.h"

namespace anyprec::load {
namespace {

// Samples of a class until they are described.
struct Samples {
  std::vector<double> ttft_ms;
  std::vector<double> tpot_ms;
  std::vector<double> e2e_ms;
  std::vector<double> itl_ms;
};

void Append(const std::optional<double>& value, std::vector<double>& values) {
  if (value.has_value()) values.push_back(*value);
}

void AppendItl(const RequestRecord& record, std::vector<double>& values) {
  for (size_t i = 1; i < record.tokens.size(); ++i) {
    const uint32_t gap_us = record.tokens[i].since_planned_us -
                            record.tokens[i - 1].since_planned_us;
    if (gap_us > 0) values.push_back(gap_us / 1000.0);
  }
}

void Add(const std::optional<bool>& met, Attainment& attainment) {
  if (met.has_value()) attainment.Add(*met);
}

void AddRecord(const RequestRecord& record, const SloResult& slo,
               ClassSummary& summary, Samples& samples) {
  ++summary.planned;
  ++summary.outcomes[record.outcome];
  if (slo.verdict != Verdict::kNotJudged) {
    summary.all.Add(slo.verdict == Verdict::kMet);
  }
  Add(slo.ttft, summary.ttft);
  Add(slo.tpot, summary.tpot);
  Add(slo.deadline, summary.deadline);
  for (const TokenArrival& token : record.tokens) {
    ++summary.tokens_by_bits[std::min<int>(token.bits, kMaxBitsReported)];
  }
  summary.prompt_bits.Add(record.prompt_bits);
  if (record.outcome != Outcome::kOk) return;
  Append(TtftMs(record), samples.ttft_ms);
  Append(TpotMs(record), samples.tpot_ms);
  Append(E2eMs(record), samples.e2e_ms);
  AppendItl(record, samples.itl_ms);
}

void DescribeSamples(Samples& samples, ClassSummary& summary) {
  summary.ttft_ms = Describe(std::move(samples.ttft_ms));
  summary.tpot_ms = Describe(std::move(samples.tpot_ms));
  summary.e2e_ms = Describe(std::move(samples.e2e_ms));
  summary.itl_ms = Describe(std::move(samples.itl_ms));
}

void CheckPromises(const RequestRecord& record, Summary& summary) {
  const int64_t below = TokensBelowFloor(record);
  const int64_t without =
      std::count_if(record.tokens.begin(), record.tokens.end(),
                    [](const TokenArrival& token) { return token.bits == 0; });
  summary.tokens_below_floor += below;
  summary.answers_below_floor += below > 0 ? 1 : 0;
  summary.prompts_below_floor += PromptBelowFloor(record) ? 1 : 0;
  summary.tokens_without_bits += without;
  const bool unconfirmed =
      record.outcome == Outcome::kOk && !record.bits_confirmed;
  summary.answers_without_bits += without > 0 || unconfirmed ? 1 : 0;
  summary.short_answers += IsShort(record) ? 1 : 0;
  summary.lost += record.outcome == Outcome::kLost ? 1 : 0;
}

// What happened within a time, whoever planned it.
class Throughput {
 public:
  explicit Throughput(const MeasuredTime& time) : time_(time) {}

  void Add(const RequestRecord& record) {
    if (record.outcome == Outcome::kOk && Within(record.finished_at)) {
      ++completed_;
    }
    for (size_t i = 0; i < record.tokens.size(); ++i) {
      if (!Within(record.TokenTime(i))) continue;
      ++output_tokens_;
      if (i == 0) prompt_tokens_ += record.prompt_tokens;
    }
  }

  void Fill(Summary& summary) const {
    summary.completed_rps = completed_ / summary.measured_s;
    summary.output_tokens_per_s = output_tokens_ / summary.measured_s;
    summary.prompt_tokens_per_s = prompt_tokens_ / summary.measured_s;
  }

 private:
  bool Within(absl::Duration at) const {
    return at >= time_.warm_up && at < time_.end;
  }

  const MeasuredTime time_;
  double completed_ = 0;
  double output_tokens_ = 0;
  double prompt_tokens_ = 0;
};

// Refusals and failures among the measured requests.
class Failures {
 public:
  void Add(const RequestRecord& record, Summary& summary) {
    if (record.outcome != Outcome::kOk &&
        record.outcome != Outcome::kCancelled) {
      ++summary.reasons[absl::StrCat(OutcomeName(record.outcome), ":",
                                     record.reason)];
    }
    if (record.outcome != Outcome::kRefused) return;
    latency_ms_.push_back(
        absl::ToDoubleMilliseconds(record.finished_at - record.sent_at));
    if (record.retry_delay.has_value()) {
      retry_ms_.push_back(absl::ToDoubleMilliseconds(*record.retry_delay));
    } else {
      ++summary.refusals_without_retry_info;
    }
  }

  void Fill(Summary& summary) {
    summary.refusal_latency_ms = Describe(std::move(latency_ms_));
    summary.retry_after_ms = Describe(std::move(retry_ms_));
  }

 private:
  std::vector<double> latency_ms_;
  std::vector<double> retry_ms_;
};

}  // namespace

double MeanBits(const BitsCounts& counts) {
  int64_t tokens = 0;
  int64_t bits = 0;
  for (int i = 1; i <= kMaxBitsReported; ++i) {
    tokens += counts[i];
    bits += counts[i] * i;
  }
  return tokens == 0 ? 0
                     : static_cast<double>(bits) / static_cast<double>(tokens);
}

Summary Summarize(std::span<const RequestRecord> records,
                  const std::vector<RequestClass>& classes,
                  const MeasuredTime& measured) {
  ANYPREC_CHECK(measured.end > measured.warm_up) << "nothing is measured";
  Summary summary;
  summary.measured_s = absl::ToDoubleSeconds(measured.end - measured.warm_up);
  summary.classes.resize(classes.size());
  Samples total_samples;
  std::vector<Samples> samples(classes.size());
  std::vector<double> client_queue_ms;
  Throughput throughput(measured);
  Failures failures;
  for (const RequestRecord& record : records) {
    const size_t index = static_cast<size_t>(record.class_index);
    ANYPREC_CHECK(index < classes.size()) << "class " << record.class_index;
    CheckPromises(record, summary);
    throughput.Add(record);
    if (record.planned_at < measured.warm_up ||
        record.planned_at >= measured.end) {
      continue;
    }
    const SloResult slo = Judge(record, classes[index]);
    AddRecord(record, slo, summary.total, total_samples);
    AddRecord(record, slo, summary.classes[index], samples[index]);
    failures.Add(record, summary);
    client_queue_ms.push_back(
        absl::ToDoubleMilliseconds(record.sent_at - record.planned_at));
  }
  DescribeSamples(total_samples, summary.total);
  for (size_t i = 0; i < classes.size(); ++i) {
    DescribeSamples(samples[i], summary.classes[i]);
  }
  throughput.Fill(summary);
  failures.Fill(summary);
  summary.client_queue_ms = Describe(std::move(client_queue_ms));
  summary.offered_rps =
      static_cast<double>(summary.total.planned) / summary.measured_s;
  summary.goodput_rps =
      static_cast<double>(summary.total.all.met) / summary.measured_s;
  return summary;
}

}  // namespace anyprec::load
