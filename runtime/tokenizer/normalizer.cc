#include "runtime/tokenizer/normalizer.h"

#include <numeric>

namespace anyprec {
namespace {

// A text under construction; keeps origins only where they are asked for.
class Writer {
 public:
  Writer(const Normalizer::Traced& input, bool trace)
      : input_(input), trace_(trace) {
    output_.text.reserve(input.text.size());
  }

  // New bytes, which stand for the input at `at`.
  void Insert(absl::string_view bytes, size_t at) {
    output_.text.append(bytes.data(), bytes.size());
    if (!trace_) return;
    const size_t origin = at < input_.origins.size() ? input_.origins[at] : 0;
    output_.origins.insert(output_.origins.end(), bytes.size(), origin);
  }

  void Copy(size_t begin, size_t end) {
    output_.text.append(input_.text, begin, end - begin);
    if (!trace_) return;
    const auto first = input_.origins.begin();
    output_.origins.insert(output_.origins.end(),
                           first + static_cast<ptrdiff_t>(begin),
                           first + static_cast<ptrdiff_t>(end));
  }

  Normalizer::Traced Take() { return std::move(output_); }

 private:
  const Normalizer::Traced& input_;
  const bool trace_;
  Normalizer::Traced output_;
};

void Apply(const Normalizer::Prepend& step, const std::string& input,
           Writer& writer) {
  if (!input.empty()) writer.Insert(step.text, 0);
  writer.Copy(0, input.size());
}

void Apply(const Normalizer::Replace& step, const std::string& input,
           Writer& writer) {
  size_t done = 0;
  for (size_t at = input.find(step.pattern); at != std::string::npos;
       at = input.find(step.pattern, done)) {
    writer.Copy(done, at);
    writer.Insert(step.content, at);
    done = at + step.pattern.size();
  }
  writer.Copy(done, input.size());
}

Normalizer::Traced Run(const std::vector<Normalizer::Step>& steps,
                       Normalizer::Traced text, bool trace) {
  for (const Normalizer::Step& step : steps) {
    Writer writer(text, trace);
    std::visit([&](const auto& s) { Apply(s, text.text, writer); }, step);
    text = writer.Take();
  }
  return text;
}

}  // namespace

std::string Normalizer::Normalize(absl::string_view text) const {
  return Run(steps_, {std::string(text), {}}, /*trace=*/false).text;
}

Normalizer::Traced Normalizer::NormalizeTraced(absl::string_view text) const {
  Traced input{std::string(text), std::vector<size_t>(text.size())};
  std::iota(input.origins.begin(), input.origins.end(), size_t{0});
  return Run(steps_, std::move(input), /*trace=*/true);
}

}  // namespace anyprec
