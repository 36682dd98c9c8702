#include "runtime/tokenizer/pre_tokenizer.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace anyprec {
namespace {

using Words = std::vector<std::string>;
using Split = PreTokenizer::Split;
using Metaspace = PreTokenizer::Metaspace;

Words Cut(PreTokenizer::Step step, const std::string& text,
          bool at_text_start = true) {
  std::vector<PreTokenizer::Step> steps;
  steps.push_back(std::move(step));
  const PreTokenizer pre_tokenizer(std::move(steps));
  Regex::Scratch scratch;
  Words words;
  const absl::Status status = pre_tokenizer.Run(
      text, at_text_start, scratch,
      [&](absl::string_view word) { words.emplace_back(word); });
  EXPECT_TRUE(status.ok()) << status;
  return words;
}

Words RunSplit(Split::Behavior behavior, bool invert = false) {
  return Cut(Split{*Regex::Literal("-"), behavior, invert}, "-a--b-");
}

TEST(PreTokenizerTest, SplitsAsHuggingFaceDocumentsItsBehaviors) {
  using B = Split::Behavior;
  EXPECT_EQ(RunSplit(B::kIsolated), (Words{"-", "a", "-", "-", "b", "-"}));
  EXPECT_EQ(RunSplit(B::kRemoved), (Words{"a", "b"}));
  EXPECT_EQ(RunSplit(B::kMergedWithPrevious), (Words{"-", "a-", "-", "b-"}));
  EXPECT_EQ(RunSplit(B::kMergedWithNext), (Words{"-a", "-", "-b", "-"}));
  EXPECT_EQ(RunSplit(B::kRemoved, /*invert=*/true),
            (Words{"-", "-", "-", "-"}));
}

TEST(PreTokenizerTest, Gpt2sPatternCutsWords) {
  const auto words = Cut(Split{*Regex::Compile(PreTokenizer::kGpt2Pattern)},
                         "it's  12 o'clock!\n\n  end ");
  EXPECT_EQ(words, (Words{"it", "'s", " ", " 12", " o", "'", "clock", "!",
                          "\n\n ", " end", " "}));
}

TEST(PreTokenizerTest, MetaspaceMarksSpacesAndTheFront) {
  using Prepend = Metaspace::Prepend;
  EXPECT_EQ(Cut(Metaspace{"_", Prepend::kAlways, true}, "a  b"),
            (Words{"_a", "_", "_b"}));
  EXPECT_EQ(Cut(Metaspace{"_", Prepend::kFirst, false}, "a b"),
            (Words{"_a_b"}));
  EXPECT_EQ(Cut(Metaspace{"_", Prepend::kFirst, false}, "a b", false),
            (Words{"a_b"}));
  EXPECT_EQ(Cut(Metaspace{"_", Prepend::kNever, true}, "a b"),
            (Words{"a", "_b"}));
  EXPECT_EQ(Cut(Metaspace{"_", Prepend::kAlways, true}, " a"), (Words{"_a"}));
}

TEST(PreTokenizerTest, AnEmptyMatchDoesNotStopTheSplit) {
  EXPECT_EQ(Cut(Split{*Regex::Compile("x*")}, "axxb\u00E9"),
            (Words{"a", "xx", "b\u00E9"}));
}

TEST(PreTokenizerTest, APatternThatBacktracksWithoutEndIsAnError) {
  std::vector<PreTokenizer::Step> steps;
  steps.push_back(Split{*Regex::Compile("(a+)+(a+)+(a+)+$")});
  const PreTokenizer pre_tokenizer(std::move(steps));
  Regex::Scratch scratch;
  const absl::Status status = pre_tokenizer.Run(
      std::string(200, 'a') + "b", true, scratch, [](absl::string_view) {});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

TEST(RegexTest, NamesThePlaceOfASyntaxError) {
  const auto regex = Regex::Compile("ab(c");
  EXPECT_EQ(regex.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(regex.status().message(), "byte 4"))
      << regex.status();
}

}  // namespace
}  // namespace anyprec
