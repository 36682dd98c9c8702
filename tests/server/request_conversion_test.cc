#include "server/request_conversion.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "server/status_conversion.h"
#include "tests/server/fake_tokenizer.h"

namespace anyprec {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

const absl::Time kNow = absl::FromUnixSeconds(1'000'000);

template <typename Message>
Message FromText(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message))
      << text;
  return message;
}

std::vector<std::string> ViolatedFields(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  const google::rpc::Status details = FromGrpcStatus(ToGrpcStatus(status));
  google::rpc::BadRequest bad_request;
  EXPECT_EQ(details.details_size(), 1);
  if (details.details_size() != 1 ||
      !details.details(0).UnpackTo(&bad_request)) {
    ADD_FAILURE() << "no BadRequest in " << status;
  }
  std::vector<std::string> fields;
  for (const auto& violation : bad_request.field_violations()) {
    fields.push_back(violation.field());
  }
  return fields;
}

absl::Status AdmitAll(const AdmissionQuery&, size_t) {
  return absl::OkStatus();
}

class RequestConversionTest : public ::testing::Test {
 protected:
  RequestConversionTest() {
    model_.tokenizer = &tokenizer_;
    model_.chat_template = ChatTemplate::Detect(
        "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + "
        "m['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% endif %}",
        "<s>", "<|im_end|>");
    model_.vocab_size = FakeTokenizer::kVocabSize;
    model_.seed_bits = 3;
    model_.max_bits = 8;
    model_.max_context_tokens = 100;
  }

  absl::StatusOr<GenerationPlan> Plan(
      const std::string& text,
      absl::Time rpc_deadline = absl::InfiniteFuture()) {
    return PlanGeneration(FromText<v1::GenerateRequest>(text), model_, kNow,
                          rpc_deadline, "", &AdmitAll);
  }

  std::vector<std::string> Violations(const std::string& text) {
    return ViolatedFields(Plan(text).status());
  }

  const FakeTokenizer tokenizer_;
  ServedModel model_;
};

TEST_F(RequestConversionTest, AbsentFieldsTakeTheDocumentedDefaults) {
  const auto plan = Plan("text: 'ab'");
  ASSERT_TRUE(plan.ok()) << plan.status();
  const Request& request = plan->request;
  EXPECT_THAT(request.prompt, ElementsAre(FakeTokenizer::kBos, 'a', 'b'));
  EXPECT_EQ(request.sampling.temperature, 1.0f);
  EXPECT_EQ(request.sampling.top_k, 0);
  EXPECT_EQ(request.sampling.top_p, 1.0f);
  EXPECT_EQ(request.sampling.seed, std::nullopt);
  EXPECT_EQ(request.stopping.max_tokens, 100 - 3);
  EXPECT_FALSE(request.stopping.max_tokens_given);
  EXPECT_EQ(request.precision.fixed_bits, std::nullopt);
  EXPECT_EQ(request.precision.min_bits, std::nullopt);
  EXPECT_EQ(request.deadline, absl::InfiniteFuture());
  EXPECT_EQ(request.top_logprobs, std::nullopt);
  EXPECT_FALSE(request.prompt_logprobs);
  EXPECT_FALSE(request.speculation.has_value());
  EXPECT_EQ(plan->n, 1);
  EXPECT_FALSE(plan->echo);
}

TEST_F(RequestConversionTest, TextsThatNoContextHoldsAreRefusedUnread) {
  const std::string text(32 * 100 + 1, 'a');
  EXPECT_THAT(Violations("text: '" + text + "'"), ElementsAre("text"));
  EXPECT_THAT(
      Violations("chat { messages { role: 'user' content: '" + text + "' } }"),
      ElementsAre("chat.messages"));
  const auto tokenize = ConvertTokenizeRequest(
      FromText<v1::TokenizeRequest>("text: '" + text + "'"), model_);
  EXPECT_THAT(ViolatedFields(tokenize.status()), ElementsAre("text"));
}

