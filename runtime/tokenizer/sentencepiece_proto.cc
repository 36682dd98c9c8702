#include "runtime/tokenizer/sentencepiece_proto.h"

#include <bit>
#include <cmath>
#include <cstddef>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/utf8.h"

namespace anyprec {
namespace {

enum WireType : int { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  uint64_t number = 0;
  int wire_type = kVarint;
  uint64_t value = 0;       // kVarint, kFixed32
  absl::string_view bytes;  // kBytes
};

// Walks the fields of one message.
class Reader {
 public:
  Reader(absl::string_view bytes, absl::string_view name)
      : bytes_(bytes), name_(name) {}

  bool done() const { return bytes_.empty(); }

  absl::StatusOr<Field> Next() {
    ASSIGN_OR_RETURN(const uint64_t tag, Varint());
    Field field{tag >> 3, static_cast<int>(tag & 7), 0, {}};
    switch (field.wire_type) {
      case kVarint: {
        ASSIGN_OR_RETURN(field.value, Varint());
        return field;
      }
      case kFixed32: {
        ASSIGN_OR_RETURN(const absl::string_view raw, Take(4));
        for (int i = 3; i >= 0; --i) {
          field.value = field.value << 8 | static_cast<uint8_t>(raw[i]);
        }
        return field;
      }
      case kFixed64: {
        ASSIGN_OR_RETURN(field.bytes, Take(8));
        return field;
      }
      case kBytes: {
        ASSIGN_OR_RETURN(const uint64_t size, Varint());
        ASSIGN_OR_RETURN(field.bytes, Take(size));
        return field;
      }
      default:
        return absl::InvalidArgumentError(
            absl::StrCat(name_, ": wire type ", field.wire_type));
    }
  }

 private:
  absl::StatusOr<uint64_t> Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      ASSIGN_OR_RETURN(const absl::string_view byte, Take(1));
      value |= static_cast<uint64_t>(static_cast<uint8_t>(byte[0]) & 0x7F)
               << shift;
      if ((static_cast<uint8_t>(byte[0]) & 0x80) == 0) return value;
    }
    return absl::InvalidArgumentError(
        absl::StrCat(name_, ": a number of more than 64 bits"));
  }

  absl::StatusOr<absl::string_view> Take(uint64_t size) {
    if (size > bytes_.size()) {
      return absl::InvalidArgumentError(absl::StrCat(name_, ": truncated, ",
                                                     size, " bytes needed, ",
                                                     bytes_.size(), " left"));
    }
    const absl::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }

  absl::string_view bytes_;
  absl::string_view name_;
};

// Calls `use` for each field. `use` sees only fields of the wire type that the
// .proto file gives them; protobuf takes others for unknown fields, and so
// passes them over.
absl::Status ForEachField(absl::string_view bytes, absl::string_view name,
                          absl::FunctionRef<absl::Status(const Field&)> use) {
  Reader reader(bytes, name);
  while (!reader.done()) {
    ASSIGN_OR_RETURN(const Field field, reader.Next());
    RETURN_IF_ERROR(use(field));
  }
  return absl::OkStatus();
}

absl::Status ParsePiece(absl::string_view bytes, absl::string_view name,
                        SentencePieceProto::Piece& piece) {
  RETURN_IF_ERROR(
      ForEachField(bytes, name, [&](const Field& field) -> absl::Status {
        if (field.number == 1 && field.wire_type == kBytes) {
          piece.text = std::string(field.bytes);
        } else if (field.number == 2 && field.wire_type == kFixed32) {
          piece.score =
              std::bit_cast<float>(static_cast<uint32_t>(field.value));
        } else if (field.number == 3 && field.wire_type == kVarint) {
          if (field.value < SentencePieceProto::kNormal ||
              field.value > SentencePieceProto::kByte) {
            return absl::InvalidArgumentError(
                absl::StrCat(name, ".type: ", field.value, ", needs 1 to 6"));
          }
          piece.type = static_cast<int>(field.value);
        }
        return absl::OkStatus();
      }));
  if (piece.text.empty() || !IsWellFormedUtf8(piece.text)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ".piece: needs UTF-8 text"));
  }
  if (std::isnan(piece.score)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ".score: not a number"));
  }
  return absl::OkStatus();
}

