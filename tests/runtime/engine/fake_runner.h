// A ModelRunner without a model: scripted answers, failures, and a gate that
// holds steps back, so that tests decide what happens during one.
#ifndef ANYPREC_TESTS_RUNTIME_ENGINE_FAKE_RUNNER_H_
#define ANYPREC_TESTS_RUNTIME_ENGINE_FAKE_RUNNER_H_

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cpu/row_sampler.h"
#include "runtime/engine/model_runner.h"
#include "runtime/scheduler/step_plan.h"
#include "tests/runtime/scheduler/fake_model.h"

namespace anyprec {

// Shared by a test and the runner in an engine. Thread-safe.
class FakeControl {
 public:
  // The answer to prompts that begin with `first`; where it is used up, and for
  // other prompts, the fake model's numbers decide.
  void Script(TokenId first, std::vector<TokenId> answer) {
    const std::lock_guard lock(mutex_);
    scripts_[first] = std::move(answer);
  }
  // Prompts that begin with `first` get NaN.
  void Poison(TokenId first) {
    const std::lock_guard lock(mutex_);
    poisoned_.insert(first);
  }
  void FailNextStep(absl::Status status) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(status);
  }
  void CloseGate() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  void OpenGate() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  // Returns when a step waits at the closed gate.
  void AwaitStep() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return at_gate_; });
  }
  // Whether any step held rows of a prompt that begins with `first`.
  bool Computed(TokenId first) const {
    const std::lock_guard lock(mutex_);
    return computed_.contains(first);
  }

 private:
  friend class FakeRunner;

  mutable std::mutex mutex_;  // guards the rest
  std::condition_variable changed_;
  std::map<TokenId, std::vector<TokenId>> scripts_;
  std::set<TokenId> poisoned_;
  std::set<TokenId> computed_;
  absl::Status failure_;
  bool open_ = true;
  bool at_gate_ = false;
};

class FakeRunner : public ModelRunner {
 public:
  FakeRunner(FakeControl& control, int vocab_size, int num_blocks,
             int block_tokens)
      : control_(control),
        vocab_size_(vocab_size),
        model_(num_blocks, block_tokens) {}

  absl::StatusOr<StepOutput> Execute(const StepPlan& plan) override {
    std::unique_lock lock(control_.mutex_);
    control_.at_gate_ = true;
    control_.changed_.notify_all();
    control_.changed_.wait(lock, [this] { return control_.open_; });
    control_.at_gate_ = false;
    if (!control_.failure_.ok()) {
      return std::exchange(control_.failure_, absl::OkStatus());
    }
    const std::vector<uint64_t> hashes = model_.Execute(plan);
    const size_t vocab = vocab_size_;
    const size_t logit_rows = plan.logit_rows.size();
    logits_.resize(hashes.size() * vocab);
    const auto row = [&](size_t index) {
      return std::span(logits_).subspan(index * vocab, vocab);
    };
    tokens_.resize(plan.draws.size());
    for (const SequenceStep& step : plan.steps) {
      control_.computed_.insert(step.sequence->tokens[0]);
      for (int i = 0; i < step.num_logits; ++i) {
        const int index = step.first_logits + i;
        Fill(*step.sequence, hashes[index], row(index));
      }
      if (step.takes_token) {
        const size_t index = logit_rows + step.draw_index;
        Fill(*step.sequence, hashes[index], row(index));
        tokens_[step.draw_index] =
            DrawToken(row(index), plan.draws[step.draw_index], scratch_);
      }
    }
    return StepOutput{.logits = std::span(logits_).first(logit_rows * vocab),
                      .tokens = tokens_};
  }

 private:
  void Fill(const Sequence& sequence, uint64_t hash, std::span<float> logits) {
    for (size_t v = 0; v < logits.size(); ++v) {
      const uint64_t bits = FakeModel::Mix(hash + v);
      logits[v] = static_cast<float>(bits % 4096) / 1024.0f;
    }
    const TokenId first = sequence.tokens[0];
    const auto script = control_.scripts_.find(first);
    const size_t next = sequence.generated();
    if (script != control_.scripts_.end() && next < script->second.size()) {
      logits[script->second[next]] = 50.0f;
    }
    if (control_.poisoned_.contains(first)) {
      logits[logits.size() / 2] = std::numeric_limits<float>::quiet_NaN();
    }
  }

  FakeControl& control_;
  const int vocab_size_;
  FakeModel model_;
  std::vector<float> logits_;
  std::vector<TokenId> tokens_;
  RowScratch scratch_;
};

}  // namespace anyprec

#endif  // ANYPREC_TESTS_RUNTIME_ENGINE_FAKE_RUNNER_H_
