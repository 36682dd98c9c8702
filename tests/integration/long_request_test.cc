// Requests that would run for minutes: cancelled, late, drained; and what
// serving several precisions costs in memory. The model is large enough that
// its answers cannot end by themselves meanwhile.

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/integration/test_server.h"

namespace anyprec {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryIsInstrumented = true;
#else
constexpr bool kMemoryIsInstrumented = false;
#endif

constexpr int kLongAnswer = 8000;  // tokens; the context holds 8192

// For the first token by far, even on a busy machine; not for a long answer.
constexpr int kDeadlineMs = 2000;

v1::GenerateRequest RequestOf(int max_tokens, int bits) {
  v1::GenerateRequest request = GreedyRequest("", max_tokens);
  for (int id = 1; id <= 16; ++id) {
    request.mutable_token_ids()->add_ids(id);
  }
  request.mutable_precision()->set_fixed_bits(bits);
  return request;
}

class LongRequestTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = new TestServer(kSyntheticModel); }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  static v1::InferenceService::Stub& stub() { return server_->stub(); }

  static TestServer* server_;
};

TestServer* LongRequestTest::server_ = nullptr;

TEST_F(LongRequestTest, CancellingStopsTheWorkAndFreesItsBlocks) {
  const int64_t before = server_->GetModel().state().generated_tokens();
  grpc::ClientContext context;
  const auto reader = stub().Generate(&context, RequestOf(kLongAnswer, 4));
  v1::GenerateResponse piece;
  ASSERT_TRUE(reader->Read(&piece));
  context.TryCancel();
  while (reader->Read(&piece)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  const v1::ServerState state = server_->WaitUntilIdle();
  EXPECT_EQ(state.running_requests(), 0);
  EXPECT_EQ(state.kv_blocks_free(), state.kv_blocks_total());
  EXPECT_LT(state.generated_tokens() - before, kLongAnswer);
}

TEST_F(LongRequestTest, AClientThatDisappearsIsCancelled) {
  {
    const auto channel = grpc::CreateChannel(
        server_->address(), grpc::InsecureChannelCredentials());
    const auto stub = v1::InferenceService::NewStub(channel);
    grpc::ClientContext context;
    const auto reader = stub->Generate(&context, RequestOf(kLongAnswer, 4));
    v1::GenerateResponse piece;
    ASSERT_TRUE(reader->Read(&piece));
  }
  const v1::ServerState state = server_->WaitUntilIdle();
  EXPECT_EQ(state.kv_blocks_free(), state.kv_blocks_total());
}

TEST_F(LongRequestTest, AMissedDeadlineIsAnErrorAndStopsTheWork) {
  v1::GenerateRequest request = RequestOf(kLongAnswer, 4);
  // It might end in time, for all that anybody knows.
  request.mutable_stopping()->set_ignore_eos(false);
  request.mutable_precision()->mutable_slo()->set_deadline_ms(kDeadlineMs);
  const Answer answer = Generate(stub(), request);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED)
      << answer.status.error_message();
  EXPECT_NE(answer.finish.reason(), v1::FINISH_REASON_LENGTH);
  const v1::ServerState state = server_->WaitUntilIdle();
  EXPECT_EQ(state.kv_blocks_free(), state.kv_blocks_total());
}

TEST_F(LongRequestTest, ADeadlineThatCannotBeKeptIsRefusedAtOnce) {
  const int64_t before = server_->WaitUntilIdle().steps();
  v1::GenerateRequest request = RequestOf(kLongAnswer, 4);
  request.mutable_precision()->mutable_slo()->set_deadline_ms(kDeadlineMs);
  const Answer answer = Generate(stub(), request);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
      << answer.status.error_message();
  EXPECT_NE(answer.status.error_details().find("PREDICTED_LATE"),
            std::string::npos);
  EXPECT_EQ(server_->WaitUntilIdle().steps(), before);
}

TEST_F(LongRequestTest, TheRpcsOwnDeadlineHoldsAsWell) {
  grpc::ClientContext context;
  context.set_deadline(
      absl::ToChronoTime(absl::Now() + absl::Milliseconds(kDeadlineMs)));
  v1::GenerateRequest request = RequestOf(kLongAnswer, 4);
  request.mutable_stopping()->set_ignore_eos(false);
  const auto reader = stub().Generate(&context, request);
  v1::GenerateResponse piece;
  while (reader->Read(&piece)) {
  }
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED)
      << status.error_message();
  const v1::ServerState state = server_->WaitUntilIdle();
  EXPECT_EQ(state.kv_blocks_free(), state.kv_blocks_total());
}

TEST_F(LongRequestTest, ServingThreeAndEightBitsTakesTheMemoryOfOneParent) {
  if (kMemoryIsInstrumented) {
    GTEST_SKIP() << "a sanitizer keeps memory of its own";
  }
  const auto serve = [](const std::vector<int>& bits) {
    std::vector<std::thread> clients;
    for (const int b : bits) {
      clients.emplace_back([b] {
        const Answer answer = Generate(stub(), RequestOf(8, b));
        EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
      });
    }
    for (std::thread& client : clients) client.join();
  };
  // Two streams at 8 bits bring activations and KV blocks to their full size.
  serve({8, 8});
  const v1::GetModelResponse before = server_->GetModel();
  serve({3, 8});
  const v1::GetModelResponse after = server_->GetModel();

  // A bit more is a plane more; a copy at 3 bits would take three.
  const v1::ModelInfo& model = after.model();
  const int64_t plane_bytes = model.precisions(1).weight_bytes_per_token() -
                              model.precisions(0).weight_bytes_per_token();
  const int64_t copy_bytes = 3 * plane_bytes;
  ASSERT_EQ(model.precisions(0).bits(), 3);
  ASSERT_GT(copy_bytes, 30'000'000);
  EXPECT_LT(after.state().resident_bytes() - before.state().resident_bytes(),
            copy_bytes / 4);
  EXPECT_EQ(after.model().weight_bytes_resident(),
            before.model().weight_bytes_resident());
}

// Last, on a server of its own: it ends.
TEST(DrainTest, WhatOutlastsTheDrainGetsAStatusAndTheServerExitsWithZero) {
  TestServer server(kSyntheticModel, {"--drain_timeout=0.1"});
  grpc::ClientContext context;
  const auto reader =
      server.stub().Generate(&context, RequestOf(kLongAnswer, 4));
  v1::GenerateResponse piece;
  ASSERT_TRUE(reader->Read(&piece));
  server.process().Signal(SIGTERM);
  while (reader->Read(&piece)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server.process().Wait(), 0) << server.process().Errors();
}

TEST(DrainTest, ASecondSignalEndsTheProcessAtOnce) {
  TestServer server(kSyntheticModel, {"--drain_timeout=3600"});
  grpc::ClientContext context;
  const auto reader =
      server.stub().Generate(&context, RequestOf(kLongAnswer, 4));
  v1::GenerateResponse piece;
  ASSERT_TRUE(reader->Read(&piece));
  server.process().Signal(SIGINT);
  // The first has arrived once new requests are refused.
  while (Generate(server.stub(), RequestOf(1, 3)).status.ok()) {
  }
  server.process().Signal(SIGINT);
  EXPECT_EQ(server.process().Wait(), 128 + SIGINT);
}

}  // namespace
}  // namespace anyprec
