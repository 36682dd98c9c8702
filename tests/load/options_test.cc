#include "tests/load/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace anyprec::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Message(std::vector<std::string> arguments) {
  arguments.push_back("--target=h:1");
  return std::string(ParseLoadTestOptions(arguments).status().message());
}

TEST(OptionsTest, ListsAreRead) {
  const auto options = ParseLoadTestOptions(std::vector<std::string>{
      "--target=h:1", "--rates=0.5,1,1.5", "--base_rate=8",
      "--prompt_tokens=4-8", "--require=goodput>=0.9,lost==0",
      "--require=mean_bits>4"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(options->rate_factors, ElementsAre(0.5, 1, 1.5));
  EXPECT_EQ(options->prompt_range.high, 8);
  EXPECT_EQ(options->requirements.size(), 3u);
}

TEST(OptionsTest, OneOfTheModesIsNeeded) {
  EXPECT_THAT(Message({}), HasSubstr("--rate is missing"));
  EXPECT_THAT(Message({"--concurrency=2", "--find_rate=0.9"}),
              HasSubstr("exclude each other"));
  EXPECT_THAT(Message({"--concurrency=2", "--rate=1"}),
              HasSubstr("--rate and --ramp_to exclude"));
  EXPECT_THAT(Message({"--rates=1,2"}), HasSubstr("--base_rate"));
  EXPECT_THAT(Message({"--arrivals=trace"}), HasSubstr("--trace=FILE"));
  EXPECT_EQ(Message({"--arrivals=trace", "--trace=f"}), "");
  EXPECT_EQ(Message({"--concurrency=4"}), "");
}

TEST(OptionsTest, WrongValuesAreNamed) {
  EXPECT_THAT(Message({"--rate=0"}), HasSubstr("--rate is 0"));
  EXPECT_THAT(Message({"--rate=1", "--warm_up=-1"}),
              HasSubstr("--warm_up is -1"));
  EXPECT_THAT(Message({"--rate=1", "--slo_scale=0"}),
              HasSubstr("--slo_scale is 0"));
  EXPECT_THAT(Message({"--rate=1", "--fixed_bits=17"}),
              HasSubstr("--fixed_bits is 17"));
  EXPECT_THAT(Message({"--rate=1", "--arrivals=uniform"}),
              HasSubstr("constant, poisson"));
  EXPECT_THAT(Message({"--find_rate=0.9,1.1"}), HasSubstr("0.9,1.1"));
  EXPECT_THAT(Message({"--rate=1", "--require=goodput"}),
              HasSubstr("\"goodput\" is no requirement"));
  EXPECT_THAT(Message({"--rate=1", "file"}), HasSubstr("\"file\""));
  EXPECT_THAT(Message({"--rat=1"}), HasSubstr("did you mean --rate?"));
}

TEST(OptionsTest, ThePolicyIsTheSimulatedServers) {
  EXPECT_EQ(Message({"--rate=1", "--policy=fixed:3"}),
            "--policy is fixed:3; needs --simulate. A server has a --policy of "
            "its own");
  const auto simulated = ParseLoadTestOptions(
      std::vector<std::string>{"--simulate=t", "--rate=1", "--policy=fixed:3"});
  ASSERT_TRUE(simulated.ok()) << simulated.status();
  EXPECT_EQ(simulated->policy, "fixed:3");
  const auto unknown = ParseLoadTestOptions(
      std::vector<std::string>{"--simulate=t", "--rate=1", "--policy=best"});
  EXPECT_THAT(std::string(unknown.status().message()),
              HasSubstr("--policy is \"best\""));
}

TEST(OptionsTest, ComparingNeedsNoTarget) {
  EXPECT_TRUE(
      ParseLoadTestOptions(std::vector<std::string>{"--compare=a.json"}).ok());
  EXPECT_THAT(std::string(ParseLoadTestOptions({}).status().message()),
              HasSubstr("--target is missing"));
  EXPECT_TRUE(ParseLoadTestOptions(std::vector<std::string>{"--help"})->help);
}

}  // namespace
}  // namespace anyprec::load
