#include "runtime/tokenizer/sentencepiece_library.h"

#include <sentencepiece_processor.h>

#include <exception>
#include <utility>

namespace anyprec {
namespace {

class LibraryModel final : public SentencePieceModel {
 public:
  bool Load(std::string_view model_proto, std::string* error) {
    const auto status = processor_.LoadFromSerializedProto(model_proto);
    if (!status.ok()) *error = status.error_message();
    return status.ok();
  }

  bool Encode(std::string_view text, std::vector<int>* ids,
              std::string* error) const override {
    try {
      std::vector<int> encoded;
      const auto status = processor_.Encode(text, &encoded);
      if (!status.ok()) {
        *error = status.error_message();
        return false;
      }
      ids->insert(ids->end(), encoded.begin(), encoded.end());
      return true;
    } catch (const std::exception& exception) {
      *error = exception.what();
      return false;
    }
  }

 private:
  sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace

bool SentencePieceModel::IsAvailable() { return true; }

std::unique_ptr<SentencePieceModel> SentencePieceModel::Create(
    std::string_view model_proto, std::string* error) {
  try {
    auto model = std::make_unique<LibraryModel>();
    if (!model->Load(model_proto, error)) return nullptr;
    return model;
  } catch (const std::exception& exception) {
    // The trie of user-defined symbols throws on pieces it cannot hold.
    *error = exception.what();
    return nullptr;
  }
}

}  // namespace anyprec
