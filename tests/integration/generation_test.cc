// The server binary serving tiny-llama over gRPC: what clients rely on.

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "reflection.grpc.pb.h"
#include "server/status_conversion.h"
#include "tests/integration/test_server.h"

namespace anyprec {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr char kPrompt[] = "Once upon a time";

nlohmann::json Golden() {
  std::ifstream file(std::string(kTinyLlama) + "/golden.json");
  return nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
}

// One server for all tests: what one request does must not show in another.
class GenerationTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = new TestServer(QuantizedTinyLlama());
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  static v1::InferenceService::Stub& stub() { return server_->stub(); }

  static TestServer* server_;
};

TestServer* GenerationTest::server_ = nullptr;

TEST_F(GenerationTest, TextStreamsInPiecesThatFormTheAnswer) {
  const Answer answer = Generate(stub(), GreedyRequest(kPrompt, 24));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_GT(answer.text.size(), 24u);
  EXPECT_EQ(answer.bits.size(), 24u);
  EXPECT_EQ(answer.finish.reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(answer.finish.usage().completion_tokens(), 24);
  EXPECT_EQ(answer.finish.usage().prompt_tokens(),
            answer.prompt.prompt_tokens());
  EXPECT_GT(answer.finish.timings().ttft_ms(), 0);
  EXPECT_GT(answer.finish.timings().tpot_ms(), 0);
  EXPECT_TRUE(answer.pieces.front().has_prompt());
  EXPECT_TRUE(answer.pieces.back().has_finish());
}

TEST_F(GenerationTest, EightBitsContinueAsTheUnquantizedModelDoes) {
  const nlohmann::json golden = Golden()["cases"][0];
  v1::GenerateRequest request =
      GreedyRequest(golden["prompt"].get<std::string>(), 8);
  request.mutable_precision()->set_fixed_bits(8);
  const Answer answer = Generate(stub(), request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  std::vector<int> ids;
  for (const v1::GenerateResponse& piece : answer.pieces) {
    for (const v1::Token& token : piece.tokens()) ids.push_back(token.id());
  }
  std::vector<int> expected = golden["greedy_ids"].get<std::vector<int>>();
  expected.resize(8);
  EXPECT_THAT(ids, ElementsAreArray(expected));
}

TEST_F(GenerationTest, UnaryAndStreamGiveTheSameAnswer) {
  v1::GenerateUnaryRequest request;
  *request.mutable_generation() = GreedyRequest(kPrompt, 24);
  request.mutable_generation()->mutable_precision()->set_fixed_bits(5);
  grpc::ClientContext context;
  v1::GenerateUnaryResponse response;
  const grpc::Status status =
      stub().GenerateUnary(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.samples_size(), 1);
  EXPECT_EQ(response.samples(0).text(),
            Generate(stub(), request.generation()).text);
  EXPECT_EQ(response.samples(0).finish().usage().completion_tokens(), 24);
}

TEST_F(GenerationTest, AFixedPrecisionIsKeptForEveryToken) {
  for (int bits = 3; bits <= 8; ++bits) {
    v1::GenerateRequest request = GreedyRequest(kPrompt, 8);
    request.mutable_precision()->set_fixed_bits(bits);
    const Answer answer = Generate(stub(), request);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_THAT(answer.bits, Each(bits));
    ASSERT_EQ(answer.finish.tokens_by_bits_size(), 1);
    EXPECT_EQ(answer.finish.tokens_by_bits(0).bits(), bits);
    EXPECT_EQ(answer.finish.tokens_by_bits(0).tokens(), 8);
    ASSERT_EQ(answer.finish.prompt_tokens_by_bits_size(), 1);
    EXPECT_EQ(answer.finish.prompt_tokens_by_bits(0).bits(), bits);
    EXPECT_EQ(answer.finish.prompt_tokens_by_bits(0).tokens(),
              answer.finish.usage().prompt_tokens());
  }
}

TEST_F(GenerationTest, AutomaticPrecisionStaysWithinItsRange) {
  v1::GenerateRequest request = GreedyRequest(kPrompt, 16);
  request.mutable_precision()->set_min_bits(4);
  request.mutable_precision()->set_max_bits(6);
  request.mutable_precision()->mutable_slo()->set_tpot_ms(5);
  const Answer answer = Generate(stub(), request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  for (const int bits : answer.bits) {
    EXPECT_GE(bits, 4);
    EXPECT_LE(bits, 6);
  }
  int64_t prompt_tokens = 0;
  for (const v1::BitsCount& count : answer.finish.prompt_tokens_by_bits()) {
    EXPECT_GE(count.bits(), 4);
    EXPECT_LE(count.bits(), 6);
    prompt_tokens += count.tokens();
  }
  EXPECT_EQ(prompt_tokens, answer.finish.usage().prompt_tokens());
}

TEST_F(GenerationTest, WithTimeToSpareAutomaticPrecisionIsTheHighest) {
  v1::GenerateRequest request = GreedyRequest(kPrompt, 16);
  request.mutable_precision()->mutable_slo()->set_tpot_ms(1e6);
  const Answer answer = Generate(stub(), request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_THAT(answer.bits, Each(8));
}

TEST_F(GenerationTest, ThreeAndEightBitsRunAtTheSameTime) {
  const auto request_at = [](int bits) {
    v1::GenerateRequest request = GreedyRequest(kPrompt, 64);
    request.mutable_precision()->set_fixed_bits(bits);
    return request;
  };
  const std::string alone3 = Generate(stub(), request_at(3)).text;
  const std::string alone8 = Generate(stub(), request_at(8)).text;
  EXPECT_NE(alone3, alone8);
  Answer together3;
  std::thread other([&] { together3 = Generate(stub(), request_at(3)); });
  const Answer together8 = Generate(stub(), request_at(8));
  other.join();
  EXPECT_EQ(together3.text, alone3);
  EXPECT_EQ(together8.text, alone8);
  EXPECT_THAT(together3.bits, Each(3));
  EXPECT_THAT(together8.bits, Each(8));
}

TEST_F(GenerationTest, SixteenClientsGetWhatEachWouldGetAlone) {
  constexpr int kClients = 16;
  std::vector<v1::GenerateRequest> requests;
  std::vector<std::string> alone;
  for (int i = 0; i < kClients; ++i) {
    v1::GenerateRequest request = GreedyRequest(kPrompt, 32);
    request.mutable_sampling()->set_temperature(1);
    request.mutable_sampling()->set_seed(1000 + i);
    request.mutable_precision()->set_fixed_bits(3 + i % 6);
    alone.push_back(Generate(stub(), request).text);
    requests.push_back(std::move(request));
  }
  std::vector<Answer> answers(kClients);
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] {
      // A connection of its own, as different clients have.
      const auto stub = v1::InferenceService::NewStub(grpc::CreateChannel(
          server_->address(), grpc::InsecureChannelCredentials()));
      answers[i] = Generate(*stub, requests[i]);
    });
  }
  for (std::thread& client : clients) client.join();
  for (int i = 0; i < kClients; ++i) {
    EXPECT_TRUE(answers[i].status.ok()) << answers[i].status.error_message();
    EXPECT_EQ(answers[i].text, alone[i]) << "client " << i;
  }
}

TEST_F(GenerationTest, TheReportedSeedRepeatsAnUnseededAnswer) {
  v1::GenerateRequest request = GreedyRequest(kPrompt, 24);
  request.mutable_sampling()->set_temperature(1);
  request.mutable_precision()->set_fixed_bits(6);
  const Answer first = Generate(stub(), request);
  request.mutable_sampling()->set_seed(first.prompt.seed());
  EXPECT_EQ(Generate(stub(), request).text, first.text);
}

TEST_F(GenerationTest, AStopStringEndsTheTextBeforeIt) {
  v1::GenerateRequest request = GreedyRequest(kPrompt, 64);
  request.mutable_precision()->set_fixed_bits(8);
  const std::string whole = Generate(stub(), request).text;
  const std::string stop = whole.substr(whole.size() / 2, 5);
  request.mutable_stopping()->add_stop(stop);
  const Answer answer = Generate(stub(), request);
  EXPECT_EQ(answer.text, whole.substr(0, whole.find(stop)));
  EXPECT_EQ(answer.finish.reason(), v1::FINISH_REASON_STOP);
}

TEST_F(GenerationTest, LogprobsAndEchoDescribePromptAndAnswer) {
  v1::GenerateRequest request = GreedyRequest(kPrompt, 4);
  request.set_logprobs(2);
  request.set_echo(true);
  const Answer answer = Generate(stub(), request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_THAT(answer.prompt.text(), HasSubstr(kPrompt));
  ASSERT_EQ(answer.prompt.tokens_size(), answer.prompt.prompt_tokens());
  EXPECT_FALSE(answer.prompt.tokens(0).has_logprob());
  EXPECT_LT(answer.prompt.tokens(1).logprob(), 0);
  for (const v1::GenerateResponse& piece : answer.pieces) {
    for (const v1::Token& token : piece.tokens()) {
      ASSERT_EQ(token.top_logprobs_size(), 2);
      // Greedy: the token itself is the likeliest.
      EXPECT_EQ(token.id(), token.top_logprobs(0).id());
      EXPECT_GE(token.logprob(), token.top_logprobs(1).logprob());
    }
  }
}

TEST_F(GenerationTest, SamplesDifferAndEachRepeatsAlone) {
  v1::GenerateRequest request = GreedyRequest(kPrompt, 16);
  request.mutable_sampling()->set_temperature(1);
  request.mutable_sampling()->set_seed(5);
  request.mutable_sampling()->set_n(3);
  request.mutable_precision()->set_fixed_bits(4);
  std::vector<std::string> texts(3);
  const Answer all = Generate(stub(), request);
  ASSERT_TRUE(all.status.ok()) << all.status.error_message();
  for (const v1::GenerateResponse& piece : all.pieces) {
    texts[piece.index()] += piece.text();
  }
  EXPECT_NE(texts[0], texts[1]);
  request.mutable_sampling()->clear_n();
  for (int i = 0; i < 3; ++i) {
    request.mutable_sampling()->set_seed(5 + i);
    EXPECT_EQ(Generate(stub(), request).text, texts[i]);
  }
}

TEST_F(GenerationTest, EachWrongFieldIsNamedAndDisturbsNobody) {
  v1::GenerateRequest request;
  request.mutable_sampling()->set_temperature(-1);
  request.mutable_sampling()->set_top_p(2);
  request.mutable_precision()->set_fixed_bits(9);
  request.mutable_stopping()->set_max_tokens(100000);
  const grpc::Status status = Generate(stub(), request).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const google::rpc::Status details = FromGrpcStatus(status);
  google::rpc::BadRequest bad_request;
  ASSERT_EQ(details.details_size(), 1);
  ASSERT_TRUE(details.details(0).UnpackTo(&bad_request));
  std::vector<std::string> fields;
  for (const auto& violation : bad_request.field_violations()) {
    fields.push_back(violation.field());
  }
  EXPECT_THAT(fields, ElementsAre("sampling.temperature", "sampling.top_p",
                                  "precision.fixed_bits", "prompt",
                                  "stopping.max_tokens"));
  EXPECT_TRUE(Generate(stub(), GreedyRequest(kPrompt, 1)).status.ok());
}

TEST_F(GenerationTest, AModelWithoutAChatTemplateSaysSo) {
  v1::GenerateRequest request;
  v1::ChatMessage* message = request.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("hello");
  EXPECT_EQ(Generate(stub(), request).status.error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(GenerationTest, ScoreAgreesWithTheUnquantizedModel) {
  std::ostringstream text;
  text << std::ifstream(std::string(kTinyLlama) + "/heldout.txt").rdbuf();
  const nlohmann::json golden = Golden()["perplexity"];
  const auto perplexity_at = [&](int bits) {
    v1::ScoreRequest request;
    request.set_text(text.str());
    request.set_bits(bits);
    grpc::ClientContext context;
    v1::ScoreResponse response;
    const grpc::Status status = stub().Score(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.bits(), bits);
    EXPECT_EQ(response.scored_tokens(), golden["tokens"].get<int>());
    return response.perplexity();
  };
  const double unquantized = golden["perplexity"].get<double>();
  // 8 bits are meant to be indistinguishable; 1 % leaves room for int16
  // activations. At 3 bits a model this small loses a good deal.
  EXPECT_NEAR(perplexity_at(8), unquantized, 0.01 * unquantized);
  EXPECT_GT(perplexity_at(3), 1.02 * unquantized);
}

TEST(UnquantizedTest, AnswersAsTransformersDoes) {
  TestServer server(kTinyLlama, {"--max_bits=16", "--compute=fp32"});
  const nlohmann::json golden = Golden();
  ASSERT_FALSE(golden["cases"].empty());
  for (const nlohmann::json& one : golden["cases"]) {
    const auto wanted = one["greedy_ids"].get<std::vector<int>>();
    v1::GenerateRequest request =
        GreedyRequest("", static_cast<int>(wanted.size()));
    request.mutable_token_ids()->mutable_ids()->Assign(
        one["prompt_ids"].begin(), one["prompt_ids"].end());
    const Answer answer = Generate(server.stub(), request);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.ids, wanted) << one["name"];
    EXPECT_THAT(answer.bits, Each(16));
  }
}

TEST_F(GenerationTest, TokenizeAndDetokenizeAreInverse) {
  const nlohmann::json golden = Golden();
  ASSERT_FALSE(golden["tokenizer_cases"].empty());
  for (const nlohmann::json& one : golden["tokenizer_cases"]) {
    const std::string text = one["text"].get<std::string>();
    v1::TokenizeRequest request;
    request.set_text(text);
    request.set_add_special(false);
    grpc::ClientContext context;
    v1::TokenizeResponse response;
    ASSERT_TRUE(stub().Tokenize(&context, request, &response).ok());
    EXPECT_THAT(response.ids(),
                ElementsAreArray(one["ids"].get<std::vector<int>>()));
    v1::DetokenizeRequest back;
    *back.mutable_ids() = response.ids();
    grpc::ClientContext back_context;
    v1::DetokenizeResponse decoded;
    ASSERT_TRUE(stub().Detokenize(&back_context, back, &decoded).ok());
    EXPECT_EQ(decoded.text(), text);
  }
}

TEST_F(GenerationTest, GetModelTellsWhatEachPrecisionCosts) {
  const v1::GetModelResponse response = server_->GetModel();
  const v1::ModelInfo& model = response.model();
  EXPECT_EQ(model.name(), "tiny-llama-3-8");
  EXPECT_EQ(model.shape().num_layers(), 5);
  EXPECT_EQ(model.shape().hidden_size(), 128);
  EXPECT_EQ(model.quantization().seed_bits(), 3);
  EXPECT_EQ(model.quantization().parent_bits(), 8);
  EXPECT_EQ(model.quantization().scheme(), "iu");
  EXPECT_EQ(model.quantization().group_size(), -1);
  EXPECT_EQ(model.max_context_tokens(), 512);
  EXPECT_TRUE(model.has_tokenizer());
  EXPECT_FALSE(model.has_chat_template());
  EXPECT_THAT(response.backend(), HasSubstr("cpu"));
  ASSERT_EQ(model.precisions_size(), 6);
  for (int i = 1; i < 6; ++i) {
    EXPECT_EQ(model.precisions(i).bits(), 3 + i);
    EXPECT_GT(model.precisions(i).weight_bytes_per_token(),
              model.precisions(i - 1).weight_bytes_per_token());
  }
  EXPECT_GT(model.weight_bytes_resident(),
            model.precisions(5).weight_bytes_per_token());
  EXPECT_GT(response.state().resident_bytes(), model.weight_bytes_resident());
}

TEST_F(GenerationTest, EveryBlockIsFreeWhenTheWorkIsDone) {
  ASSERT_TRUE(Generate(stub(), GreedyRequest(kPrompt, 40)).status.ok());
  const v1::ServerState state = server_->WaitUntilIdle();
  EXPECT_GT(state.kv_blocks_total(), 0);
  EXPECT_EQ(state.kv_blocks_free(), state.kv_blocks_total());
  EXPECT_GT(state.steps(), 0);
}

TEST_F(GenerationTest, HealthIsServingForServerAndService) {
  const auto health = grpc::health::v1::Health::NewStub(server_->channel());
  for (const std::string service : {"", "anyprec.v1.InferenceService"}) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    grpc::health::v1::HealthCheckResponse response;
    ASSERT_TRUE(health->Check(&context, request, &response).ok());
    EXPECT_EQ(response.status(),
              grpc::health::v1::HealthCheckResponse::SERVING);
  }
}

TEST_F(GenerationTest, ReflectionListsTheServices) {
  const auto reflection =
      grpc::reflection::v1alpha::ServerReflection::NewStub(server_->channel());
  grpc::ClientContext context;
  const auto stream = reflection->ServerReflectionInfo(&context);
  grpc::reflection::v1alpha::ServerReflectionRequest request;
  request.set_list_services("*");
  ASSERT_TRUE(stream->Write(request));
  grpc::reflection::v1alpha::ServerReflectionResponse response;
  ASSERT_TRUE(stream->Read(&response));
  std::vector<std::string> names;
  for (const auto& service : response.list_services_response().service()) {
    names.push_back(service.name());
  }
  EXPECT_THAT(names, ::testing::Contains("anyprec.v1.InferenceService"));
  EXPECT_THAT(names, ::testing::Contains("grpc.health.v1.Health"));
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(GenerationTest, MessagesAboveFourMegabytesAreRefused) {
  v1::GenerateRequest request;
  request.set_text(std::string(5 << 20, 'a'));
  EXPECT_EQ(Generate(stub(), request).status.error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Generate(stub(), GreedyRequest(kPrompt, 1)).status.ok());
}

}  // namespace
}  // namespace anyprec
