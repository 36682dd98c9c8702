#include "tests/load/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"

namespace anyprec::load {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kAzureHead[] = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n";
constexpr char kShareGptHead[] =
    "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n";

std::string Message(const std::string& text, TraceFormat format) {
  return std::string(ParseTrace(text, format, "t").status().message());
}
std::string AzureMessage(const std::string& lines) {
  return Message(kAzureHead + lines, TraceFormat::kAzure);
}
std::string MooncakeMessage(const std::string& line) {
  return Message(line, TraceFormat::kMooncake);
}

TEST(TraceTest, AzureTimesBeginAtTheFirstRequest) {
  const auto trace =
      ParseTrace(absl::StrCat(kAzureHead,
                              "2023-11-16 23:59:59.7500000,374,44\r\n"
                              "2023-11-17 00:00:00.2500000,396,109\r\n"
                              "2023-11-17 00:00:00.2500000,1,1"),
                 TraceFormat::kAzure, "t");
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->size(), 3u);
  EXPECT_EQ((*trace)[0].at, absl::ZeroDuration());
  EXPECT_EQ((*trace)[1].at, absl::Milliseconds(500));
  EXPECT_EQ((*trace)[2].at, absl::Milliseconds(500));
  EXPECT_EQ((*trace)[1].prompt_tokens, 396);
  EXPECT_EQ((*trace)[1].output_tokens, 109);
}

TEST(TraceTest, AzureErrorsNameLineValueAndNeed) {
  EXPECT_THAT(Message("a,b\n", TraceFormat::kAzure),
              AllOf(HasSubstr("t:1:"), HasSubstr("\"a,b\""),
                    HasSubstr("TIMESTAMP,ContextTokens")));
  EXPECT_THAT(AzureMessage("16.11.2023,1,1\n"),
              AllOf(HasSubstr("t:2:"), HasSubstr("\"16.11.2023\"")));
  EXPECT_THAT(AzureMessage("2023-11-16 18:15:46.68,1\n"),
              AllOf(HasSubstr("t:2:"), HasSubstr("2 fields; must be 3")));
  EXPECT_THAT(
      AzureMessage("2023-11-16 18:15:46.68,1,x\n"),
      AllOf(HasSubstr("GeneratedTokens is \"x\""), HasSubstr("at least 1")));
  EXPECT_THAT(AzureMessage("2023-11-16 18:15:46.68,0,1\n"),
              HasSubstr("ContextTokens is \"0\""));
  EXPECT_THAT(AzureMessage("2023-11-16 18:15:46,1,1\r\n"
                           "2023-11-16 18:15:45,1,1\r\n"),
              AllOf(HasSubstr("t:3:"), HasSubstr("must not decrease")));
  EXPECT_THAT(AzureMessage("\r\n2023-11-16 18:15:45,1,1\r\n"),
              HasSubstr("t:2:"));
}

TEST(TraceTest, ATraceWithoutRequestsIsAnError) {
  EXPECT_THAT(AzureMessage(""), HasSubstr("t: no requests"));
  EXPECT_THAT(MooncakeMessage(""), HasSubstr("t: no requests"));
  EXPECT_THAT(Message(kShareGptHead, TraceFormat::kShareGpt),
              HasSubstr("t: no requests"));
}

TEST(TraceTest, MooncakeHasMillisecondsAndHashIds) {
  const auto trace = ParseTrace(
      R"({"timestamp": 1000, "input_length": 600, "output_length": 6, )"
      R"("hash_ids": [7, 9]})"
      "\n"
      R"({"timestamp": 1250, "input_length": 5, "output_length": 2})",
      TraceFormat::kMooncake, "t");
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->size(), 2u);
  EXPECT_EQ((*trace)[0].at, absl::ZeroDuration());
  EXPECT_THAT((*trace)[0].hash_ids, ElementsAre(7, 9));
  EXPECT_EQ((*trace)[1].at, absl::Milliseconds(250));
  EXPECT_EQ((*trace)[1].output_tokens, 2);
  EXPECT_TRUE((*trace)[1].hash_ids.empty());
}

