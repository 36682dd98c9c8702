#include "runtime/format/parent_model_writer.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/format/crc32c.h"
#include "runtime/format/parent_model_file.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

namespace fs = std::filesystem;

// Three layers, so that there is something to interrupt.
ModelConfig ThreeLayers() {
  ModelConfig config = TinyParentConfig();
  config.num_layers = 3;
  return config;
}

std::map<std::string, std::string> Contents(const std::string& folder) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) continue;
    contents[entry.path().filename()] = ReadBytes(entry.path());
  }
  return contents;
}

TEST(ParentModelWriterTest, AnInterruptedRunEndsInTheSameBytes) {
  const ScratchFolder folder;
  const ModelConfig config = ThreeLayers();
  ASSERT_TRUE(WriteTinyParent(folder.File("whole"), config).ok());
  const auto whole = Contents(folder.File("whole"));
  EXPECT_EQ(whole.size(), 2u);  // config.json and model.safetensors
  for (int commits = 0; commits <= 4; ++commits) {
    const std::string path = folder.File(absl::StrCat("cut", commits));
    ASSERT_TRUE(WriteTinyParent(path, config, commits).ok());
    EXPECT_FALSE(fs::exists(path));
    if (commits < 3) {  // twice
      ASSERT_TRUE(WriteTinyParent(path, config, /*commits=*/1).ok());
    }
    ASSERT_TRUE(WriteTinyParent(path, config).ok());
    EXPECT_EQ(Contents(path), whole) << commits;
    EXPECT_FALSE(fs::exists(path + ".partial"));
  }
}

TEST(ParentModelWriterTest, AShardedRunEndsInTheSameBytesToo) {
  const ScratchFolder folder;
  const ModelConfig config = ThreeLayers();
  constexpr int64_t kShardBytes = 10'000;
  ASSERT_TRUE(
      WriteTinyParent(folder.File("whole"), config, 100, "", kShardBytes).ok());
  ASSERT_TRUE(
      WriteTinyParent(folder.File("cut"), config, 2, "", kShardBytes).ok());
  ASSERT_TRUE(
      WriteTinyParent(folder.File("cut"), config, 100, "", kShardBytes).ok());
  EXPECT_EQ(Contents(folder.File("cut")), Contents(folder.File("whole")));
  EXPECT_GT(Contents(folder.File("cut")).size(), 3u);
  const auto file = ParentModelFile::Open(folder.File("cut"), {});
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->LoadLinear("model.layers.2.self_attn.k_proj").ok());
}

TEST(ParentModelWriterTest, ATornJournalLineCostsOneLayer) {
  const ScratchFolder folder;
  const ModelConfig config = ThreeLayers();
  ASSERT_TRUE(WriteTinyParent(folder.File("whole"), config).ok());
  ASSERT_TRUE(WriteTinyParent(folder.File("cut"), config, 2).ok());
  const std::string journal = ReadBytes(folder.File("cut.partial/journal"));
  folder.Write("cut.partial/journal", journal.substr(0, journal.size() - 10));
  {
    const auto writer = ParentModelWriter::Open(folder.File("cut"), config, {});
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_TRUE((*writer)->IsCommitted(0));
    EXPECT_EQ((*writer)->Note(0), "note 0\n%");
    EXPECT_FALSE((*writer)->IsCommitted(1));
  }
  ASSERT_TRUE(WriteTinyParent(folder.File("cut"), config).ok());
  EXPECT_EQ(Contents(folder.File("cut")), Contents(folder.File("whole")));
}

