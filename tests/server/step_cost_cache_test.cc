#include "server/step_cost_cache.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "kernels/reference/reference_backend.h"

namespace anyprec {
namespace {

StepCostModel SomeCosts() {
  StepCostModel costs;
  costs.Measure({Phase::kDecode, 8, 1}, absl::Milliseconds(5));
  costs.Measure({Phase::kPrefill, 8, 128}, absl::Milliseconds(70));
  return costs;
}

std::string Folder(const std::string& name) {
  return ::testing::TempDir() + "/" + name;
}

TEST(StepCostCacheTest, ReadsWhatItWrote) {
  const StepCostCache cache(Folder("made/for/it"), "a model on a machine");
  EXPECT_TRUE(absl::IsNotFound(cache.Read().status()));
  ASSERT_TRUE(cache.Write(SomeCosts(), 1000).ok());
  const auto costs = cache.Read();
  ASSERT_TRUE(costs.ok()) << costs.status();
  EXPECT_EQ(costs->Predict({Phase::kDecode, 8, 1}), absl::Milliseconds(5));
  ASSERT_TRUE(cache.Write(SomeCosts(), 1000).ok()) << "it is there already";
}

TEST(StepCostCacheTest, AKeyIsOfASweepToo) {
  const auto backend = CreateReferenceBackend();
  const auto model =
      LlamaModel::LoadCheckpoint("tests/testdata/tiny-llama", {}, *backend);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto key = [&](const EngineOptions& options) {
    return StepCostKey("tiny", **model, "reference", options);
  };
  EXPECT_EQ(key({}), key({}));
  EXPECT_NE(key({}), key({.max_sequences = 1}));
  EXPECT_NE(key({}), key({.prefill_chunk_tokens = 16}));
  EXPECT_NE(key({}), key({.warm_up = absl::Seconds(1)}));
}

TEST(StepCostCacheTest, KeepsOneFileForEachKey) {
  const StepCostCache two(Folder("keys"), "2 threads");
  const StepCostCache four(Folder("keys"), "4 threads");
  ASSERT_TRUE(two.Write(SomeCosts(), 1000).ok());
  EXPECT_TRUE(absl::IsNotFound(four.Read().status()));
}

TEST(StepCostCacheTest, ReadsNothingOfAnotherKey) {
  const StepCostCache two(Folder("mixed"), "2 threads");
  const StepCostCache four(Folder("mixed"), "4 threads");
  ASSERT_TRUE(two.Write(SomeCosts(), 1000).ok());
  std::filesystem::rename(two.path(), four.path());
  const absl::Status status = four.Read().status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "needed is \"4 threads\""))
      << status;
}

TEST(StepCostCacheTest, SaysWhatIsWrongWithAFile) {
  const StepCostCache cache(Folder("damaged"), "key");
  ASSERT_TRUE(cache.Write(SomeCosts(), 1000).ok());
  std::ofstream(cache.path()) << "{\"name\": 3}";
  const absl::Status status = cache.Read().status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_TRUE(absl::StrContains(status.message(), cache.path())) << status;
}

TEST(StepCostCacheTest, KeepsNothingThatItCouldNotRead) {
  const StepCostCache cache(Folder("half"), "key");
  StepCostModel costs;
  costs.Measure({Phase::kDecode, 8, 1}, absl::Milliseconds(5));
  const absl::Status status = cache.Write(costs, 1000);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "prefill")) << status;
  EXPECT_TRUE(absl::IsNotFound(cache.Read().status()));
}

TEST(StepCostCacheTest, SaysWhereItCannotWrite) {
  const StepCostCache cache("/dev/null/folder", "key");
  const absl::Status status = cache.Write(SomeCosts(), 1000);
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "/dev/null/folder"))
      << status;
}

}  // namespace
}  // namespace anyprec
