#include "tests/load/requirements.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/load/metrics.h"
#include "tests/load/record_helpers.h"

namespace anyprec::load {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<RequestClass> Classes() {
  RequestClass chat;
  chat.name = "chat";
  chat.ttft_ms = 100;
  return {chat};
}

nlohmann::json Metrics(const std::vector<RequestRecord>& records) {
  return MetricsToJson(
      Summarize(records, Classes(), {.warm_up = {}, .end = absl::Seconds(10)}),
      Classes());
}

std::vector<std::string> Failed(const std::string& list,
                                const nlohmann::json& metrics) {
  const auto requirements = ParseRequirements(list);
  EXPECT_TRUE(requirements.ok()) << requirements.status();
  const auto failed = FailedRequirements(*requirements, metrics);
  EXPECT_TRUE(failed.ok()) << failed.status();
  return failed.ok() ? *failed : std::vector<std::string>();
}

TEST(RequirementsTest, EveryComparisonIsRead) {
  const auto list = ParseRequirements("a<1,b<=2, c > 3 ,d>=4.5,e==-1e3");
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), 5u);
  const Comparison comparisons[] = {Comparison::kLess, Comparison::kAtMost,
                                    Comparison::kMore, Comparison::kAtLeast,
                                    Comparison::kEqual};
  for (size_t i = 0; i < list->size(); ++i) {
    EXPECT_EQ((*list)[i].comparison, comparisons[i]) << i;
  }
  EXPECT_EQ((*list)[2].metric, "c");
  EXPECT_EQ((*list)[3].bound, 4.5);
  EXPECT_EQ((*list)[4].bound, -1000);
}

TEST(RequirementsTest, WhatIsNoneIsNamed) {
  for (const char* text : {"", "goodput", "goodput>=", ">=1", "goodput=1",
                           "goodput>=x", "goodput>=nan", "a<1,,b<2", "a!=1"}) {
    EXPECT_FALSE(ParseRequirements(text).ok()) << text;
  }
  EXPECT_THAT(std::string(ParseRequirements("a<1,b~2").status().message()),
              HasSubstr("\"b~2\""));
}

TEST(RequirementsTest, BoundsAreInclusiveWhereTheySaySo) {
  const auto metrics = Metrics({Answered(1, {50}), Answered(2, {150})});
  EXPECT_THAT(Failed("goodput>=0.5,goodput<=0.5,goodput==0.5", metrics),
              IsEmpty());
  EXPECT_THAT(Failed("goodput>0.5,goodput<0.5,goodput>=0.95", metrics),
              ElementsAre(HasSubstr("goodput is 0.5"), HasSubstr("<0.5"),
                          HasSubstr("goodput>=0.95")));
}

TEST(RequirementsTest, NamesReachIntoGroupsAndClasses) {
  const auto metrics = Metrics({Answered(1, {50}), Answered(2, {150})});
  EXPECT_THAT(Failed("ttft_ms.p50==100,classes.chat.ttft_ms.max==150,"
                     "requests.ok==2,tokens_by_bits.4==2,mean_bits==4,"
                     "prompt_mean_bits==4",
                     metrics),
              IsEmpty());
}

TEST(RequirementsTest, WhatWasNotMeasuredIsNotKept) {
  EXPECT_THAT(
      Failed("tpot_ms.p99<1000,tpot_ms.count==0", Metrics({Answered(1, {50})})),
      ElementsAre(HasSubstr("tpot_ms.p99 was not measured")));
}

TEST(RequirementsTest, UnknownNamesAreNotFoundBeforeAnyRun) {
  const nlohmann::json empty = Metrics({});
  const auto check = [&empty](const char* list) {
    return CheckNames(*ParseRequirements(list), empty);
  };
  EXPECT_TRUE(check("goodput>=0.95,classes.chat.goodput>0,"
                    "refusals.latency_ms.p99<10,reasons<1")
                  .code() == absl::StatusCode::kNotFound);
  EXPECT_TRUE(check("goodput>=0.95,refusals.latency_ms.p99<10,lost==0,"
                    "tokens_below_floor==0,prompts_below_floor==0,"
                    "tokens_by_bits.8>0")
                  .ok());
  EXPECT_THAT(std::string(check("goodputt>1").message()),
              AllOf(HasSubstr("\"goodputt\""), HasSubstr("goodput")));
  EXPECT_THAT(std::string(check("ttft_ms>1").message()), HasSubstr("p99"));
  EXPECT_THAT(std::string(check("ttft_ms.p98>1").message()), HasSubstr("p99"));
  EXPECT_THAT(std::string(check("goodput.p99>1").message()),
              HasSubstr("goodput.p99"));
}

}  // namespace
}  // namespace anyprec::load
