#include "runtime/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace anyprec {
namespace {

// Published patterns have 100 to 2000 bytes.
constexpr size_t kMaxPatternBytes = 1 << 16;

// Published patterns use less than PCRE2's 32 KiB on the machine stack; this is
// for hand-made ones.
constexpr size_t kJitStackStartBytes = 32 << 10;
constexpr size_t kJitStackMaxBytes = 1 << 20;

std::string ErrorText(int error) {
  PCRE2_UCHAR text[256];
  if (pcre2_get_error_message(error, text, sizeof(text)) < 0) {
    return absl::StrCat("PCRE2 error ", error);
  }
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct Regex::Impl {
  ~Impl() { pcre2_code_free(code); }
  pcre2_code* code = nullptr;
};

struct Regex::Scratch::Impl {
  Impl() {
    // One pair of offsets: the match, no groups.
    match = pcre2_match_data_create(1, nullptr);
    context = pcre2_match_context_create(nullptr);
    stack =
        pcre2_jit_stack_create(kJitStackStartBytes, kJitStackMaxBytes, nullptr);
    ANYPREC_CHECK(match != nullptr && context != nullptr) << "out of memory";
    // Without the compiler there is no such stack, and none is needed.
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Impl() {
    pcre2_match_data_free(match);
    pcre2_match_context_free(context);
    if (stack != nullptr) pcre2_jit_stack_free(stack);
  }
  pcre2_match_data* match = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;
};

Regex::Scratch::Scratch() : impl_(std::make_unique<Impl>()) {}
Regex::Scratch::~Scratch() = default;

Regex::Regex(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

absl::StatusOr<Regex> Regex::Compile(absl::string_view pattern) {
  return Compile(pattern, /*literal=*/false);
}

absl::StatusOr<Regex> Regex::Literal(absl::string_view text) {
  return Compile(text, /*literal=*/true);
}

absl::StatusOr<Regex> Regex::Compile(absl::string_view pattern, bool literal) {
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a pattern of ", pattern.size(), " bytes, at most ", kMaxPatternBytes));
  }
  // UCP: \s, \p{L} and case after Unicode, as in the engines that the patterns
  // were written for.
  const uint32_t options =
      literal ? PCRE2_UTF | PCRE2_LITERAL
              : PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  PCRE2_SIZE position = 0;
  auto impl = std::make_unique<Impl>();
  impl->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                    pattern.size(), options, &error, &position, nullptr);
  if (impl->code == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "pattern \"", pattern, "\", byte ", position, ": ", ErrorText(error)));
  }
  // Where the compiler is not available PCRE2 interprets.
  (void)pcre2_jit_compile(impl->code, PCRE2_JIT_COMPLETE);
  return Regex(std::move(impl));
}

absl::StatusOr<std::optional<TextRange>> Regex::Find(absl::string_view text,
                                                     size_t offset,
                                                     Scratch& scratch) const {
  Scratch::Impl& memory = *scratch.impl_;
  // Checking UTF-8 anew for each match would make splitting quadratic.
  int result = pcre2_match(
      impl_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
      offset, PCRE2_NO_UTF_CHECK, memory.match, memory.context);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
    // The interpreter keeps its backtracking points on the heap.
    result = pcre2_match(impl_->code, reinterpret_cast<PCRE2_SPTR>(text.data()),
                         text.size(), offset, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         memory.match, memory.context);
  }
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("pre-tokenization gave up: ", ErrorText(result)));
  }
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(memory.match);
  return TextRange{offsets[0], offsets[1]};
}

}  // namespace anyprec
