#include "tests/load/request_class.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace anyprec::load {
namespace {

using ::testing::HasSubstr;

std::string Message(const std::string& members) {
  return std::string(
      ParseRequestClasses("{\"classes\": [{" + members + "}]}", "f")
          .status()
          .message());
}

TEST(RequestClassTest, AllMembersAreRead) {
  const auto classes = ParseRequestClasses(
      R"({"classes": [
        {"name": "chat", "share": 0.7, "min_bits": 3, "max_bits": 8,
         "ttft_ms": 500, "tpot_ms": 80.5, "deadline_ms": 30000, "priority": -2,
         "cancel_rate": 0.05, "cancel_after_ms": [10, 2000]},
        {"name": "fixed", "fixed_bits": 4}]})",
      "f");
  ASSERT_TRUE(classes.ok()) << classes.status();
  ASSERT_EQ(classes->size(), 2u);
  const RequestClass& chat = (*classes)[0];
  EXPECT_EQ(chat.name, "chat");
  EXPECT_EQ(chat.share, 0.7);
  EXPECT_EQ(chat.floor_bits(), 3);
  EXPECT_EQ(chat.max_bits, 8);
  EXPECT_EQ(chat.ttft_ms, 500);
  EXPECT_EQ(chat.tpot_ms, 80.5);
  EXPECT_EQ(chat.deadline_ms, 30000);
  EXPECT_EQ(chat.priority, -2);
  EXPECT_EQ(chat.cancel_rate, 0.05);
  EXPECT_EQ(chat.cancel_after_ms_low, 10);
  EXPECT_EQ(chat.cancel_after_ms_high, 2000);
  const RequestClass& fixed = (*classes)[1];
  EXPECT_EQ(fixed.floor_bits(), 4);
  EXPECT_FALSE(fixed.has_slo());
  EXPECT_EQ(fixed.share, 1);
}

TEST(RequestClassTest, ErrorsNameClassKeyValueAndNeed) {
  EXPECT_THAT(Message(R"("share": 1)"),
              HasSubstr("f: classes[0]: name is missing"));
  EXPECT_THAT(Message(R"("name": "a.b")"), HasSubstr("name is \"a.b\""));
  EXPECT_THAT(Message(R"("name": "a", "share": 0)"),
              HasSubstr("share is 0; must be in (0, "));
  EXPECT_THAT(Message(R"("name": "a", "min_bits": 4.5)"),
              HasSubstr("min_bits is 4.5; must be an integer"));
  EXPECT_THAT(Message(R"("name": "a", "min_bits": 17)"),
              HasSubstr("min_bits is 17; must be in [1, 16]"));
  EXPECT_THAT(Message(R"("name": "a", "ttft_ms": "fast")"),
              HasSubstr("ttft_ms is \"fast\""));
  EXPECT_THAT(Message(R"("name": "a", "cancel_rate": 1.1)"),
              HasSubstr("cancel_rate is 1.1; must be in [0, 1]"));
  EXPECT_THAT(Message(R"("name": "a", "cancel_after_ms": 5)"),
              HasSubstr("list of two numbers"));
  EXPECT_THAT(Message(R"("name": "a", "cancel_after_ms": [5, 1])"),
              HasSubstr("ascending"));
  EXPECT_THAT(Message(R"("name": "a", "tfft_ms": 5)"),
              HasSubstr("unknown key \"tfft_ms\""));
}