TEST(TraceTest, MooncakeErrorsNameLineKeyAndValue) {
  EXPECT_THAT(MooncakeMessage("{"), HasSubstr("t:1"));
  EXPECT_THAT(MooncakeMessage("[1]"), HasSubstr("t:1"));
  EXPECT_THAT(MooncakeMessage(R"({"timestamp": 0, "input_length": 5})"),
              HasSubstr("t:1: \"output_length\" is missing"));
  EXPECT_THAT(
      MooncakeMessage(
          R"({"timestamp": 0, "input_length": 1.5, "output_length": 1})"),
      HasSubstr("input_length is 1.5; must be an integer"));
  EXPECT_THAT(
      MooncakeMessage(
          R"({"timestamp": -1, "input_length": 1, "output_length": 1})"),
      HasSubstr("timestamp is -1"));
  EXPECT_THAT(MooncakeMessage(R"({"timestamp": 18446744073709551615, )"
                              R"("input_length": 1, "output_length": 1})"),
              HasSubstr("timestamp is 18446744073709551615"));
  EXPECT_THAT(MooncakeMessage(R"({"timestamp": 0, "input_length": 512, )"
                              R"("output_length": 1, "hash_ids": [1, 2]})"),
              HasSubstr("512 prompt tokens have 1 blocks"));
  EXPECT_THAT(MooncakeMessage(R"({"timestamp": 0, "input_length": 1, )"
                              R"("output_length": 1, "hash_ids": ["a"]})"),
              HasSubstr("an element of hash_ids is \"a\""));
}

TEST(TraceTest, ShareGptHasLengthsOnly) {
  const auto trace =
      ParseTrace(absl::StrCat(kShareGptHead, "74,918,992,0.08\r\n2,3,5,1"),
                 TraceFormat::kShareGpt, "t");
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->size(), 2u);
  EXPECT_FALSE((*trace)[0].at.has_value());
  EXPECT_EQ((*trace)[0].prompt_tokens, 74);
  EXPECT_EQ((*trace)[0].output_tokens, 918);
}

TEST(TraceTest, ShareGptErrorsNameLineAndColumn) {
  EXPECT_THAT(Message("num_prefill_tokens,x\n1,1\n", TraceFormat::kShareGpt),
              AllOf(HasSubstr("t:1:"), HasSubstr("num_decode_tokens")));
  EXPECT_THAT(
      Message(absl::StrCat(kShareGptHead, "1,2\n"), TraceFormat::kShareGpt),
      AllOf(HasSubstr("t:2:"), HasSubstr("2 fields; must be 4")));
  EXPECT_THAT(Message(absl::StrCat(kShareGptHead, "1,2,3,4\n1,-2,3,4\n"),
                      TraceFormat::kShareGpt),
              AllOf(HasSubstr("t:3:"), HasSubstr("\"-2\"")));
}

TEST(TraceTest, TheFirstLineTellsTheFormat) {
  EXPECT_EQ(*GuessTraceFormat(kAzureHead, "t"), TraceFormat::kAzure);
  EXPECT_EQ(*GuessTraceFormat("{\"timestamp\": 0}", "t"),
            TraceFormat::kMooncake);
  EXPECT_EQ(*GuessTraceFormat(kShareGptHead, "t"), TraceFormat::kShareGpt);
  EXPECT_THAT(std::string(GuessTraceFormat("x\ny", "t").status().message()),
              HasSubstr("t:1: begins with \"x\""));
  EXPECT_FALSE(ParseTraceFormat("burst").ok());
  EXPECT_EQ(ReadTrace("/no/such/trace", "auto").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(TraceTest, PublishedTracesAreReadWhole) {
  const char* data = std::getenv("ANYPREC_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "ANYPREC_TEST_DATA is not set";
  const std::string folder = absl::StrCat(data, "/traces/");
  const auto azure =
      ReadTrace(folder + "AzureLLMInferenceTrace_conv.csv", "auto");
  ASSERT_TRUE(azure.ok()) << azure.status();
  EXPECT_EQ(azure->size(), 19366u);
  const auto mooncake =
      ReadTrace(folder + "mooncake_synthetic_trace.jsonl", "auto");
  ASSERT_TRUE(mooncake.ok()) << mooncake.status();
  EXPECT_EQ(mooncake->size(), 3993u);
  const auto sharegpt =
      ReadTrace(folder + "sharegpt_8k_lengths_llama2.csv", "auto");
  ASSERT_TRUE(sharegpt.ok()) << sharegpt.status();
  EXPECT_EQ(sharegpt->size(), 30731u);
}

}  // namespace
}  // namespace anyprec::load
