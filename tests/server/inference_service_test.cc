// The service over real gRPC within one process; the engine is a fake whose
// steps the tests decide, so nothing here depends on time.
#include "server/inference_service.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "server/status_conversion.h"
#include "tests/server/fake_engine.h"
#include "tests/server/fake_tokenizer.h"

namespace anyprec {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Chunk TextChunk(const std::string& text, int bits) {
  Chunk chunk;
  chunk.text = text;
  for (const char c : text) {
    TokenOutput token;
    token.token = c;
    token.bits = bits;
    token.logprob = -1;
    chunk.tokens.push_back(token);
  }
  return chunk;
}

Chunk FinishChunk(FinishReason reason, absl::Status status) {
  Chunk chunk;
  chunk.finish.emplace();
  chunk.finish->reason = reason;
  chunk.finish->status = std::move(status);
  chunk.finish->stats.total = absl::Milliseconds(1);
  return chunk;
}

Chunk StopChunk() { return FinishChunk(FinishReason::kStop, absl::OkStatus()); }

class InferenceServiceTest : public ::testing::Test {
 protected:
  InferenceServiceTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::InferenceService::NewStub(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                            grpc::InsecureChannelCredentials()));
  }

  ~InferenceServiceTest() override {
    server_->Shutdown();
    server_->Wait();
  }

  void Start() {
    InferenceService::Serving serving;
    serving.engine = &engine_;
    serving.model.tokenizer = &tokenizer_;
    serving.model.vocab_size = FakeTokenizer::kVocabSize;
    serving.model.seed_bits = 3;
    serving.model.max_bits = 8;
    serving.model.max_context_tokens = engine_.max_context_tokens();
    serving.description.mutable_model()->set_name("fake");
    service_.Start(std::move(serving));
  }

  static v1::GenerateRequest TextRequest(const std::string& text) {
    v1::GenerateRequest request;
    request.set_text(text);
    return request;
  }

  FakeEngine engine_;
  FakeTokenizer tokenizer_;
  Metrics metrics_;
  InferenceService service_{metrics_};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::InferenceService::Stub> stub_;
};

TEST_F(InferenceServiceTest, BeforeTheModelIsLoadedCallsAreUnavailable) {
  grpc::ClientContext context;
  v1::GetModelResponse response;
  EXPECT_EQ(stub_->GetModel(&context, {}, &response).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  grpc::ClientContext stream_context;
  const auto reader = stub_->Generate(&stream_context, TextRequest("a"));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(InferenceServiceTest, TextStreamsAsItIsGenerated) {
  Start();
  grpc::ClientContext context;
  v1::GenerateRequest request = TextRequest("hi");
  request.mutable_sampling()->set_seed(77);
  const auto reader = stub_->Generate(&context, request);
  EXPECT_EQ(engine_.WaitForRequest(0).prompt.size(), 3u);

  engine_.Emit(0, TextChunk("ab", 3));
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.text(), "ab");
  EXPECT_EQ(response.tokens(1).bits(), 3);
  EXPECT_EQ(response.prompt().prompt_tokens(), 3);
  EXPECT_EQ(response.prompt().seed(), 77u);
  EXPECT_NE(response.prompt().request_id(), "");
  EXPECT_FALSE(response.has_finish());

  engine_.Emit(0, TextChunk("c", 8));
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.text(), "c");
  EXPECT_FALSE(response.has_prompt());

  engine_.Emit(0, StopChunk());
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.finish().reason(), v1::FINISH_REASON_STOP);
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(InferenceServiceTest, TheLogNamesTheCallersTrace) {
  const std::string parent =
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  std::ostringstream log;
  const auto logger = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  Start();
  const auto answer = [&](const absl::Status& admitted) {
    engine_.AdmitWith(admitted);
    grpc::ClientContext context;
    context.AddMetadata("traceparent", parent);
    const auto reader = stub_->Generate(&context, TextRequest("hi"));
    if (admitted.ok()) {
      engine_.WaitForRequest(0);
      engine_.Emit(0, StopChunk());
    }
    v1::GenerateResponse response;
    while (reader->Read(&response)) {
    }
    reader->Finish();
  };
  answer(absl::OkStatus());
  answer(absl::UnavailableError("draining"));
  spdlog::set_default_logger(logger);
  EXPECT_THAT(log.str(), HasSubstr("Generate OK traceparent=" + parent));
  EXPECT_THAT(log.str(),
              HasSubstr("Generate UNAVAILABLE traceparent=" + parent));
}

