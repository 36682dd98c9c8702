// Renders a conversation into the prompt that a chat model was trained on.
//
// Models publish their template as Jinja source. We do not interpret Jinja: we
// recognise the families below by what their source contains, and render them
// exactly as HuggingFace transformers' apply_chat_template() does, white space
// and BOS included. Every other template is an error.
//
// Llama 3.2 and later write the current date into the system message; we write
// the date that their template has for want of a clock, so that the same
// messages always give the same prompt.
//
//   ChatML      <|im_start|>role\ncontent<|im_end|>\n        SmolLM2, Qwen
//   Llama 2     <s>[INST] <<SYS>>\nsystem\n<</SYS>>\n\nuser [/INST] answer </s>
//   Llama 3     <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>
//   Zephyr      <|role|>\ncontent</s>\n                      TinyLlama
//   Mistral     <s>[INST] user [/INST]answer</s>
//
// Immutable; safe to use from any thread.
#ifndef ANYPREC_RUNTIME_TOKENIZER_CHAT_TEMPLATE_H_
#define ANYPREC_RUNTIME_TOKENIZER_CHAT_TEMPLATE_H_

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/tokenizer/token.h"
#include "runtime/tokenizer/tokenizer.h"

namespace anyprec {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// A prompt as text, and where in it the messages' contents lie: there, text
// that looks like a control token is to be taken literally.
struct RenderedChat {
  std::string text;
  std::vector<TextRange> contents;
};

class ChatTemplate {
 public:
  enum class Family { kChatMl, kLlama2, kLlama3, kZephyr, kMistral };

  // Recognises a Jinja source. `bos` and `eos` are the texts of these tokens,
  // which templates refer to by name. FAILED_PRECONDITION where the source is
  // empty or of no family we know.
  static absl::StatusOr<ChatTemplate> Detect(absl::string_view jinja,
                                             absl::string_view bos,
                                             absl::string_view eos);

  // The template that the tokenizer's files carry.
  static absl::StatusOr<ChatTemplate> ForTokenizer(const Tokenizer& tokenizer);

  // `add_generation_prompt` ends the prompt with the opening of an assistant's
  // turn. INVALID_ARGUMENT for a role the family lacks, or an order of roles
  // that its template refuses; the message names the message's index.
  absl::StatusOr<RenderedChat> Render(std::span<const ChatMessage> messages,
                                      bool add_generation_prompt) const;

  // Renders and encodes. Control tokens come from the template only, never from
  // the messages' contents.
  absl::StatusOr<std::vector<TokenId>> Encode(
      const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
      bool add_generation_prompt) const;

  Family family() const { return family_; }

 private:
  // Where templates of one family differ.
  struct Style {
    std::string bos;  // "" where the template writes none
    std::string eos;

    // ChatML: stands in where no system message leads. Llama 3.1 and later:
    // what stands before the system message, which is then never left out.
    std::string default_system;
    std::string system_preamble;

    // Mistral.
    std::string instruction_begin;
    std::string instruction_end;
    std::string answer_begin;
    std::string answer_end;
    bool trim_answer = false;
    bool takes_system = false;
    bool system_goes_last = false;  // into the last user message, not the first
  };
  class Writer;
  using Messages = std::span<const ChatMessage>;

  ChatTemplate(Family family, Style style)
      : family_(family), style_(std::move(style)) {}

  static absl::StatusOr<Style> ReadChatMl(absl::string_view jinja);
  static Style ReadLlama3(absl::string_view jinja);
  static Style ReadMistral(absl::string_view jinja);

  void RenderChatMl(Messages messages, Writer& out) const;
  void RenderLlama3(Messages messages, Writer& out) const;
  void RenderZephyr(Messages messages, Writer& out) const;
  absl::Status RenderLlama2(Messages messages, Writer& out) const;
  absl::Status RenderMistral(Messages messages, Writer& out) const;

  Family family_;
  Style style_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_CHAT_TEMPLATE_H_
