#include "runtime/tokenizer/chat_template.h"

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/utf8.h"

namespace anyprec {
namespace {

using Family = ChatTemplate::Family;

absl::Status Unsupported(absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat(
      "chat template: ", why,
      "; supported are ChatML, Llama 2, Llama 3, Zephyr and Mistral"));
}

// A source in which a string literal looks the same however it was written:
// 'single' quotes, real line breaks, no space around "+".
std::string Canonical(absl::string_view jinja) {
  std::string text = absl::StrReplaceAll(jinja, {{"\"", "'"}, {"\\n", "\n"}});
  for (const char* plus : {"+ ", " +"}) {
    while (absl::StrContains(text, plus)) {
      text = absl::StrReplaceAll(text, {{plus, "+"}});
    }
  }
  return text;
}

// Python's str.strip(), which takes U+001C to U+001F for white space, too.
bool IsSeparator(char c) { return c >= 0x1C && c <= 0x1F; }

absl::string_view StripLeft(absl::string_view text) {
  for (size_t before = 0; before != text.size();) {
    before = text.size();
    text.remove_prefix(LeadingWhiteSpace(text));
    while (!text.empty() && IsSeparator(text.front())) text.remove_prefix(1);
  }
  return text;
}

absl::string_view StripRight(absl::string_view text) {
  for (size_t before = 0; before != text.size();) {
    before = text.size();
    text.remove_suffix(TrailingWhiteSpace(text));
    while (!text.empty() && IsSeparator(text.back())) text.remove_suffix(1);
  }
  return text;
}

absl::string_view Strip(absl::string_view text) {
  return StripRight(StripLeft(text));
}

// A role as messages quote it: it may be of any length.
std::string Quoted(absl::string_view role) {
  constexpr size_t kMaxBytes = 40;
  return absl::StrCat("\"", absl::CHexEscape(role.substr(0, kMaxBytes)),
                      role.size() > kMaxBytes ? "...\"" : "\"");
}

absl::Status CheckRoles(std::span<const ChatMessage> messages) {
  if (messages.empty()) {
    return absl::InvalidArgumentError("messages: none, needs one at least");
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role == "system" || role == "user" || role == "assistant") continue;
    return absl::InvalidArgumentError(
        absl::StrCat("messages[", i, "].role: ", Quoted(role),
                     ", needs \"system\", \"user\" or \"assistant\""));
  }
  return absl::OkStatus();
}

// user, assistant, user, ... `first` is the index of messages[0] for messages.
absl::Status CheckAlternation(std::span<const ChatMessage> messages,
                              size_t first) {
  if (messages.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("messages[", first, "]: needs a \"user\" message"));
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    const char* wanted = i % 2 == 0 ? "user" : "assistant";
    if (messages[i].role == wanted) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("messages[", first + i, "].role: \"", messages[i].role,
                     "\", this model needs \"", wanted, "\" here"));
  }
  return absl::OkStatus();
}

// The literal system prompt of a ChatML template: "<|im_start|>system\nTEXT
// <|im_end|>" in one piece.
std::string DefaultChatMlSystem(absl::string_view jinja) {
  const std::string source =
      absl::StrReplaceAll(jinja, {{"\\n", "\n"}, {"\\'", "'"}, {"\\\"", "\""}});
  const std::string marker = "<|im_start|>system\n";
  for (size_t at = source.find(marker); at != std::string::npos;
       at = source.find(marker, at + 1)) {
    const size_t begin = at + marker.size();
    const size_t end = source.find("<|im_end|>", begin);
    if (end == std::string::npos) break;
    std::string text = source.substr(begin, end - begin);
    // With one of these the literal ends, and an expression follows.
    if (text.find_first_of("{}+~") == std::string::npos) return text;
  }
  return "";
}

}  // namespace

// Collects a prompt, and where its contents lie.
class ChatTemplate::Writer {
 public:
  Writer& Markup(absl::string_view text) {
    chat_.text.append(text.data(), text.size());
    return *this;
  }
  Writer& Content(absl::string_view text) {
    const size_t begin = chat_.text.size();
    Markup(text);
    if (!text.empty()) chat_.contents.push_back({begin, chat_.text.size()});
    return *this;
  }
  RenderedChat Take() { return std::move(chat_); }

 private:
  RenderedChat chat_;
};