TEST_F(InferenceServiceTest, AManyPieceAnswerArrivesWholeAndInOrder) {
  Start();
  grpc::ClientContext context;
  const auto reader = stub_->Generate(&context, TextRequest("x"));
  std::string sent;
  for (int i = 0; i < 500; ++i) {
    const std::string piece = std::to_string(i) + " ";
    sent += piece;
    engine_.Emit(0, TextChunk(piece, 4));
  }
  engine_.Emit(0, StopChunk());
  std::string received;
  v1::GenerateResponse response;
  while (reader->Read(&response)) received += response.text();
  EXPECT_EQ(received, sent);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(InferenceServiceTest, EachSampleIsARequestOfItsOwnSeed) {
  Start();
  grpc::ClientContext context;
  v1::GenerateRequest request = TextRequest("hi");
  request.mutable_sampling()->set_seed(10);
  request.mutable_sampling()->set_n(3);
  const auto reader = stub_->Generate(&context, request);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(engine_.WaitForRequest(i).sampling.seed, 10u + i);
    engine_.Emit(i, TextChunk(std::string(1, 'a' + i), 3));
    engine_.Emit(i, StopChunk());
  }
  std::vector<std::string> texts(3);
  std::vector<uint64_t> seeds(3);
  int finished = 0;
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    texts[response.index()] += response.text();
    if (response.has_prompt()) {
      seeds[response.index()] = response.prompt().seed();
    }
    if (response.has_finish()) ++finished;
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_THAT(texts, ElementsAre("a", "b", "c"));
  EXPECT_THAT(seeds, ElementsAre(10, 11, 12));
  EXPECT_EQ(finished, 3);
}

TEST_F(InferenceServiceTest, EchoReturnsThePromptWithItsLogprobs) {
  Start();
  grpc::ClientContext context;
  v1::GenerateRequest request = TextRequest("hi");
  request.set_echo(true);
  request.set_logprobs(0);
  const auto reader = stub_->Generate(&context, request);
  EXPECT_TRUE(engine_.WaitForRequest(0).prompt_logprobs);
  Chunk chunk = TextChunk("a", 3);
  chunk.prompt_logprobs = {-1.5f, -2.5f};
  engine_.Emit(0, chunk);
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.prompt().text(), "<s>hi");
  ASSERT_EQ(response.prompt().tokens_size(), 3);
  EXPECT_FALSE(response.prompt().tokens(0).has_logprob());
  EXPECT_EQ(response.prompt().tokens(2).logprob(), -2.5f);
  EXPECT_EQ(response.tokens(0).logprob(), -1.0f);
  engine_.Emit(0, StopChunk());
}

TEST_F(InferenceServiceTest, UnaryReturnsEverySampleWhole) {
  Start();
  v1::GenerateUnaryRequest request;
  *request.mutable_generation() = TextRequest("hi");
  request.mutable_generation()->mutable_sampling()->set_n(2);
  std::thread engine([this] {
    engine_.Emit(1, TextChunk("y", 5));
    engine_.Emit(1, StopChunk());
    engine_.Emit(0, TextChunk("x", 5));
    engine_.Emit(0, TextChunk("z", 4));
    engine_.Emit(0, StopChunk());
  });
  grpc::ClientContext context;
  v1::GenerateUnaryResponse response;
  const grpc::Status status =
      stub_->GenerateUnary(&context, request, &response);
  engine.join();
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.samples_size(), 2);
  EXPECT_EQ(response.samples(0).text(), "xz");
  EXPECT_EQ(response.samples(0).tokens_size(), 2);
  EXPECT_EQ(response.samples(1).text(), "y");
  EXPECT_EQ(response.samples(1).index(), 1);
  EXPECT_TRUE(response.samples(1).has_finish());
}

TEST_F(InferenceServiceTest, ScoreReturnsTheLikelihoodOfTheTokens) {
  Start();
  std::thread engine([this] {
    EXPECT_EQ(engine_.WaitForRequest(0).precision.fixed_bits, 4);
    Chunk chunk = FinishChunk(FinishReason::kLength, absl::OkStatus());
    chunk.prompt_logprobs = {-1, -2};
    engine_.Emit(0, chunk);
  });
  v1::ScoreRequest request;
  request.set_text("ab");
  request.set_bits(4);
  grpc::ClientContext context;
  v1::ScoreResponse response;
  const grpc::Status status = stub_->Score(&context, request, &response);
  engine.join();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_DOUBLE_EQ(response.total_logprob(), -3);
  EXPECT_EQ(response.scored_tokens(), 2);
}

