// Stands in for libsentencepiece in builds that leave it out.
#include "runtime/tokenizer/sentencepiece_library.h"

namespace anyprec {

bool SentencePieceModel::IsAvailable() { return false; }

std::unique_ptr<SentencePieceModel> SentencePieceModel::Create(
    std::string_view, std::string* error) {
  *error = "this build leaves libsentencepiece out";
  return nullptr;
}

}  // namespace anyprec
