// A sentencepiece model, by libsentencepiece.
//
// The library's header does not compile beside Debian's Abseil (it defines an
// absl::string_view of its own), and the library exports a protobuf of its own:
// so one translation unit sees it, and this header is of the standard library
// only. Builds without the library (TSan's) link a stub that knows no model.
//
// Immutable after Create(); safe to use from any thread.
#ifndef ANYPREC_RUNTIME_TOKENIZER_SENTENCEPIECE_LIBRARY_H_
#define ANYPREC_RUNTIME_TOKENIZER_SENTENCEPIECE_LIBRARY_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace anyprec {

class SentencePieceModel {
 public:
  // False in builds without the library.
  static bool IsAvailable();

  // `model_proto` is a serialized sentencepiece.ModelProto. Null, with the
  // library's reason in `*error`, where it refuses the model.
  static std::unique_ptr<SentencePieceModel> Create(
      std::string_view model_proto, std::string* error);

  virtual ~SentencePieceModel() = default;

  // Appends the ids of `text`. False, with a reason in `*error`, on failure.
  // REQUIRES: `text` is valid UTF-8.
  virtual bool Encode(std::string_view text, std::vector<int>* ids,
                      std::string* error) const = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_SENTENCEPIECE_LIBRARY_H_
