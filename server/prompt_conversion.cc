#include "server/prompt_conversion.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

// Texts are encoded on gRPC's threads, so those that no context could hold are
// refused unread. Text of any language has tokens of 3 to 6 bytes; only long
// runs of spaces come near this.
constexpr size_t kMaxBytesPerToken = 32;

absl::Status CheckTextBytes(absl::string_view field, size_t bytes,
                            const ServedModel& model,
                            const FieldChecker& check) {
  const size_t most = kMaxBytesPerToken * model.max_context_tokens;
  if (bytes <= most) return absl::OkStatus();
  return check.Refuse(
      field,
      absl::StrCat("has ", bytes, " bytes; a context of ",
                   model.max_context_tokens, " tokens takes at most ", most));
}

}  // namespace

absl::Status NoTokenizerError() {
  return absl::FailedPreconditionError(
      "the model has no tokenizer; send token_ids");
}

std::vector<TokenId> ConvertTokenIds(
    const google::protobuf::RepeatedField<int32_t>& ids, absl::string_view path,
    const ServedModel& model, const FieldChecker& check) {
  for (int i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= model.vocab_size) {
      // The first is enough: a wrong tokenizer makes thousands.
      check.Fail(absl::StrCat(path, "[", i, "]"),
                 absl::StrCat("is ", ids[i], "; must be in [0, ",
                              model.vocab_size - 1, "]"));
      break;
    }
  }
  return std::vector<TokenId>(ids.begin(), ids.end());
}

absl::StatusOr<std::vector<TokenId>> EncodeConversation(
    const v1::Conversation& conversation, const ServedModel& model,
    const FieldChecker& check) {
  if (model.tokenizer == nullptr) return NoTokenizerError();
  RETURN_IF_ERROR(model.chat_template.status());
  if (conversation.messages().empty()) {
    check.Fail("messages", "is empty; a conversation has a message at least");
    return std::vector<TokenId>();
  }
  // Each message has a token at least, its markup.
  if (conversation.messages_size() > model.max_context_tokens) {
    return check.Refuse("messages",
                        absl::StrCat("has ", conversation.messages_size(),
                                     " messages; the context holds ",
                                     model.max_context_tokens, " tokens"));
  }
  std::vector<ChatMessage> messages;
  size_t bytes = 0;
  for (const v1::ChatMessage& message : conversation.messages()) {
    messages.push_back({message.role(), message.content()});
    bytes += message.role().size() + message.content().size();
  }
  RETURN_IF_ERROR(CheckTextBytes("messages", bytes, model, check));
  absl::StatusOr<std::vector<TokenId>> ids = model.chat_template->Encode(
      *model.tokenizer, messages, /*add_generation_prompt=*/true);
  if (absl::IsInvalidArgument(ids.status())) {
    // "messages[0].role: ...", as a path from the conversation.
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(ids.status().message(), absl::MaxSplits(": ", 1));
    check.Fail(parts.first, parts.second);
    return std::vector<TokenId>();
  }
  return ids;
}

absl::StatusOr<std::vector<TokenId>> EncodeText(absl::string_view text,
                                                bool add_special,
                                                bool parse_special,
                                                const ServedModel& model,
                                                const FieldChecker& check) {
  if (model.tokenizer == nullptr) return NoTokenizerError();
  RETURN_IF_ERROR(CheckTextBytes("text", text.size(), model, check));
  EncodeOptions options;
  options.add_special = add_special;
  options.parse_special = parse_special;
  return model.tokenizer->Encode(text, options);
}

absl::StatusOr<std::vector<TokenId>> ConvertPrompt(
    const v1::GenerateRequest& message, const ServedModel& model,
    const FieldChecker& check) {
  switch (message.prompt_case()) {
    case v1::GenerateRequest::kText:
      return EncodeText(message.text(), /*add_special=*/true,
                        message.parse_special(), model, check);
    case v1::GenerateRequest::kTokenIds:
      return ConvertTokenIds(message.token_ids().ids(), "token_ids.ids", model,
                             check);
    case v1::GenerateRequest::kChat:
      return EncodeConversation(message.chat(), model, check.Below("chat"));
    case v1::GenerateRequest::PROMPT_NOT_SET:
      break;
  }
  check.Fail("prompt", "is missing; set text, token_ids or chat");
  return std::vector<TokenId>();
}

size_t TextBytes(const v1::GenerateRequest& message) {
  if (message.prompt_case() != v1::GenerateRequest::kChat) {
    return message.text().size();
  }
  size_t bytes = 0;
  for (const v1::ChatMessage& turn : message.chat().messages()) {
    bytes += turn.content().size();
  }
  return bytes;
}

const char* PromptField(const v1::GenerateRequest& message) {
  switch (message.prompt_case()) {
    case v1::GenerateRequest::kText:
      return "text";
    case v1::GenerateRequest::kChat:
      return "chat";
    default:
      return "token_ids";
  }
}

}  // namespace anyprec
