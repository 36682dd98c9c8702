// Text to token ids and back, as the model was trained with.
//
// Load() takes what models are published with: HuggingFace's tokenizer.json
// (BPE), GPT-2's vocab.json with merges.txt, a sentencepiece tokenizer.model,
// or the vocabulary in a GGUF file's metadata. A field that we do not
// implement is an error that names it; none is ignored.
//
// Text is UTF-8. Encode() replaces each malformed sequence of its input by
// U+FFFD, and so does Decode() in its output (both the way web browsers do: one
// U+FFFD per maximal subpart), so both are total.
//
// Immutable after loading; all methods may be called from any thread.
#ifndef ANYPREC_RUNTIME_TOKENIZER_TOKENIZER_H_
#define ANYPREC_RUNTIME_TOKENIZER_TOKENIZER_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/token.h"

namespace anyprec {

// The longest text that is encoded: a merge needs some 50 bytes of memory for
// each byte of a text that has no word boundaries.
inline constexpr size_t kMaxTextBytes = size_t{64} << 20;

// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin = 0;
  size_t end = 0;
};

struct EncodeOptions {
  // Adds what the model wants around a text: BOS for most Llamas, nothing for
  // SmolLM2.
  bool add_special = true;

  // Turns the text of a control token, such as "<|im_start|>", into that token.
  // Chat templates need it; text written by a user must not have it, or the
  // user could forge turns.
  bool parse_special = false;

  // Where parse_special does not hold: no control token is found that touches
  // one of these ranges. Ascending, disjoint.
  std::span<const TextRange> literal;
};

// What the tokens mean that stand for no text.
struct SpecialTokens {
  std::optional<TokenId> bos;
  std::vector<TokenId> eos;  // All that end an answer; ascending.
  // The one of these that the model's files call EOS; chat templates write it.
  std::optional<TokenId> primary_eos;
  std::string chat_template;  // Jinja source as published; "" if none.
  // Text that Decode() gives starts with a space that Encode() had added
  // (sentencepiece's dummy prefix), which Decode() takes off again.
  bool strip_leading_space = false;
};

class Tokenizer {
 public:
  // `path` is a folder that holds tokenizer.json, tokenizer.gguf (a GGUF file's
  // metadata), tokenizer.model, or vocab.json and merges.txt (the first of
  // these that exists counts), and tokenizer_config.json and
  // generation_config.json where the model has them; or a GGUF file.
  //
  // NOT_FOUND where there is no such file, INVALID_ARGUMENT for a malformed one
  // and UNIMPLEMENTED for what we do not support; the message names file and
  // field.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(
      absl::string_view path);

  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // INVALID_ARGUMENT where the text exceeds kMaxTextBytes.
  virtual absl::StatusOr<std::vector<TokenId>> Encode(
      absl::string_view text, const EncodeOptions& options) const = 0;

  // Ids are [0, vocab_size()). A model's embedding may have more rows.
  virtual int vocab_size() const = 0;

  // The bytes that `id` stands for, which may be part of a character, or begin
  // with the space of the word before. "" for control tokens and ids outside
  // the vocabulary.
  virtual std::string TokenBytes(TokenId id) const = 0;

  // The name of a control token, such as "</s>"; "" for all other ids.
  virtual std::string ControlText(TokenId id) const = 0;

  // The control token of that name.
  virtual std::optional<TokenId> FindControl(absl::string_view text) const = 0;

  // Control tokens stand for no text: BOS, EOS, "<|im_start|>".
  virtual bool IsControl(TokenId id) const = 0;

  // The text of `ids`, always valid UTF-8. Control tokens give their names, or
  // nothing where `skip_special`.
  std::string Decode(std::span<const TokenId> ids, bool skip_special) const;

  const SpecialTokens& special() const { return special_; }
  std::optional<TokenId> bos_id() const { return special_.bos; }
  const std::vector<TokenId>& eos_ids() const { return special_.eos; }
  bool IsEos(TokenId id) const;

 protected:
  explicit Tokenizer(SpecialTokens special) : special_(std::move(special)) {}

 private:
  const SpecialTokens special_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_TOKENIZER_H_
