// The part of sentencepiece's ModelProto that we read and write ourselves, in
// protobuf's wire format (the protobuf library would clash with the copy inside
// libsentencepiece):
//
//   ModelProto      1 pieces*  2 trainer_spec  3 normalizer_spec
//   SentencePiece   1 piece:string  2 score:float  3 type:enum
//   TrainerSpec     3 model_type:enum  24 treat_whitespace_as_suffix:bool
//                   35 byte_fallback:bool
//                   40 unk_id  41 bos_id  42 eos_id:int32
//   NormalizerSpec  2 precompiled_charsmap:bytes  3 add_dummy_prefix:bool
//                   4 remove_extra_whitespaces  5 escape_whitespaces:bool
#ifndef ANYPREC_RUNTIME_TOKENIZER_SENTENCEPIECE_PROTO_H_
#define ANYPREC_RUNTIME_TOKENIZER_SENTENCEPIECE_PROTO_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace anyprec {

struct SentencePieceProto {
  // The numbers of sentencepiece, and of GGUF's tokenizer.ggml.token_type.
  enum PieceType : int {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6,
  };
  enum ModelType : int { kUnigram = 1, kBpe = 2 };

  struct Piece {
    std::string text;
    float score = 0.0f;
    int type = kNormal;
  };

  std::vector<Piece> pieces;
  int model_type = kUnigram;  // the defaults of the .proto file
  bool byte_fallback = false;
  int unk_id = 0;
  int bos_id = 1;  // -1: none
  int eos_id = 2;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
};

// INVALID_ARGUMENT naming piece or field where `bytes` is no such message, a
// type is unknown, a score is not a number, or a piece is empty, not UTF-8 or
// not unique. UNIMPLEMENTED for model types that are neither unigram nor BPE,
// where spaces are not written as U+2581 at the front of words, and for models
// that rewrite characters (no Llama does; the library follows the offsets in
// such a table without checking them).
absl::StatusOr<SentencePieceProto> ParseSentencePieceProto(
    absl::string_view bytes);

std::string SerializeSentencePieceProto(const SentencePieceProto& model);

// What, appended to a serialized model, takes its dummy prefix away: messages
// of one field merge, and the last value counts.
std::string NoDummyPrefixOverride();

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_TOKENIZER_SENTENCEPIECE_PROTO_H_