absl::Status ParseTrainerSpec(absl::string_view bytes,
                              SentencePieceProto& model) {
  return ForEachField(bytes, "trainer_spec", [&](const Field& field) {
    if (field.wire_type != kVarint) return absl::OkStatus();
    const int value = static_cast<int>(field.value);
    if (field.number == 3) {
      if (value != SentencePieceProto::kUnigram &&
          value != SentencePieceProto::kBpe) {
        return absl::UnimplementedError(
            absl::StrCat("trainer_spec.model_type: ", value,
                         " is not supported, only 1 (unigram) and 2 (BPE)"));
      }
      model.model_type = value;
    }
    if (field.number == 24 && field.value != 0) {
      return absl::UnimplementedError(
          "trainer_spec.treat_whitespace_as_suffix: true");
    }
    if (field.number == 35) model.byte_fallback = field.value != 0;
    if (field.number == 40) model.unk_id = value;
    if (field.number == 41) model.bos_id = value;
    if (field.number == 42) model.eos_id = value;
    return absl::OkStatus();
  });
}

absl::Status ParseNormalizerSpec(absl::string_view bytes,
                                 SentencePieceProto& model) {
  return ForEachField(bytes, "normalizer_spec", [&](const Field& field) {
    if (field.number == 2 && field.wire_type == kBytes &&
        !field.bytes.empty()) {
      return absl::UnimplementedError(
          "normalizer_spec.precompiled_charsmap: only models with the "
          "normalization rule \"identity\" are supported");
    }
    if (field.wire_type != kVarint) return absl::OkStatus();
    if (field.number == 3) model.add_dummy_prefix = field.value != 0;
    if (field.number == 4) model.remove_extra_whitespaces = field.value != 0;
    if (field.number == 5 && field.value == 0) {
      return absl::UnimplementedError(
          "normalizer_spec.escape_whitespaces: false");
    }
    return absl::OkStatus();
  });
}

absl::Status CheckUnique(const SentencePieceProto& model) {
  absl::flat_hash_set<absl::string_view> texts;
  texts.reserve(model.pieces.size());
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    if (texts.insert(model.pieces[i].text).second) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "pieces[", i, "]: \"", model.pieces[i].text, "\" for the second time"));
  }
  return absl::OkStatus();
}

void PutVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) {
    out->push_back(static_cast<char>(value | 0x80));
  }
  out->push_back(static_cast<char>(value));
}

void PutInt(int number, int64_t value, std::string* out) {
  PutVarint(static_cast<uint64_t>(number) << 3 | kVarint, out);
  PutVarint(static_cast<uint64_t>(value), out);
}

void PutBytes(int number, absl::string_view bytes, std::string* out) {
  PutVarint(static_cast<uint64_t>(number) << 3 | kBytes, out);
  PutVarint(bytes.size(), out);
  out->append(bytes.data(), bytes.size());
}

void PutFloat(int number, float value, std::string* out) {
  PutVarint(static_cast<uint64_t>(number) << 3 | kFixed32, out);
  const auto bits = std::bit_cast<uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8) {
    out->push_back(static_cast<char>(bits >> shift));
  }
}

}  // namespace

absl::StatusOr<SentencePieceProto> ParseSentencePieceProto(
    absl::string_view bytes) {
  SentencePieceProto model;
  RETURN_IF_ERROR(ForEachField(bytes, "ModelProto", [&](const Field& field) {
    if (field.wire_type != kBytes) return absl::OkStatus();
    if (field.number == 1) {
      const std::string name =
          absl::StrCat("pieces[", model.pieces.size(), "]");
      return ParsePiece(field.bytes, name, model.pieces.emplace_back());
    }
    if (field.number == 2) return ParseTrainerSpec(field.bytes, model);
    if (field.number == 3) return ParseNormalizerSpec(field.bytes, model);
    return absl::OkStatus();
  }));
  if (model.pieces.empty()) {
    return absl::InvalidArgumentError("pieces: the vocabulary is empty");
  }
  RETURN_IF_ERROR(CheckUnique(model));
  return model;
}

std::string SerializeSentencePieceProto(const SentencePieceProto& model) {
  std::string out;
  std::string message;
  for (const SentencePieceProto::Piece& piece : model.pieces) {
    message.clear();
    PutBytes(1, piece.text, &message);
    PutFloat(2, piece.score, &message);
    PutInt(3, piece.type, &message);
    PutBytes(1, message, &out);
  }
  message.clear();
  PutInt(3, model.model_type, &message);
  PutInt(35, model.byte_fallback ? 1 : 0, &message);
  PutInt(40, model.unk_id, &message);
  PutInt(41, model.bos_id, &message);
  PutInt(42, model.eos_id, &message);
  PutBytes(2, message, &out);

  message.clear();
  PutBytes(1, "identity", &message);  // No charsmap follows.
  PutInt(3, model.add_dummy_prefix ? 1 : 0, &message);
  PutInt(4, model.remove_extra_whitespaces ? 1 : 0, &message);
  PutInt(5, 1, &message);
  PutBytes(3, message, &out);
  return out;
}

std::string NoDummyPrefixOverride() {
  std::string message;
  PutInt(3, 0, &message);
  std::string out;
  PutBytes(3, message, &out);
  return out;
}

}  // namespace anyprec
