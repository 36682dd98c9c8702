// What we say about a tokenizer.json, and the files beside it, that is
// malformed or beyond us.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/runtime/tokenizer/test_files.h"

namespace anyprec {
namespace {

using nlohmann::json;
using Code = absl::StatusCode;

class TokenizerJsonTest : public testing::Test {
 protected:
  TokenizerJsonTest()
      : folder_(MakeTestFolder("tokenizer_json")),
        file_(json::parse(ReadText(TestData("byte_fallback/tokenizer.json")))) {
  }

  absl::StatusOr<std::unique_ptr<Tokenizer>> Load() {
    WriteText(folder_ + "/tokenizer.json", file_.dump());
    return Tokenizer::Load(folder_);
  }

  // Loads with a change, which must fail and name the file and `field`.
  void ExpectError(Code code, const std::string& field,
                   const std::function<void(json&)>& change) {
    const json original = file_;
    change(file_);
    const absl::Status status = Load().status();
    file_ = original;
    EXPECT_EQ(status.code(), code) << field << ": " << status;
    EXPECT_TRUE(absl::StrContains(status.message(), field)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "tokenizer.json"))
        << status;
  }

  const std::string folder_;
  json file_;
};

TEST_F(TokenizerJsonTest, NamesTheFieldThatIsMalformed) {
  const auto expect = [&](const std::string& field,
                          const std::function<void(json&)>& change) {
    ExpectError(Code::kInvalidArgument, field, change);
  };
  expect("model is missing", [](json& f) { f.erase("model"); });
  expect("model.vocab", [](json& f) { f["model"].erase("vocab"); });
  expect("model.vocab", [](json& f) { f["model"]["vocab"] = {1, 2}; });
  expect("model.vocab.a", [](json& f) { f["model"]["vocab"]["a"] = "x"; });
  expect("model.vocab.a", [](json& f) { f["model"]["vocab"]["a"] = -1; });
  expect("model.vocab.a", [](json& f) { f["model"]["vocab"]["a"] = 1.5; });
  expect("model.vocab.a",
         [](json& f) { f["model"]["vocab"]["a"] = 2147483648; });
  expect("\"a\" has id 2147483647",
         [](json& f) { f["model"]["vocab"]["a"] = 2147483647; });
  expect("id 0 belongs to", [](json& f) { f["model"]["vocab"]["a"] = 0; });
  expect("model.merges", [](json& f) { f["model"].erase("merges"); });
  expect("model.merges[0]", [](json& f) { f["model"]["merges"][0] = "a"; });
  expect("model.merges[0]", [](json& f) { f["model"]["merges"][0] = {"a"}; });
  expect("merges[0]: \"QQ\"",
         [](json& f) { f["model"]["merges"][0] = "QQ a"; });
  expect("model.unk_token", [](json& f) { f["model"]["unk_token"] = "QQ"; });
  expect("model.fuse_unk", [](json& f) { f["model"]["fuse_unk"] = 1; });
  expect("added_tokens[1].id",
         [](json& f) { f["added_tokens"][1].erase("id"); });
  expect("id 0 belongs to", [](json& f) { f["added_tokens"][1]["id"] = 0; });
  expect("post_processor.single",
         [](json& f) { f["post_processor"]["single"].erase(1); });
  expect("post_processor.special_tokens.<s>", [](json& f) {
    f["post_processor"]["special_tokens"] = json::object();
  });
  expect("decoder is missing", [](json& f) { f.erase("decoder"); });
  expect("normalizer.normalizers[0].prepend",
         [](json& f) { f["normalizer"]["normalizers"][0].erase("prepend"); });
  expect("pre_tokenizer.pattern", [](json& f) {
    f["pre_tokenizer"] = {{"type", "Split"},
                          {"pattern", {{"Regex", "("}}},
                          {"behavior", "Isolated"}};
  });
}

TEST_F(TokenizerJsonTest, NamesTheFieldThatIsNotSupported) {
  const auto expect = [&](const std::string& field,
                          const std::function<void(json&)>& change) {
    ExpectError(Code::kUnimplemented, field, change);
  };
  expect("model.type: \"WordPiece\"",
         [](json& f) { f["model"]["type"] = "WordPiece"; });
  expect("model.dropout: 0.1", [](json& f) { f["model"]["dropout"] = 0.1; });
  expect("model.end_of_word_suffix",
         [](json& f) { f["model"]["end_of_word_suffix"] = "</w>"; });
  expect("model.surprise", [](json& f) { f["model"]["surprise"] = 1; });
  expect("surprise", [](json& f) { f["surprise"] = true; });
  expect("version", [](json& f) { f["version"] = "2.0"; });
  expect("normalizer.type: \"NFC\"", [](json& f) {
    f["normalizer"] = {{"type", "NFC"}};
  });
  expect("normalizer.normalizers[1].pattern.Regex", [](json& f) {
    f["normalizer"]["normalizers"][1]["pattern"] = {{"Regex", "x"}};
  });
  expect("pre_tokenizer.type: \"Whitespace\"", [](json& f) {
    f["pre_tokenizer"] = {{"type", "Whitespace"}};
  });
  expect("decoder: ByteLevel", [](json& f) {
    f["pre_tokenizer"] = {{"type", "ByteLevel"}};
  });
  expect("decoder.decoders[0].type: \"WordPiece\"",
         [](json& f) { f["decoder"]["decoders"][0]["type"] = "WordPiece"; });
  expect("decoder.decoders[3].start",
         [](json& f) { f["decoder"]["decoders"][3]["start"] = 2; });
  expect("post_processor.type: \"BertProcessing\"",
         [](json& f) { f["post_processor"]["type"] = "BertProcessing"; });
  expect("added_tokens[0].single_word",
         [](json& f) { f["added_tokens"][0]["single_word"] = true; });
}

TEST_F(TokenizerJsonTest, ConfigDecidesAboutBosOfLlamaTokenizers) {
  const auto first_id = [&](const json& config) {
    WriteText(folder_ + "/tokenizer_config.json", config.dump());
    const auto tokenizer = Load();
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return (*tokenizer)->Encode("the", {})->front();
  };
  const TokenId bos = 1;
  EXPECT_EQ(first_id({{"add_bos_token", false}}), bos);
  EXPECT_EQ(
      first_id({{"tokenizer_class", "LlamaTokenizer"}, {"bos_token", "<s>"}}),
      bos);
  EXPECT_NE(first_id({{"tokenizer_class", "LlamaTokenizer"},
                      {"bos_token", "<s>"},
                      {"add_bos_token", false}}),
            bos);
}

TEST_F(TokenizerJsonTest, CollectsAllTokensThatEndAnAnswer) {
  WriteText(folder_ + "/tokenizer_config.json",
            R"({"bos_token": {"content": "<s>"}, "eos_token": "<unk>"})");
  WriteText(folder_ + "/generation_config.json", R"({"eos_token_id": [5, 7]})");
  WriteText(folder_ + "/config.json", R"({"eos_token_id": 9})");
  const auto tokenizer = Load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  // "</s>", id 2, by its name.
  EXPECT_EQ((*tokenizer)->eos_ids(), (std::vector<TokenId>{0, 2, 5, 7, 9}));
  EXPECT_EQ((*tokenizer)->bos_id(), 1);
  EXPECT_EQ((*tokenizer)->special().primary_eos, 0);
  EXPECT_TRUE((*tokenizer)->IsEos(7));
  EXPECT_FALSE((*tokenizer)->IsEos(1));
}

TEST_F(TokenizerJsonTest, NamesTheConfigFileThatIsMalformed) {
  const auto expect = [&](const std::string& name, const std::string& text,
                          const std::string& field) {
    WriteText(absl::StrCat(folder_, "/", name), text);
    const absl::Status status = Load().status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), field)) << status;
    std::filesystem::remove(absl::StrCat(folder_, "/", name));
  };
  expect("tokenizer_config.json", "{", "tokenizer_config.json");
  expect("tokenizer_config.json", R"({"bos_token": 7})", "bos_token");
  expect("tokenizer_config.json", R"({"bos_token": "QQ"})",
         "bos_token: \"QQ\"");
  expect("tokenizer_config.json", R"({"add_bos_token": "yes"})",
         "add_bos_token");
  expect("tokenizer_config.json", R"({"added_tokens_decoder": {"x": {}}})",
         "added_tokens_decoder.x");
  expect("generation_config.json", R"({"eos_token_id": [-1]})",
         "eos_token_id: -1");
  expect("generation_config.json", R"({"eos_token_id": 99999})", "99999");
}

