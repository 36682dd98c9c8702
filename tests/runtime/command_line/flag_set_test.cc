#include "runtime/command_line/flag_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace anyprec {
namespace {

using ::testing::HasSubstr;

TEST(FlagSetTest, ListsTakeEachOccurrence) {
  std::vector<std::string> stop;
  FlagSet flags;
  flags.Add("stop", &stop, "Where to stop.");
  const std::vector<std::string> arguments = {"--stop=a", "text", "--stop",
                                              "b",        "--",   "--stop=c"};
  const auto positional = flags.Parse(arguments);
  ASSERT_TRUE(positional.ok()) << positional.status();
  EXPECT_THAT(stop, ::testing::ElementsAre("a", "b"));
  EXPECT_THAT(*positional, ::testing::ElementsAre("text", "--stop=c"));
}

TEST(FlagSetTest, AbsentOptionalsStayAbsent) {
  std::optional<int> bits;
  std::optional<double> ttft_ms;
  bool json = true;
  FlagSet flags;
  flags.Add("bits", &bits, "");
  flags.Add("ttft_ms", &ttft_ms, "");
  flags.Add("json", &json, "");
  const std::vector<std::string> arguments = {"--bits=0", "--nojson"};
  ASSERT_TRUE(flags.Parse(arguments).ok());
  EXPECT_EQ(bits, 0);
  EXPECT_EQ(ttft_ms, std::nullopt);
  EXPECT_FALSE(json);
}

TEST(FlagSetTest, HelpShowsChoicesAndDefaults) {
  std::string device = "auto";
  int port = 7;
  FlagSet flags;
  flags.Add("device", &device, "", {"auto", "cpu"});
  flags.Add("port", &port, "");
  EXPECT_THAT(flags.Help(), HasSubstr("--device=auto|cpu  (default: auto)"));
  EXPECT_THAT(flags.Help(), HasSubstr("--port  (default: 7)"));
}

}  // namespace
}  // namespace anyprec
