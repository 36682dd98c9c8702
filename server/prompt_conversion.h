// Prompts: text, conversations and token ids, as the API's messages hold them.
//
// Pure functions of their arguments; thread-safe. What is wrong with a field is
// noted with `check`, below whose path the message lies; the result is of no
// use then. FAILED_PRECONDITION where the model lacks a tokenizer or a chat
// template, INVALID_ARGUMENT where the text is too long to be read at all.
#ifndef ANYPREC_SERVER_PROMPT_CONVERSION_H_
#define ANYPREC_SERVER_PROMPT_CONVERSION_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "anyprec/v1/inference_service.pb.h"
#include "runtime/tokenizer/tokenizer.h"
#include "server/field_checker.h"
#include "server/served_model.h"

namespace anyprec {

absl::Status NoTokenizerError();

// The ids at `path`.
std::vector<TokenId> ConvertTokenIds(
    const google::protobuf::RepeatedField<int32_t>& ids, absl::string_view path,
    const ServedModel& model, const FieldChecker& check);

// In the model's chat template, up to where its answer begins.
absl::StatusOr<std::vector<TokenId>> EncodeConversation(
    const v1::Conversation& conversation, const ServedModel& model,
    const FieldChecker& check);

// The field "text".
absl::StatusOr<std::vector<TokenId>> EncodeText(absl::string_view text,
                                                bool add_special,
                                                bool parse_special,
                                                const ServedModel& model,
                                                const FieldChecker& check);

absl::StatusOr<std::vector<TokenId>> ConvertPrompt(
    const v1::GenerateRequest& message, const ServedModel& model,
    const FieldChecker& check);

// What is to be encoded; 0 where the prompt is token ids.
size_t TextBytes(const v1::GenerateRequest& message);

// The field that holds the prompt.
const char* PromptField(const v1::GenerateRequest& message);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_PROMPT_CONVERSION_H_
