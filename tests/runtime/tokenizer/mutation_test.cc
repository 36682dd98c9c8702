// Damaged tokenizer files: each loads, or is refused with a message; none ends
// the process, and what loads encodes and decodes. Seeds are fixed.
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/tokenizer/sentencepiece_library.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/utf8.h"
#include "tests/runtime/tokenizer/gguf_writer.h"
#include "tests/runtime/tokenizer/test_files.h"

namespace anyprec {
namespace {

using nlohmann::json;

constexpr int kRounds = 200;  // about a second for each test

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  size_t Below(size_t bound) { return random_() % bound; }

  // Changes, inserts, repeats or removes a few bytes, or cuts the file off.
  std::string Bytes(std::string bytes) {
    for (size_t n = 1 + Below(4); n > 0 && !bytes.empty(); --n) {
      const size_t at = Below(bytes.size());
      const size_t length = 1 + Below(std::min<size_t>(bytes.size() - at, 16));
      switch (Below(5)) {
        case 0:
          bytes[at] = static_cast<char>(random_());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << Below(8)));
          break;
        case 2:
          bytes.erase(at, length);
          break;
        case 3:
          bytes.insert(at, bytes.substr(at, length));
          break;
        default:
          if (Below(8) == 0) bytes.resize(at);
      }
    }
    return bytes;
  }

  // Replaces or removes a value somewhere in a document.
  void Value(json& document) {
    json* value = &document;
    while (value->is_structured() && !value->empty() && Below(5) > 0) {
      auto child = value->begin();
      std::advance(child, static_cast<ptrdiff_t>(Below(value->size())));
      if (Below(24) == 0) {
        value->erase(child);
        return;
      }
      value = &*child;
    }
    if (value == &document) return;
    const json replacements[] = {
        nullptr,
        true,
        -1,
        2147483648u,
        1e300,
        "",
        " ",
        "\u2581 a",
        "(",
        "Sequence",
        "<s>",
        json::array(),
        {1, "a"},
        json::object(),
        0,
        "ByteLevel",
        "BPE",
        "Metaspace",
        {{"type", "Split"},
         {"pattern", {{"Regex", "(a*)*"}}},
         {"behavior", "Removed"},
         {"invert", true}},
    };
    *value = replacements[Below(std::size(replacements))];
  }

 private:
  std::mt19937 random_;
};

// Uses what loads; returns whether it did.
bool Exercise(const std::string& path) {
  const auto tokenizer = Tokenizer::Load(path);
  if (!tokenizer.ok()) {
    EXPECT_FALSE(tokenizer.status().message().empty());
    return false;
  }
  const std::string text =
      "<s>The  anyprec <|im_start|>tokenizers\n 123 \xE4\xBD\xA0\xFF</s> it's" +
      std::string(100, 'e');
  for (const bool parse_special : {true, false}) {
    const auto ids =
        (*tokenizer)->Encode(text, {.parse_special = parse_special});
    if (!ids.ok()) continue;
    const std::string decoded = (*tokenizer)->Decode(*ids, parse_special);
    EXPECT_TRUE(IsWellFormedUtf8(decoded));
  }
  return true;
}

// Damages one file `name` of a folder; some mutants must load, some not.
void ExpectSurvival(const std::string& original, const std::string& name,
                    uint32_t seed) {
  const std::string folder = MakeTestFolder("mutants");
  const std::string path = folder + "/" + name;
  Mutator mutator(seed);
  int loaded = 0;
  for (int round = 0; round < kRounds; ++round) {
    WriteText(path, mutator.Bytes(original));
    loaded += Exercise(folder) ? 1 : 0;
  }
  EXPECT_GT(loaded, 0);
  EXPECT_LT(loaded, kRounds);
}

TEST(MutationTest, BytesOfATokenizerJson) {
  ExpectSurvival(ReadText(TestData("llama3/tokenizer.json")), "tokenizer.json",
                 1);
}

