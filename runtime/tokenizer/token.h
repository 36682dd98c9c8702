// The number of a token in a model's vocabulary, the unit of prompts and
// answers.
#ifndef ANYPREC_RUNTIME_TOKENIZER_TOKEN_H_
#define ANYPREC_RUNTIME_TOKENIZER_TOKEN_H_

#include <cstdint>

namespace anyprec {

using TokenId = int32_t;

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_TOKEN_H_