absl::StatusOr<ChatTemplate::Style> ChatTemplate::ReadChatMl(
    absl::string_view jinja) {
  // Of models that think aloud, and drop their thoughts from earlier turns.
  if (absl::StrContains(jinja, "think") ||
      absl::StrContains(jinja, "reasoning")) {
    return Unsupported("a ChatML template with reasoning");
  }
  if (absl::StrContains(jinja, "trim") ||
      absl::StrContains(jinja, ".strip()")) {
    return Unsupported("a ChatML template that trims its messages");
  }
  Style style;
  style.default_system = DefaultChatMlSystem(jinja);
  return style;
}

// Llama 3.1 begins every prompt with a system message that states dates.
ChatTemplate::Style ChatTemplate::ReadLlama3(absl::string_view jinja) {
  Style style;
  if (absl::StrContains(jinja, "Cutting Knowledge Date: December 2023")) {
    style.system_preamble =
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
  }
  return style;
}

ChatTemplate::Style ChatTemplate::ReadMistral(absl::string_view jinja) {
  const auto has = [&](absl::string_view s) {
    return absl::StrContains(jinja, s);
  };
  Style style;
  style.instruction_begin = has("' [INST] '") ? " [INST] " : "[INST] ";
  style.instruction_end = has("' [/INST]'") ? " [/INST]" : "[/INST]";
  style.answer_begin = has("' '+message['content']") ? " " : "";
  style.answer_end = has("eos_token+' '") ? " " : "";
  style.trim_answer = has("message['content']|trim");
  style.takes_system = has("system_message");
  style.system_goes_last = has("loop.last and system_message");
  return style;
}

absl::StatusOr<ChatTemplate> ChatTemplate::Detect(absl::string_view jinja,
                                                  absl::string_view bos,
                                                  absl::string_view eos) {
  if (jinja.empty()) return Unsupported("the model has none");
  const std::string text = Canonical(jinja);
  const auto has = [&](absl::string_view s) {
    return absl::StrContains(text, s);
  };
  std::optional<Family> family;
  Style style;
  if (has("<|im_start|>")) {
    family = Family::kChatMl;
    ASSIGN_OR_RETURN(style, ReadChatMl(jinja));
  } else if (has("<|start_header_id|>")) {
    family = Family::kLlama3;
    style = ReadLlama3(text);
  } else if (has("[INST]") && has("<<SYS>>")) {
    family = Family::kLlama2;
  } else if (has("[INST]")) {
    family = Family::kMistral;
    style = ReadMistral(text);
  } else if (has("<|user|>\n") && has("<|assistant|>") && has("eos_token")) {
    family = Family::kZephyr;
  } else {
    return Unsupported("of no family that we know");
  }
  if (has("bos_token")) style.bos = std::string(bos);
  style.eos = std::string(eos);
  return ChatTemplate(*family, std::move(style));
}

absl::StatusOr<ChatTemplate> ChatTemplate::ForTokenizer(
    const Tokenizer& tokenizer) {
  const SpecialTokens& special = tokenizer.special();
  const auto name = [&](std::optional<TokenId> id) {
    return id.has_value() ? tokenizer.ControlText(*id) : std::string();
  };
  return Detect(special.chat_template, name(special.bos),
                name(special.primary_eos));
}

void ChatTemplate::RenderChatMl(Messages messages, Writer& out) const {
  out.Markup(style_.bos);
  if (messages.front().role != "system" && !style_.default_system.empty()) {
    out.Markup("<|im_start|>system\n")
        .Markup(style_.default_system)
        .Markup("<|im_end|>\n");
  }
  for (const ChatMessage& message : messages) {
    out.Markup("<|im_start|>").Markup(message.role).Markup("\n");
    out.Content(message.content).Markup("<|im_end|>\n");
  }
}

void ChatTemplate::RenderLlama3(Messages messages, Writer& out) const {
  const auto header = [&](absl::string_view role) {
    out.Markup("<|start_header_id|>").Markup(role);
    out.Markup("<|end_header_id|>\n\n");
  };
  out.Markup(style_.bos);
  if (!style_.system_preamble.empty()) {
    header("system");
    out.Markup(style_.system_preamble);
    if (messages.front().role == "system") {
      out.Content(Strip(messages.front().content));
      messages = messages.subspan(1);
    }
    out.Markup("<|eot_id|>");
  }
  for (const ChatMessage& message : messages) {
    header(message.role);
    out.Content(Strip(message.content)).Markup("<|eot_id|>");
  }
}

