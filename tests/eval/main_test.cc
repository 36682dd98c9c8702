// anyprec-eval as a user calls it: exit codes and messages.

#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/runtime/format/test_files.h"

namespace anyprec {
namespace {

using ::testing::HasSubstr;

constexpr char kBinary[] = "tests/eval/anyprec-eval";
constexpr char kTinyLlama[] = "tests/testdata/tiny-llama";

class EvalTest : public testing::Test {
 protected:
  // Runs the binary and returns its exit code; output_ is what it printed.
  int Run(const std::string& flags) {
    const std::string log = folder_.File("log");
    const int status = std::system(
        absl::StrCat(kBinary, " ", flags, " > ", log, " 2>&1").c_str());
    output_ = ReadBytes(log);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  // `perplexity` of tiny-llama.
  int Score(const std::string& flags) {
    return Run(absl::StrCat("perplexity --model=", kTinyLlama, " ", flags));
  }

  const ScratchFolder folder_;
  std::string output_;
};

TEST_F(EvalTest, HelpIsNoFailure) {
  EXPECT_EQ(Run("--help"), 0);
  EXPECT_THAT(output_, HasSubstr("--documents"));
  EXPECT_EQ(Run("perplexity --help"), 0);
}

TEST_F(EvalTest, ExitsWith2ForWrongFlags) {
  EXPECT_EQ(Run(""), 2);
  EXPECT_EQ(Run("perplexity --model=m --text=t --bits=x"), 2);
  EXPECT_THAT(output_, HasSubstr("--bits is \"x\""));
  EXPECT_EQ(Run("perplexity --model=m --text=t --contxt=3"), 2);
  EXPECT_THAT(output_, HasSubstr("did you mean --context?"));
  EXPECT_EQ(Run("perplexity --model=m --text=t --compute=int4"), 2);
  EXPECT_EQ(Run("perplexity --model=m --text=t --documents=d"), 2);
  EXPECT_THAT(output_, HasSubstr("exclude each other"));
  EXPECT_EQ(Run("perplexity --model=m --text=t --context=1"), 2);
  EXPECT_THAT(output_, HasSubstr("--context is 1"));
}

TEST_F(EvalTest, RefusesAContextForDocuments) {
  EXPECT_EQ(Score("--documents=d.jsonl --context=128"), 2);
  EXPECT_THAT(output_, HasSubstr("--context is 128"));
}

TEST_F(EvalTest, NamesFileAndLineOfADocument) {
  const std::string path = folder_.Write(
      "d.jsonl", "{\"text\": \"Once upon a time\"}\n\n{\"text\": \"\"}\n");
  EXPECT_EQ(Score("--documents=" + path), 1);
  EXPECT_THAT(output_, HasSubstr(path + ":3: 1 tokens"));
  folder_.Write("d.jsonl", "{\"text\": \"Once\"}\n{\n");
  EXPECT_EQ(Score("--documents=" + path), 1);
  EXPECT_THAT(output_, HasSubstr(path + ":2"));
}

TEST_F(EvalTest, NamesATextThatIsTooShort) {
  const std::string path = folder_.Write("t.txt", "Once upon a time");
  EXPECT_EQ(Score("--text=" + path), 1);
  EXPECT_THAT(output_, HasSubstr(path + ": the text has "));
}

TEST_F(EvalTest, ScoresATextAndSaysWhereItCannotPrint) {
  const std::string flags = absl::StrCat(
      "--text=", kTinyLlama, "/heldout.txt --context=64 --windows=1");
  EXPECT_EQ(Score(flags), 0) << output_;
  EXPECT_THAT(output_, HasSubstr("over 63 tokens in 1 windows"));
  const int status = std::system(
      absl::StrCat(kBinary, " perplexity --model=", kTinyLlama, " ", flags,
                   " > /dev/full 2> ", folder_.File("errors"))
          .c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_THAT(ReadBytes(folder_.File("errors")),
              HasSubstr("cannot write to stdout"));
}

}  // namespace
}  // namespace anyprec