TEST(RequestClassTest, RangesAreThoseOfTheApi) {
  EXPECT_EQ(Message(R"("name": "a", "priority": 100)"), "");
  EXPECT_EQ(Message(R"("name": "a", "priority": -100)"), "");
  EXPECT_EQ(Message(R"("name": "a", "priority": 101)"),
            "f: classes[0]: priority is 101; must be in [-100, 100]");
  EXPECT_EQ(Message(R"("name": "a", "priority": -101)"),
            "f: classes[0]: priority is -101; must be in [-100, 100]");
  for (const std::string key : {"ttft_ms", "tpot_ms", "deadline_ms"}) {
    const std::string member = R"("name": "a", ")" + key + "\": ";
    EXPECT_EQ(Message(member + "86400000"), "");
    EXPECT_EQ(Message(member + "0.001"), "");
    EXPECT_EQ(
        Message(member + "86400001"),
        "f: classes[0]: " + key + " is 86400001; must be in [0.001, 8.64e+07]");
    EXPECT_EQ(
        Message(member + "0.0009"),
        "f: classes[0]: " + key + " is 0.0009; must be in [0.001, 8.64e+07]");
  }
  EXPECT_THAT(Message(R"("name": "a", "cancel_after_ms": [0, 86400001])"),
              HasSubstr("cancel_after_ms[1] is 86400001; must be in [0, "));
}

TEST(RequestClassTest, ContradictionsAreErrors) {
  EXPECT_THAT(Message(R"("name": "a", "fixed_bits": 4, "min_bits": 3)"),
              HasSubstr("excludes"));
  EXPECT_THAT(Message(R"("name": "a", "min_bits": 5, "max_bits": 4)"),
              HasSubstr("min_bits is 5"));
  const auto twice = ParseRequestClasses(
      R"({"classes": [{"name": "a"}, {"name": "a"}]})", "f");
  EXPECT_THAT(std::string(twice.status().message()), HasSubstr("unique"));
}

TEST(RequestClassTest, AFileNeedsAtLeastOneClass) {
  for (const char* json :
       {"", "[]", "{}", R"({"classes": []})", R"({"classes": [1]})",
        R"({"classes": [{"name": "a"}], "x": 1})"}) {
    EXPECT_FALSE(ParseRequestClasses(json, "f").ok()) << json;
  }
}

TEST(RequestClassTest, FixingThePrecisionKeepsFloorAndSlos) {
  RequestClass one;
  one.min_bits = 5;
  one.max_bits = 8;
  one.ttft_ms = 100;
  std::vector<RequestClass> classes = {one, RequestClass()};
  FixPrecision(4, classes);
  EXPECT_EQ(classes[0].fixed_bits, 4);
  EXPECT_EQ(classes[0].floor_bits(), 5);
  EXPECT_EQ(classes[0].ttft_ms, 100);
  EXPECT_EQ(classes[1].floor_bits(), 4);
}

TEST(RequestClassTest, ScalingMovesTheSlosAndNothingElse) {
  RequestClass one;
  one.ttft_ms = 100;
  one.deadline_ms = 5000;
  one.priority = 1;
  std::vector<RequestClass> classes = {one};
  ASSERT_TRUE(ScaleSlos(2.5, classes).ok());
  EXPECT_EQ(classes[0].ttft_ms, 250);
  EXPECT_EQ(classes[0].tpot_ms, std::nullopt);
  EXPECT_EQ(classes[0].deadline_ms, 12500);
  EXPECT_EQ(classes[0].priority, 1);
  EXPECT_EQ(classes[0].cancel_after_ms_high, one.cancel_after_ms_high);
}

TEST(RequestClassTest, ScalingKeepsToWhatTheApiTakes) {
  std::vector<RequestClass> classes(1);
  classes[0].deadline_ms = 60000;
  EXPECT_EQ(ScaleSlos(2000, classes).message(),
            "class all: deadline_ms is 60000, and 1.2e+08 when scaled by 2000; "
            "must be in [0.001, 8.64e+07]");
  classes[0].deadline_ms = 0.01;
  EXPECT_FALSE(ScaleSlos(0.01, classes).ok());
}

TEST(RequestClassTest, SampleFilesAreValid) {
  for (const char* name :
       {"chat_and_batch.json", "interactive.json", "cancel_storm.json"}) {
    const auto classes =
        ReadRequestClasses(std::string("tests/load/classes/") + name);
    EXPECT_TRUE(classes.ok()) << classes.status();
  }
}

}  // namespace
}  // namespace anyprec::load