TEST_F(RequestConversionTest, EveryFieldArrives) {
  const auto plan = Plan(R"pb(
    token_ids { ids: [ 1, 2, 3 ] }
    sampling {
      temperature: 0
      top_k: 5
      top_p: 0.5
      min_p: 0.25
      repetition_penalty: 1.5
      presence_penalty: -1
      frequency_penalty: 2
      seed: 18446744073709551615
      n: 4
    }
    stopping {
      max_tokens: 7
      stop: [ 'x', 'yz' ]
      stop_token_ids: 9
      ignore_eos: true
    }
    precision {
      min_bits: 4
      max_bits: 6
      priority: -2
      slo { ttft_ms: 100 tpot_ms: 0.5 deadline_ms: 2000 }
    }
    logprobs: 0
    echo: true
    speculation { draft_tokens: 3 draft_bits: 5 })pb");
  ASSERT_TRUE(plan.ok()) << plan.status();
  const Request& request = plan->request;
  EXPECT_THAT(request.prompt, ElementsAre(1, 2, 3));
  EXPECT_EQ(request.sampling.temperature, 0.0f);
  EXPECT_EQ(request.sampling.top_k, 5);
  EXPECT_EQ(request.sampling.top_p, 0.5f);
  EXPECT_EQ(request.sampling.min_p, 0.25f);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(request.sampling.presence_penalty, -1.0f);
  EXPECT_EQ(request.sampling.frequency_penalty, 2.0f);
  EXPECT_EQ(request.sampling.seed, 18446744073709551615u);
  EXPECT_EQ(plan->n, 4);
  EXPECT_EQ(request.stopping.max_tokens, 7);
  EXPECT_TRUE(request.stopping.max_tokens_given);
  EXPECT_THAT(request.stopping.stop, ElementsAre("x", "yz"));
  EXPECT_THAT(request.stopping.stop_token_ids, ElementsAre(9));
  EXPECT_TRUE(request.stopping.ignore_eos);
  EXPECT_EQ(request.precision.min_bits, 4);
  EXPECT_EQ(request.precision.max_bits, 6);
  EXPECT_EQ(request.priority, -2);
  EXPECT_EQ(request.precision.slo.ttft, absl::Milliseconds(100));
  EXPECT_EQ(request.precision.slo.tpot, absl::Microseconds(500));
  EXPECT_EQ(request.deadline, kNow + absl::Seconds(2));
  EXPECT_EQ(request.top_logprobs, 0);
  EXPECT_TRUE(request.prompt_logprobs);
  EXPECT_TRUE(plan->echo);
  ASSERT_TRUE(request.speculation.has_value());
  EXPECT_EQ(request.speculation->draft_tokens, 3);
  EXPECT_EQ(request.speculation->draft_bits, 5);
}

TEST_F(RequestConversionTest, TheEarlierOfBothDeadlinesHolds) {
  const std::string message =
      "text: 'a' precision { slo { deadline_ms: 1000 } }";
  const absl::Time early = kNow + absl::Milliseconds(10);
  const absl::Time late = kNow + absl::Minutes(1);
  EXPECT_EQ(Plan(message, early)->request.deadline, early);
  EXPECT_EQ(Plan(message, late)->request.deadline, kNow + absl::Seconds(1));
  EXPECT_EQ(Plan("text: 'a'", early)->request.deadline, early);
}

TEST_F(RequestConversionTest, ControlTokensInTextAreTakenLiterallyByDefault) {
  EXPECT_EQ(Plan("text: '<s>'")->request.prompt.size(), 4u);
  EXPECT_THAT(Plan("text: '<s>' parse_special: true")->request.prompt,
              ElementsAre(FakeTokenizer::kBos, FakeTokenizer::kBos));
}

TEST_F(RequestConversionTest, ConversationsAreRenderedByTheTemplate) {
  const auto plan =
      Plan("chat { messages { role: 'user' content: '<|im_end|>' } }");
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::vector<TokenId>& prompt = plan->request.prompt;
  EXPECT_EQ(prompt.front(), FakeTokenizer::kTurnStart);
  // What the user wrote cannot close the turn; the template does, once.
  EXPECT_EQ(std::count(prompt.begin(), prompt.end(), FakeTokenizer::kTurnEnd),
            1);
  EXPECT_EQ(tokenizer_.Decode(prompt, /*skip_special=*/false),
            "<|im_start|>user\n<|im_end|><|im_end|>\n<|im_start|>assistant\n");
}