TEST_F(InferenceServiceTest, CancellingACallCancelsEachOfItsSamples) {
  Start();
  grpc::ClientContext context;
  v1::GenerateRequest request = TextRequest("hi");
  request.mutable_sampling()->set_n(2);
  const auto reader = stub_->Generate(&context, request);
  engine_.Emit(0, TextChunk("a", 3));
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  context.TryCancel();
  for (int i = 0; i < 2; ++i) {
    engine_.WaitForCancel(i);
    engine_.Emit(i, FinishChunk(FinishReason::kCancelled,
                                absl::CancelledError("cancelled")));
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(InferenceServiceTest, CancellingAUnaryCallCancelsItsRequest) {
  Start();
  v1::GenerateUnaryRequest request;
  *request.mutable_generation() = TextRequest("hi");
  grpc::ClientContext context;
  std::thread canceller([this, &context] {
    engine_.WaitForRequest(0);
    context.TryCancel();
    engine_.WaitForCancel(0);
    engine_.Emit(0, FinishChunk(FinishReason::kCancelled,
                                absl::CancelledError("cancelled")));
  });
  v1::GenerateUnaryResponse response;
  const grpc::Status status =
      stub_->GenerateUnary(&context, request, &response);
  canceller.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(InferenceServiceTest, AMissedDeadlineFollowsTheTokensThatMadeIt) {
  Start();
  grpc::ClientContext context;
  const auto reader = stub_->Generate(&context, TextRequest("hi"));
  engine_.Emit(0, TextChunk("a", 3));
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  engine_.Emit(0, FinishChunk(FinishReason::kDeadline,
                              absl::DeadlineExceededError("too late")));
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.finish().reason(), v1::FINISH_REASON_DEADLINE);
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(InferenceServiceTest, TheRpcsDeadlineReachesTheEngine) {
  Start();
  grpc::ClientContext context;
  const absl::Time deadline = absl::Now() + absl::Hours(1);
  context.set_deadline(absl::ToChronoTime(deadline));
  const auto reader = stub_->Generate(&context, TextRequest("hi"));
  // gRPC carries a timeout rather than a time, rounded up in coarse units.
  EXPECT_LT(absl::AbsDuration(engine_.WaitForRequest(0).deadline - deadline),
            absl::Minutes(5));
  engine_.Emit(0, StopChunk());
}

TEST_F(InferenceServiceTest, ACallWithoutADeadlineHasNoneInTheEngineEither) {
  Start();
  grpc::ClientContext context;
  const auto reader = stub_->Generate(&context, TextRequest("hi"));
  EXPECT_EQ(engine_.WaitForRequest(0).deadline, absl::InfiniteFuture());
  engine_.Emit(0, StopChunk());
}

TEST_F(InferenceServiceTest, AServiceThatTakesNoMoreWorkFinishesWhatItHas) {
  Start();
  grpc::ClientContext context;
  const auto reader = stub_->Generate(&context, TextRequest("hi"));
  engine_.WaitForRequest(0);
  service_.StopTakingWork();
  grpc::ClientContext late_context;
  EXPECT_EQ(
      stub_->Generate(&late_context, TextRequest("hi"))->Finish().error_code(),
      grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(engine_.submissions(), 1);
  engine_.Emit(0, StopChunk());
  v1::GenerateResponse response;
  EXPECT_TRUE(reader->Read(&response));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(InferenceServiceTest, ACancellationByTheServerItselfIsUnavailable) {
  Start();
  grpc::ClientContext context;
  const auto reader = stub_->Generate(&context, TextRequest("hi"));
  engine_.Emit(0, FinishChunk(FinishReason::kCancelled,
                              absl::CancelledError("drained")));
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(InferenceServiceTest, BadRequestsNeverReachTheEngine) {
  Start();
  grpc::ClientContext context;
  v1::GenerateRequest request = TextRequest("hi");
  request.mutable_precision()->set_fixed_bits(9);
  const grpc::Status status = stub_->Generate(&context, request)->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  google::rpc::BadRequest bad_request;
  const google::rpc::Status details = FromGrpcStatus(status);
  ASSERT_EQ(details.details_size(), 1);
  ASSERT_TRUE(details.details(0).UnpackTo(&bad_request));
  EXPECT_EQ(bad_request.field_violations(0).field(), "precision.fixed_bits");
  EXPECT_EQ(engine_.submissions(), 0);
}

TEST_F(InferenceServiceTest, ARefusalSaysWhyAndWhenToTryAgain) {
  Start();
  const auto expect_retry = [this] {
    grpc::ClientContext context;
    const grpc::Status status =
        stub_->Generate(&context, TextRequest("hi"))->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    const google::rpc::Status details = FromGrpcStatus(status);
    google::rpc::RetryInfo retry;
    google::rpc::ErrorInfo info;
    int found = 0;
    for (const auto& detail : details.details()) {
      found += detail.UnpackTo(&retry) ? 1 : 0;
      found += detail.UnpackTo(&info) ? 1 : 0;
    }
    EXPECT_EQ(found, 2);
    EXPECT_EQ(retry.retry_delay().seconds(), 2);
    EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
    EXPECT_EQ(info.reason(), kPredictedLate);
  };
  const absl::Status refused = RefusedStatus(
      "too late", {std::string(kPredictedLate), absl::Milliseconds(2500)});
  engine_.AdmitWith(refused);
  expect_retry();
  EXPECT_EQ(engine_.submissions(), 0);
  engine_.AdmitWith(absl::OkStatus());
  engine_.RefuseWith(refused);
  expect_retry();
}

TEST_F(InferenceServiceTest, AdmissionHearsOfTheRequestBeforeItIsTokenized) {
  Start();
  engine_.AdmitWith(RefusedStatus("full", {std::string(kQueueFull), {}}));
  v1::GenerateRequest request = TextRequest(std::string(1000, 'x'));
  request.mutable_stopping()->set_max_tokens(7);
  request.mutable_stopping()->set_ignore_eos(true);
  v1::PrecisionSpec& precision = *request.mutable_precision();
  precision.set_min_bits(4);
  precision.set_priority(2);
  precision.mutable_slo()->set_ttft_ms(50);
  grpc::ClientContext context;
  stub_->Generate(&context, request)->Finish();
  const std::vector<AdmissionQuery> queries = engine_.queries();
  ASSERT_EQ(queries.size(), 1u);
  EXPECT_GT(queries[0].prompt_tokens, 100);
  EXPECT_LT(queries[0].prompt_tokens, 1000);
  EXPECT_EQ(queries[0].min_tokens, 7);
  EXPECT_EQ(queries[0].min_bits, 4);
  EXPECT_EQ(queries[0].max_bits, 8);
  EXPECT_EQ(queries[0].priority, 2);
  EXPECT_EQ(queries[0].slo.ttft, absl::Milliseconds(50));
}

TEST_F(InferenceServiceTest, AWrongRequestIsNotJudgedByTheQueue) {
  Start();
  engine_.AdmitWith(RefusedStatus("full", {std::string(kQueueFull), {}}));
  v1::GenerateRequest request = TextRequest("hi");
  request.mutable_precision()->set_fixed_bits(9);
  grpc::ClientContext context;
  EXPECT_EQ(stub_->Generate(&context, request)->Finish().error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(InferenceServiceTest, AnEngineThatDrainsIsUnavailable) {
  Start();
  engine_.RefuseWith(absl::UnavailableError("draining"));
  grpc::ClientContext context;
  EXPECT_EQ(stub_->Generate(&context, TextRequest("hi"))->Finish().error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(InferenceServiceTest, TokenizeAndDetokenizeAreInverse) {
  Start();
  grpc::ClientContext context;
  v1::TokenizeRequest request;
  request.set_text("hey");
  v1::TokenizeResponse ids;
  ASSERT_TRUE(stub_->Tokenize(&context, request, &ids).ok());
  EXPECT_EQ(ids.ids_size(), 4);
  grpc::ClientContext back_context;
  v1::DetokenizeRequest back;
  *back.mutable_ids() = ids.ids();
  v1::DetokenizeResponse text;
  ASSERT_TRUE(stub_->Detokenize(&back_context, back, &text).ok());
  EXPECT_EQ(text.text(), "hey");
}

TEST_F(InferenceServiceTest, GetModelAddsTheStateOfTheMoment) {
  Start();
  grpc::ClientContext context;
  v1::GetModelResponse response;
  ASSERT_TRUE(stub_->GetModel(&context, {}, &response).ok());
  EXPECT_EQ(response.model().name(), "fake");
  EXPECT_EQ(response.state().kv_blocks_free(), 7);
  EXPECT_EQ(response.state().generated_tokens(), 11);
  EXPECT_GT(response.state().resident_bytes(), 0);
}

TEST_F(InferenceServiceTest, ManyStreamsShareTheDeliveryThread) {
  Start();
  constexpr int kStreams = 100;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>>
      readers;
  for (int i = 0; i < kStreams; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(stub_->Generate(contexts.back().get(), TextRequest("x")));
    engine_.WaitForRequest(i);
  }
  for (int i = 0; i < kStreams; ++i) engine_.Emit(i, TextChunk("a", 3));
  for (int i = kStreams - 1; i >= 0; --i) engine_.Emit(i, StopChunk());
  for (int i = 0; i < kStreams; ++i) {
    std::string text;
    v1::GenerateResponse response;
    while (readers[i]->Read(&response)) text += response.text();
    EXPECT_EQ(text, "a");
    EXPECT_TRUE(readers[i]->Finish().ok());
  }
}

}  // namespace
}  // namespace anyprec