TEST(MutationTest, ValuesOfATokenizerJson) {
  const std::string folder = MakeTestFolder("values");
  Mutator mutator(2);
  int loaded = 0;
  for (const char* name : {"byte_level", "byte_fallback", "metaspace"}) {
    const json original =
        json::parse(ReadText(TestData(std::string(name) + "/tokenizer.json")));
    for (int round = 0; round < kRounds; ++round) {
      json mutant = original;
      // Most of a file is its vocabulary; the rest is what has meanings.
      json rest = mutant;
      rest["model"].erase("vocab");
      rest["model"].erase("merges");
      const bool in_vocabulary = mutator.Below(4) == 0;
      if (in_vocabulary) {
        mutator.Value(mutant["model"]);
      } else {
        mutator.Value(rest);
        if (rest["model"].is_object()) {
          rest["model"]["vocab"] = mutant["model"]["vocab"];
          rest["model"]["merges"] = mutant["model"]["merges"];
        }
        mutant = rest;
      }
      WriteText(folder + "/tokenizer.json", mutant.dump());
      loaded += Exercise(folder) ? 1 : 0;
    }
  }
  EXPECT_GT(loaded, 0);
}

TEST(MutationTest, BytesOfATokenizerConfig) {
  const std::string folder = MakeTestFolder("config");
  std::filesystem::copy_file(TestData("byte_fallback/tokenizer.json"),
                             folder + "/tokenizer.json");
  const std::string original = R"({"bos_token": {"content": "<s>"},
    "eos_token": "</s>", "tokenizer_class": "LlamaTokenizer",
    "add_bos_token": true, "chat_template": [{"name": "default",
    "template": "[INST]"}], "added_tokens_decoder": {"1": {"content": "<s>",
    "special": true}}})";
  Mutator mutator(3);
  int loaded = 0;
  for (int round = 0; round < kRounds; ++round) {
    WriteText(folder + "/tokenizer_config.json", mutator.Bytes(original));
    loaded += Exercise(folder) ? 1 : 0;
  }
  EXPECT_GT(loaded, 0);
  EXPECT_LT(loaded, kRounds);
}

TEST(MutationTest, BytesOfASentencePieceModel) {
  if (!SentencePieceModel::IsAvailable()) {
    GTEST_SKIP() << "this build leaves libsentencepiece out";
  }
  ExpectSurvival(ReadText(TestData("sentencepiece/tokenizer.model")),
                 "tokenizer.model", 4);
}

TEST(MutationTest, BytesOfAGgufVocabulary) {
  GgufWriter gguf;
  gguf.SetString("tokenizer.ggml.model", "gpt2");
  gguf.SetString("tokenizer.ggml.pre", "llama-bpe");
  gguf.SetStrings("tokenizer.ggml.tokens",
                  {"<s>", "</s>", "t", "h", "e", "\u0120", "he", "the"});
  gguf.SetInts("tokenizer.ggml.token_type", {3, 3, 1, 1, 1, 1, 1, 1});
  gguf.SetStrings("tokenizer.ggml.merges", {"h e", "t he"});
  gguf.SetUint("tokenizer.ggml.bos_token_id", 0);
  gguf.SetUint("tokenizer.ggml.eos_token_id", 1);
  gguf.SetBool("tokenizer.ggml.add_bos_token", true);
  ExpectSurvival(gguf.Serialize(), "tokenizer.gguf", 5);
}

TEST(MutationTest, BytesOfGpt2Files) {
  const std::string folder = MakeTestFolder("gpt2_mutants");
  const std::string vocab =
      R"({"t": 0, "h": 1, "e": 2, "he": 3, "the": 4, "<|endoftext|>": 5})";
  const std::string merges = "#version: 0.2\nh e\nt he\n";
  Mutator mutator(6);
  int loaded = 0;
  for (int round = 0; round < kRounds; ++round) {
    const bool in_vocab = round % 2 == 0;
    WriteText(folder + "/vocab.json", in_vocab ? mutator.Bytes(vocab) : vocab);
    WriteText(folder + "/merges.txt",
              in_vocab ? merges : mutator.Bytes(merges));
    loaded += Exercise(folder) ? 1 : 0;
  }
  EXPECT_GT(loaded, 0);
  EXPECT_LT(loaded, kRounds);
}

TEST(MutationTest, DeepNestingIsRefused) {
  const std::string folder = MakeTestFolder("deep");
  WriteText(folder + "/tokenizer.json",
            "{\"a\":" + std::string(1'000'000, '['));
  EXPECT_EQ(Tokenizer::Load(folder).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace anyprec