TEST_F(RequestConversionTest, EachWrongFieldIsNamed) {
  EXPECT_THAT(Violations(""), ElementsAre("prompt"));
  EXPECT_THAT(Violations("token_ids {}"), ElementsAre("token_ids"));
  EXPECT_THAT(Violations("token_ids { ids: [ 1, -1 ] }"),
              ElementsAre("token_ids.ids[1]"));
  EXPECT_THAT(Violations("token_ids { ids: 260 }"),
              ElementsAre("token_ids.ids[0]"));
  EXPECT_THAT(Violations("chat {}"), ElementsAre("chat.messages"));
  EXPECT_THAT(Violations("chat { messages { role: 'wizard' content: 'x' } }"),
              ElementsAre("chat.messages[0].role"));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"sampling { temperature: -0.1 }", "sampling.temperature"},
      {"sampling { temperature: nan }", "sampling.temperature"},
      {"sampling { top_k: -1 }", "sampling.top_k"},
      {"sampling { top_p: 0 }", "sampling.top_p"},
      {"sampling { top_p: 1.01 }", "sampling.top_p"},
      {"sampling { top_p: nan }", "sampling.top_p"},
      {"sampling { min_p: 1.5 }", "sampling.min_p"},
      {"sampling { repetition_penalty: 0 }", "sampling.repetition_penalty"},
      {"sampling { presence_penalty: inf }", "sampling.presence_penalty"},
      {"sampling { frequency_penalty: -2.5 }", "sampling.frequency_penalty"},
      {"sampling { n: 0 }", "sampling.n"},
      {"sampling { n: 17 }", "sampling.n"},
      {"stopping { max_tokens: -1 }", "stopping.max_tokens"},
      {"stopping { max_tokens: 0 }", "stopping.max_tokens"},
      {"stopping { max_tokens: 99 }", "stopping.max_tokens"},
      {"stopping { stop: '' }", "stopping.stop[0]"},
      {"stopping { stop_token_ids: 260 }", "stopping.stop_token_ids[0]"},
      {"precision { fixed_bits: 2 }", "precision.fixed_bits"},
      {"precision { fixed_bits: 9 }", "precision.fixed_bits"},
      {"precision { fixed_bits: 0 }", "precision.fixed_bits"},
      {"precision { fixed_bits: 4 max_bits: 5 }", "precision.fixed_bits"},
      {"precision { min_bits: 2 }", "precision.min_bits"},
      {"precision { max_bits: 9 }", "precision.max_bits"},
      {"precision { min_bits: 6 max_bits: 5 }", "precision.min_bits"},
      {"precision { slo { ttft_ms: 0 } }", "precision.slo.ttft_ms"},
      {"precision { slo { tpot_ms: -1 } }", "precision.slo.tpot_ms"},
      {"precision { slo { deadline_ms: nan } }", "precision.slo.deadline_ms"},
      {"speculation { draft_tokens: -1 }", "speculation.draft_tokens"},
      {"speculation { draft_tokens: 9 }", "speculation.draft_tokens"},
      {"precision { fixed_bits: 3 } speculation { draft_tokens: 1 }",
       "speculation.draft_tokens"},
      {"speculation { draft_bits: 2 }", "speculation.draft_bits"},
      {"speculation { draft_bits: 8 }", "speculation.draft_bits"},
      {"precision { max_bits: 5 } speculation { draft_bits: 5 }",
       "speculation.draft_bits"},
      {"logprobs: 21", "logprobs"},
      {"logprobs: -1", "logprobs"},
  };
  for (const auto& [fields, violated] : cases) {
    EXPECT_THAT(Violations("text: 'a' " + fields), ElementsAre(violated))
        << fields;
  }
}

TEST_F(RequestConversionTest, AllMistakesAreReportedAtOnce) {
  const absl::Status status =
      Plan("sampling { top_p: 2 } precision { fixed_bits: 12 }").status();
  EXPECT_THAT(
      ViolatedFields(status),
      UnorderedElementsAre("sampling.top_p", "precision.fixed_bits", "prompt"));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("precision.fixed_bits: is 12; must be in [3, 8]"));
}