TEST_F(TokenizerJsonTest, ReplacesMalformedUtf8InTexts) {
  const auto tokenizer = Load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const EncodeOptions options{.add_special = false};
  const auto broken = (*tokenizer)->Encode("a\xFF\xE4\xBD b", options);
  const auto replaced =
      (*tokenizer)->Encode("a\xEF\xBF\xBD\xEF\xBF\xBD b", options);
  ASSERT_TRUE(broken.ok());
  EXPECT_EQ(*broken, *replaced);
}

TEST_F(TokenizerJsonTest, LiteralRangesKeepControlTokensOut) {
  const auto tokenizer = Load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto controls = [&](const std::string& text,
                            const std::vector<TextRange>& literal) {
    const auto ids = (*tokenizer)
                         ->Encode(text, {.add_special = false,
                                         .parse_special = true,
                                         .literal = literal});
    std::string names;
    for (const TokenId id : *ids) names += (*tokenizer)->ControlText(id);
    return names;
  };
  EXPECT_EQ(controls("<s> </s> <s>", {}), "<s></s><s>");
  EXPECT_EQ(controls("<s> </s> <s>", {{4, 8}}), "<s><s>");
  EXPECT_EQ(controls("<s> </s> <s>", {{6, 7}, {11, 12}}), "<s>");
  // Ranges stay where they are when bytes before them are replaced.
  EXPECT_EQ(controls("\xFF\xFF <s> </s>", {{3, 6}}), "</s>");
}

TEST(LoadTokenizerTest, SaysWhatAFolderLacks) {
  const auto tokenizer = Tokenizer::Load(MakeTestFolder("empty"));
  EXPECT_EQ(tokenizer.status().code(), Code::kNotFound);
  EXPECT_TRUE(absl::StrContains(tokenizer.status().message(), "merges.txt"));
  EXPECT_EQ(Tokenizer::Load("/no/such/folder").status().code(),
            Code::kNotFound);
}

}  // namespace
}  // namespace anyprec