TEST(ParentModelWriterTest, OtherSettingsStartAfresh) {
  const ScratchFolder folder;
  ModelConfig config = ThreeLayers();
  const std::string path = folder.File("m");
  ASSERT_TRUE(WriteTinyParent(path, config, 2, "one", 10'000).ok());
  EXPECT_GT(Contents(path + ".partial").size(), 2u);
  {
    ParentModelWriter::Options options;
    options.fingerprint = "two";
    const auto writer = ParentModelWriter::Open(path, config, options);
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_FALSE((*writer)->IsCommitted(0));
    EXPECT_TRUE((*writer)->discarded_earlier_run());
  }
  // Nothing of the sharded run is left.
  EXPECT_EQ(Contents(path + ".partial").size(), 2u);
  config.quantization->sensitivity = "file";
  const auto writer = ParentModelWriter::Open(path, config, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_FALSE((*writer)->IsCommitted(0));
}

TEST(ParentModelWriterTest, ARunKilledWhileFinishingIsFinished) {
  const ScratchFolder folder;
  const ModelConfig config = ThreeLayers();
  ASSERT_TRUE(WriteTinyParent(folder.File("whole"), config).ok());
  // As if the tensors were renamed and the folder was not.
  ASSERT_TRUE(WriteTinyParent(folder.File("b"), config, 4).ok());
  fs::rename(folder.File("b.partial/model.safetensors.partial"),
             folder.File("b.partial/model.safetensors"));
  ASSERT_TRUE(WriteTinyParent(folder.File("b"), config).ok());
  EXPECT_EQ(Contents(folder.File("b")), Contents(folder.File("whole")));
}

TEST(ParentModelWriterTest, OneOutputHasOneWriter) {
  const ScratchFolder folder;
  const ModelConfig config = TinyParentConfig();
  const auto first = ParentModelWriter::Open(folder.File("m"), config, {});
  ASSERT_TRUE(first.ok()) << first.status();
  ExpectError(ParentModelWriter::Open(folder.File("m"), config, {}).status(),
              absl::StatusCode::kUnavailable, {folder.File("m")});
}

TEST(ParentModelWriterTest, AnOutputWithContentsIsLeftAlone) {
  const ScratchFolder folder;
  folder.Write("m/precious", "x");
  folder.Write("file", "");
  for (const char* name : {"m", "m/", "file"}) {
    ExpectError(
        ParentModelWriter::Open(folder.File(name), TinyParentConfig(), {})
            .status(),
        absl::StatusCode::kAlreadyExists, {folder.path()});
  }
  fs::create_directory(folder.File("empty"));
  EXPECT_TRUE(WriteTinyParent(folder.File("empty/"), TinyParentConfig()).ok());
}

TEST(ParentModelWriterTest, AFolderThatIsThereIsFilledAndNotReplaced) {
  const ScratchFolder folder;
  const ModelConfig config = ThreeLayers();
  ASSERT_TRUE(WriteTinyParent(folder.File("whole"), config).ok());
  // A link stands for a mount point, which a test cannot make: neither can be
  // renamed over.
  folder.Write("disk/lost+found/inode", "");
  fs::create_directory_symlink(folder.File("disk"), folder.File("out"));
  ASSERT_TRUE(WriteTinyParent(folder.File("out"), config, 2).ok());
  EXPECT_TRUE(fs::exists(folder.File("disk/.partial/journal")));
  ASSERT_TRUE(WriteTinyParent(folder.File("out"), config).ok());
  EXPECT_TRUE(fs::is_symlink(folder.File("out")));
  EXPECT_EQ(Contents(folder.File("disk")), Contents(folder.File("whole")));
  EXPECT_FALSE(fs::exists(folder.File("disk/.partial")));
}

TEST(ParentModelWriterTest, ALinkToNothingIsRefusedAtOnce) {
  const ScratchFolder folder;
  fs::create_directory_symlink(folder.File("none"), folder.File("out"));
  ExpectError(WriteTinyParent(folder.File("out"), TinyParentConfig()),
              absl::StatusCode::kAlreadyExists,
              {folder.File("out"), "link to nothing"});
}

TEST(ParentModelWriterTest, TheOldModelStaysUntilTheNewOneIsComplete) {
  const ScratchFolder folder;
  const ModelConfig config = ThreeLayers();
  const std::string path = folder.File("m");
  ASSERT_TRUE(WriteTinyParent(path, config, 100, "", 10'000).ok());
  folder.Write("m/NOTES.txt", "mine");
  folder.Write("m/model-old.safetensors", "mine");
  const auto old = Contents(path);
  ModelConfig other = config;
  other.quantization->sensitivity = "file";
  const auto overwrite = [&](int commits) {
    return WriteTinyParent(path, other, commits, "", 5'000'000'000, true);
  };
  ASSERT_TRUE(overwrite(2).ok());
  EXPECT_EQ(Contents(path), old);
  EXPECT_TRUE(ParentModelFile::Open(path, {}).ok());
  ASSERT_TRUE(overwrite(100).ok());
  ASSERT_TRUE(WriteTinyParent(folder.File("whole"), other).ok());
  auto expected = Contents(folder.File("whole"));
  expected["NOTES.txt"] = expected["model-old.safetensors"] = "mine";
  EXPECT_EQ(Contents(path), expected);
}

TEST(ParentModelWriterTest, ARunKilledWhileMovingIsFinished) {
  const ScratchFolder folder;
  const ModelConfig config = ThreeLayers();
  ASSERT_TRUE(WriteTinyParent(folder.File("whole"), config).ok());
  const auto whole = Contents(folder.File("whole"));
  fs::create_directory(folder.File("m"));
  ASSERT_TRUE(WriteTinyParent(folder.File("m"), config, 4).ok());
  // As if the tensors were moved and config.json was not.
  fs::remove(folder.File("m/.partial/model.safetensors.partial"));
  folder.Write("m/.partial/config.json", whole.at("config.json"));
  folder.Write("m/model.safetensors", whole.at("model.safetensors"));
  const std::string moving = "moving";
  const uint32_t crc = Crc32c(std::as_bytes(std::span(moving)));
  folder.Write("m/.partial/journal",
               absl::StrCat(ReadBytes(folder.File("m/.partial/journal")),
                            absl::Hex(crc, absl::kZeroPad8), " moving\n"));
  EXPECT_FALSE(ParentModelFile::Open(folder.File("m"), {}).ok());
  ASSERT_TRUE(WriteTinyParent(folder.File("m"), config, /*commits=*/1).ok());
  EXPECT_EQ(Contents(folder.File("m")), whole);
  EXPECT_FALSE(fs::exists(folder.File("m/.partial")));
}

TEST(ParentModelWriterTest, ARenameThatFailsLosesNothing) {
  const ScratchFolder folder;
  const ModelConfig config = ThreeLayers();
  ASSERT_TRUE(WriteTinyParent(folder.File("m"), config, 4).ok());
  {
    const auto writer = ParentModelWriter::Open(folder.File("m"), config, {});
    ASSERT_TRUE(writer.ok()) << writer.status();
    folder.Write("m/late", "");
    ExpectError((*writer)->Finish(), absl::StatusCode::kFailedPrecondition,
                {"rename", folder.File("m.partial")});
  }
  fs::remove_all(folder.File("m"));
  const auto writer = ParentModelWriter::Open(folder.File("m"), config, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (int layer = 0; layer <= config.num_layers; ++layer) {
    EXPECT_TRUE((*writer)->IsCommitted(layer)) << layer;
  }
  EXPECT_TRUE((*writer)->Finish().ok());
  EXPECT_TRUE(ParentModelFile::Open(folder.File("m"), {}).ok());
  EXPECT_FALSE(fs::exists(folder.File("m/journal")));
}

TEST(ParentModelWriterTest, WorkOutlivesOtherSettingsButNotTheRun) {
  const ScratchFolder folder;
  const ModelConfig config = TinyParentConfig();
  const std::string path = folder.File("m");
  ASSERT_TRUE(WriteTinyParent(path, config, 1, "one").ok());
  folder.Write("m.partial/scratch/measured", "x");
  ASSERT_TRUE(WriteTinyParent(path, config, 1, "two").ok());
  EXPECT_EQ(ReadBytes(folder.File("m.partial/scratch/measured")), "x");
  ASSERT_TRUE(WriteTinyParent(path, config, 100, "two").ok());
  EXPECT_FALSE(fs::exists(path + "/scratch"));
}

TEST(ParentModelWriterTest, IncompleteLayersAreNotCommitted) {
  const ScratchFolder folder;
  const ModelConfig config = TinyParentConfig();
  const auto writer = ParentModelWriter::Open(folder.File("m"), config, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  const std::vector<float> norm(31, 1.0f);
  ASSERT_TRUE((*writer)
                  ->WriteDense("model.layers.0.input_layernorm.weight", norm)
                  .ok());
  ExpectError((*writer)->CommitLayer(0, ""),
              absl::StatusCode::kFailedPrecondition,
              {"\"model.layers.0.input_layernorm.weight\" was not written"});
  ExpectError((*writer)->Finish(), absl::StatusCode::kFailedPrecondition,
              {"layer 0 of 1 was not committed"});
}

TEST(ParentModelWriterTest, ValuesThatDoNotFitAreRefused) {
  const ScratchFolder folder;
  const ModelConfig config = TinyParentConfig();
  const auto writer = ParentModelWriter::Open(folder.File("m"), config, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  const std::vector<float> large = {1.0f, 1e6f};
  ExpectError((*writer)->WriteDense("model.embed_tokens.weight", large),
              absl::StatusCode::kDataLoss,
              {"model.embed_tokens.weight\" as fp16: element 1 is infinite"});
  ExpectError((*writer)->WriteLinear("model.layers.0.mlp.up_proj", {}),
              absl::StatusCode::kInvalidArgument,
              {"\"model.layers.0.mlp.up_proj\" has 0 planes", "3 of [32, 32]"});
}

// A layer as up_proj of TinyBcqParentConfig(), all zero.
struct ZeroLayer {
  const std::vector<uint32_t> words = std::vector<uint32_t>(96);
  const std::vector<const uint32_t*> planes =
      std::vector<const uint32_t*>(3, words.data());
  std::vector<Float16> alpha = std::vector<Float16>(96 * 3);
  const std::vector<Float16> beta = std::vector<Float16>(96);

  std::vector<GroupScales> Scales(int group_size) const {
    const std::span<const Float16> all = alpha;
    return {{2, group_size, all.first(96 * 2), beta},
            {3, group_size, all, beta}};
  }
  absl::Status Write(const std::vector<Codebook>& codebooks,
                     const std::vector<GroupScales>& scales) const {
    const ScratchFolder folder;
    const auto writer =
        ParentModelWriter::Open(folder.File("m"), TinyBcqParentConfig(), {});
    EXPECT_TRUE(writer.ok()) << writer.status();
    return (*writer)->WriteLinear("model.layers.0.mlp.up_proj",
                                  {{planes, 96, 32}, codebooks, scales});
  }
};

TEST(ParentModelWriterTest, ScalesThatDoNotFitAreRefused) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  ZeroLayer layer;
  EXPECT_TRUE(layer.Write({}, layer.Scales(64)).ok());
  ExpectError(layer.Write({{2, layer.alpha}, {3, layer.alpha}}, {}), kInvalid,
              {"up_proj\" has 3 planes of [96, 32], 2 codebooks and 0 sets",
               "needed are 3 of [96, 32], 0 and 2"});
  ExpectError(layer.Write({}, layer.Scales(32)), kInvalid,
              {"up_proj\" has values for 2 bits and groups of 32, needed are 2 "
               "and 64"});
  std::vector<GroupScales> scales = layer.Scales(64);
  scales[1].alpha = scales[0].alpha;
  ExpectError(
      layer.Write({}, scales), kInvalid,
      {"up_proj.alpha3\" has 192 values, needed are 288 for [96, 1, 3]"});
  layer.alpha[4].bits = layer.alpha[5].bits = 0x7bff;
  ExpectError(layer.Write({}, layer.Scales(64)), absl::StatusCode::kDataLoss,
              {"up_proj.alpha2\": row 2, group 0 adds up to 131008"});
  layer.alpha[5].bits = 0x7c00;
  ExpectError(layer.Write({}, layer.Scales(64)), absl::StatusCode::kDataLoss,
              {"up_proj.alpha2\": element 5 is infinite"});
}

TEST(ParentModelWriterTest, ShapesThatPlanesCannotHoldAreRefused) {
  const ScratchFolder folder;
  ModelConfig config = TinyParentConfig();
  config.intermediate_size = 44;
  ExpectError(ParentModelWriter::Open(folder.File("m"), config, {}).status(),
              absl::StatusCode::kInvalidArgument,
              {"intermediate_size is 44", "multiple of 32"});
  config = TinyParentConfig();
  config.quantization->seed_bits = 5;
  ExpectError(ParentModelWriter::Open(folder.File("m"), config, {}).status(),
              absl::StatusCode::kInvalidArgument, {"seed_bits is 5", "2 .. 3"});
  EXPECT_FALSE(fs::exists(folder.File("m.partial")));
}

TEST(ParentModelWriterTest, TheOriginalConfigurationKeepsItsOtherFields) {
  const ScratchFolder folder;
  const ModelConfig config = TinyParentConfig();
  ParentModelWriter::Options options;
  options.original_config_json =
      R"({"model_type":"llama","use_cache":true,"hidden_size":99})";
  {
    const auto writer =
        ParentModelWriter::Open(folder.File("m"), config, options);
    ASSERT_TRUE(writer.ok()) << writer.status();
  }
  options.original_config_json = "{";
  ExpectError(
      ParentModelWriter::Open(folder.File("m"), config, options).status(),
      absl::StatusCode::kInvalidArgument, {"config.json", "JSON"});
}

TEST(ParentModelWriterTest, TokenizersAreKeptInBothForms) {
  const ScratchFolder folder;
  folder.Write("hf/config.json", R"({"model_type":"llama","vocab_size":3,
      "hidden_size":2,"intermediate_size":4,"num_hidden_layers":1,
      "num_attention_heads":1})");
  folder.Write("hf/model.safetensors", Safetensors("{}", ""));
  folder.Write("hf/tokenizer.json", "{\"any\": \"thing\"}");
  folder.Write("hf/pytorch_model.bin", "not this one");
  const ModelConfig config = TinyParentConfig();
  const auto writer = ParentModelWriter::Open(folder.File("m"), config, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  const auto hf = Checkpoint::Open(folder.File("hf"));
  ASSERT_TRUE(hf.ok()) << hf.status();
  ASSERT_TRUE((*writer)->CopyTokenizer(**hf).ok());
  EXPECT_EQ(ReadBytes(folder.File("m.partial/tokenizer.json")),
            "{\"any\": \"thing\"}");
  EXPECT_FALSE(fs::exists(folder.File("m.partial/pytorch_model.bin")));
  const auto gguf = Checkpoint::Open(TestData("llama.gguf"));
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  ASSERT_TRUE((*writer)->CopyTokenizer(**gguf).ok());
  const auto kept = GgufFile::Open(folder.File("m.partial/tokenizer.gguf"));
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ((*kept)->GetStringArray("tokenizer.ggml.tokens")->size(), 16u);
}

}  // namespace
}  // namespace anyprec