TEST_F(RequestConversionTest, NoMoreSamplesThanTheEngineTakes) {
  EXPECT_TRUE(Plan("text: 'a' sampling { n: 16 }").ok());
  model_.max_requests = 6;
  EXPECT_TRUE(Plan("text: 'a' sampling { n: 6 }").ok());
  const absl::Status status = Plan("text: 'a' sampling { n: 7 }").status();
  EXPECT_THAT(ViolatedFields(status), ElementsAre("sampling.n"));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("is 7; must be in [1, 6]"));
}

TEST_F(RequestConversionTest, ManyMistakesFitIntoGrpcsTrailers) {
  std::string text = "text: 'a' stopping {";
  for (int i = 0; i < 64; ++i) text += " stop_token_ids: -1";
  const absl::Status status = Plan(text + "}").status();
  EXPECT_THAT(std::string(status.message()), HasSubstr(" more"));
  EXPECT_LT(ToGrpcStatus(status).error_details().size(), 4000u);
  // One of any length is quoted in part.
  const absl::Status role =
      Plan("chat { messages { role: '" + std::string(3000, '\x01') + "' } }")
          .status();
  EXPECT_THAT(ViolatedFields(role), ElementsAre("chat.messages[0].role"));
  EXPECT_LT(role.message().size(), 500u);
}

TEST_F(RequestConversionTest, AConversationHasNoMoreMessagesThanTokens) {
  std::string text = "chat {";
  for (int i = 0; i < 101; ++i) text += " messages {}";
  EXPECT_THAT(Violations(text + "}"), ElementsAre("chat.messages"));
}

TEST_F(RequestConversionTest, AUnaryAnswerMustFitIntoAMessage) {
  GenerationPlan plan;
  plan.n = 16;
  plan.request.stopping.max_tokens = 1300;
  EXPECT_TRUE(CheckUnarySize(plan, "generation.").ok());
  plan.request.top_logprobs = 20;
  EXPECT_THAT(ViolatedFields(CheckUnarySize(plan, "generation.")),
              ElementsAre("generation.stopping.max_tokens"));
}

TEST_F(RequestConversionTest, AdmissionIsAskedOnceAllButThePromptIsRight) {
  int asked = 0;
  const auto refuse = [&asked](const AdmissionQuery& query, size_t text_bytes) {
    ++asked;
    EXPECT_EQ(query.prompt_tokens, 0);
    EXPECT_EQ(query.min_tokens, 7);
    EXPECT_EQ(query.min_bits, 5);
    EXPECT_EQ(query.max_bits, 5);
    EXPECT_EQ(text_bytes, 3u);
    return absl::ResourceExhaustedError("full");
  };
  const auto plan = [&](const std::string& text) {
    return PlanGeneration(FromText<v1::GenerateRequest>(text), model_, kNow,
                          absl::InfiniteFuture(), "", refuse)
        .status();
  };
  EXPECT_TRUE(absl::IsInvalidArgument(plan("text: 'abc' sampling { n: 0 }")));
  EXPECT_EQ(asked, 0);
  EXPECT_TRUE(absl::IsResourceExhausted(
      plan("text: 'abc' stopping { max_tokens: 7 ignore_eos: true } "
           "precision { fixed_bits: 5 }")));
  EXPECT_EQ(asked, 1);
}

TEST_F(RequestConversionTest, FieldsOfANestedMessageCarryThePrefix) {
  const auto plan = PlanGeneration(
      FromText<v1::GenerateRequest>("sampling { n: -1 }"), model_, kNow,
      absl::InfiniteFuture(), "generation.", &AdmitAll);
  EXPECT_THAT(ViolatedFields(plan.status()),
              ElementsAre("generation.sampling.n", "generation.prompt"));
}

TEST_F(RequestConversionTest, PromptAndAnswerMustFitTheContext) {
  const std::string longest(99, 'a');  // With BOS, the whole context.
  const std::string prompt_alone =
      "' stopping { max_tokens: 0 } echo: true logprobs: 0";
  EXPECT_THAT(Violations("text: '" + longest + "'"), ElementsAre("text"));
  const auto plan = Plan("text: '" + longest + prompt_alone);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->request.stopping.max_tokens, 0);
  EXPECT_THAT(Violations("text: 'a" + longest + prompt_alone),
              ElementsAre("text"));
  EXPECT_TRUE(Plan("text: 'a' stopping { max_tokens: 98 }").ok());
}

