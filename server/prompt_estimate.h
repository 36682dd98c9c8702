// PromptEstimate: how many tokens a text has, before it is tokenized.
//
// Learns from the texts that were. Estimates on the low side, as it serves to
// refuse work that could not be done in time. Thread-safe.
#ifndef ANYPREC_SERVER_PROMPT_ESTIMATE_H_
#define ANYPREC_SERVER_PROMPT_ESTIMATE_H_

#include <atomic>
#include <cstddef>

namespace anyprec {

class PromptEstimate {
 public:
  int Tokens(size_t text_bytes) const {
    return static_cast<int>(kCaution * tokens_per_byte_ *
                            static_cast<double>(text_bytes));
  }

  void Learn(size_t text_bytes, size_t tokens) {
    // Short prompts are mostly markup.
    if (text_bytes < kLeastBytes) return;
    const double seen =
        static_cast<double>(tokens) / static_cast<double>(text_bytes);
    // Two threads at once may lose one of their lessons.
    tokens_per_byte_ = tokens_per_byte_ + kGain * (seen - tokens_per_byte_);
  }

 private:
  static constexpr double kCaution = 0.8;
  static constexpr double kGain = 0.05;
  static constexpr size_t kLeastBytes = 64;

  std::atomic<double> tokens_per_byte_ = 0.2;  // English has about a quarter
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_PROMPT_ESTIMATE_H_