void ChatTemplate::RenderZephyr(Messages messages, Writer& out) const {
  for (const ChatMessage& message : messages) {
    out.Markup("<|").Markup(message.role).Markup("|>\n");
    out.Content(message.content).Markup(style_.eos).Markup("\n");
  }
}

absl::Status ChatTemplate::RenderLlama2(Messages messages, Writer& out) const {
  const ChatMessage* system = nullptr;
  if (messages.front().role == "system") {
    system = &messages.front();
    messages = messages.subspan(1);
  }
  RETURN_IF_ERROR(CheckAlternation(messages, system == nullptr ? 0 : 1));
  for (size_t i = 0; i < messages.size(); ++i) {
    const absl::string_view content = messages[i].content;
    if (messages[i].role == "assistant") {
      out.Markup(" ").Content(Strip(content)).Markup(" ").Markup(style_.eos);
      continue;
    }
    out.Markup(style_.bos).Markup("[INST] ");
    if (i == 0 && system != nullptr) {
      // Stripped is the whole, so that white space before the user's part
      // stays, and the empty lines before an empty one go.
      const absl::string_view user = StripRight(content);
      out.Markup("<<SYS>>\n").Content(system->content).Markup("\n<</SYS>>");
      if (!user.empty()) out.Markup("\n\n").Content(user);
    } else {
      out.Content(Strip(content));
    }
    out.Markup(" [/INST]");
  }
  return absl::OkStatus();
}

absl::Status ChatTemplate::RenderMistral(Messages messages, Writer& out) const {
  const ChatMessage* system = nullptr;
  if (style_.takes_system && messages.front().role == "system") {
    system = &messages.front();
    messages = messages.subspan(1);
  }
  RETURN_IF_ERROR(CheckAlternation(messages, system == nullptr ? 0 : 1));
  const size_t system_at =
      style_.system_goes_last ? messages.size() - 1 : size_t{0};
  out.Markup(style_.bos);
  for (size_t i = 0; i < messages.size(); ++i) {
    const absl::string_view content = messages[i].content;
    if (messages[i].role == "assistant") {
      out.Markup(style_.answer_begin)
          .Content(style_.trim_answer ? Strip(content) : content)
          .Markup(style_.eos)
          .Markup(style_.answer_end);
      continue;
    }
    out.Markup(style_.instruction_begin);
    if (system != nullptr && i == system_at) {
      out.Content(system->content).Markup("\n\n");
    }
    out.Content(content).Markup(style_.instruction_end);
  }
  return absl::OkStatus();
}

absl::StatusOr<RenderedChat> ChatTemplate::Render(
    std::span<const ChatMessage> messages, bool add_generation_prompt) const {
  RETURN_IF_ERROR(CheckRoles(messages));
  Writer out;
  absl::string_view generation_prompt;
  switch (family_) {
    case Family::kChatMl:
      RenderChatMl(messages, out);
      generation_prompt = "<|im_start|>assistant\n";
      break;
    case Family::kLlama3:
      RenderLlama3(messages, out);
      generation_prompt = "<|start_header_id|>assistant<|end_header_id|>\n\n";
      break;
    case Family::kZephyr:
      RenderZephyr(messages, out);
      generation_prompt = "<|assistant|>\n";
      break;
    // An instruction's end is what these two answer to.
    case Family::kLlama2:
      RETURN_IF_ERROR(RenderLlama2(messages, out));
      break;
    case Family::kMistral:
      RETURN_IF_ERROR(RenderMistral(messages, out));
      break;
  }
  if (add_generation_prompt) out.Markup(generation_prompt);
  return out.Take();
}

absl::StatusOr<std::vector<TokenId>> ChatTemplate::Encode(
    const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
    bool add_generation_prompt) const {
  ASSIGN_OR_RETURN(const RenderedChat chat,
                   Render(messages, add_generation_prompt));
  // BOS stands in the text where the template wants it.
  return tokenizer.Encode(
      chat.text,
      {.add_special = false, .parse_special = true, .literal = chat.contents});
}

}  // namespace anyprec