TEST_F(RequestConversionTest, StopStringsAreBounded) {
  std::string many = "text: 'a' stopping {";
  for (int i = 0; i < 17; ++i) many += " stop: 'x'";
  EXPECT_THAT(Violations(many + "}"), ElementsAre("stopping.stop"));
  EXPECT_THAT(Violations("text: 'a' stopping { stop: '" +
                         std::string(1025, 'x') + "' }"),
              ElementsAre("stopping.stop[0]"));
}

TEST_F(RequestConversionTest, WithoutATokenizerOnlyTokenIdsAreTaken) {
  model_.tokenizer = nullptr;
  EXPECT_EQ(Plan("text: 'a'").status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(
      Plan("chat { messages { role: 'user' content: 'a' } }").status().code(),
      absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Plan("token_ids { ids: 1 }").ok());
  EXPECT_THAT(Violations("token_ids { ids: 1 } stopping { stop: 'x' }"),
              ElementsAre("stopping.stop"));
}

TEST_F(RequestConversionTest, ScoringRunsThePromptAtOneFixedPrecision) {
  const auto plan =
      PlanScore(FromText<v1::ScoreRequest>("text: 'abc' context_tokens: 2"),
                model_, kNow, absl::InfiniteFuture(), &AdmitAll);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->request.prompt.size(), 4u);
  EXPECT_EQ(plan->request.stopping.max_tokens, 0);
  EXPECT_TRUE(plan->request.prompt_logprobs);
  EXPECT_EQ(plan->request.precision.fixed_bits, 8);
  EXPECT_EQ(plan->context_tokens, 2);
}

TEST_F(RequestConversionTest, WrongScoreRequestsAreNamed) {
  const auto violations = [this](const std::string& text) {
    return ViolatedFields(PlanScore(FromText<v1::ScoreRequest>(text), model_,
                                    kNow, absl::InfiniteFuture(), &AdmitAll)
                              .status());
  };
  EXPECT_THAT(violations(""), ElementsAre("input"));
  EXPECT_THAT(violations("text: ''"), ElementsAre("text"));
  EXPECT_THAT(violations("token_ids { ids: 1 }"), ElementsAre("token_ids"));
  EXPECT_THAT(violations("text: 'ab' bits: 1"), ElementsAre("bits"));
  EXPECT_THAT(violations("text: 'ab' context_tokens: 0"),
              ElementsAre("context_tokens"));
  EXPECT_THAT(violations("text: 'ab' context_tokens: 3"),
              ElementsAre("context_tokens"));
  EXPECT_THAT(violations("text: 'ab' deadline_ms: 0"),
              ElementsAre("deadline_ms"));
}

TEST_F(RequestConversionTest, TokenizeAddsBosUnlessToldNotTo) {
  const auto ids = [this](const std::string& text) {
    return *ConvertTokenizeRequest(FromText<v1::TokenizeRequest>(text), model_);
  };
  EXPECT_THAT(ids("text: 'a'"), ElementsAre(FakeTokenizer::kBos, 'a'));
  EXPECT_THAT(ids("text: 'a' add_special: false"), ElementsAre('a'));
  EXPECT_THAT(
      ViolatedFields(
          ConvertTokenizeRequest(v1::TokenizeRequest(), model_).status()),
      ElementsAre("input"));
}

TEST_F(RequestConversionTest, DetokenizeLeavesControlTokensOutUnlessAsked) {
  const auto text = [this](const std::string& message) {
    return ConvertDetokenizeRequest(FromText<v1::DetokenizeRequest>(message),
                                    model_);
  };
  EXPECT_EQ(*text("ids: [ 256, 97, 98 ]"), "ab");
  EXPECT_EQ(*text("ids: [ 256, 97, 98 ] skip_special: false"), "<s>ab");
  EXPECT_THAT(ViolatedFields(text("ids: [ 97, 260 ]").status()),
              ElementsAre("ids[1]"));
}

}  // namespace
}  // namespace anyprec
