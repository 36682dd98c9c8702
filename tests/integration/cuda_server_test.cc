// The server on a CUDA device, an emulated one: loading, a device that is too
// small, and losing it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <string>

#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/integration/test_server.h"

namespace anyprec {
namespace {

using ::grpc::health::v1::Health;
using ::grpc::health::v1::HealthCheckResponse;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// Not most of the emulated device, which is the machine's memory.
constexpr char kCache[] = "--kv_cache_gb=0.01";

TEST(CudaServerTest, PlanesAboveMaxBitsTakeNoneOfTheDevice) {
  TestServer all(QuantizedTinyLlama(), {"--device=cuda", kCache},
                 kEmulatedServerBinary);
  TestServer four(QuantizedTinyLlama(),
                  {"--device=cuda", kCache, "--max_bits=4"},
                  kEmulatedServerBinary);
  EXPECT_LT(four.GetModel().model().weight_bytes_resident(),
            all.GetModel().model().weight_bytes_resident());
  EXPECT_THAT(all.process().Errors(),
              AllOf(HasSubstr("loading ["), HasSubstr("100%")));
}

TEST(CudaServerTest, ADeviceTooSmallForTheWeightsEndsItWithOneLine) {
  setenv("ANYPREC_EMULATED_DEVICE_BYTES", "1000000", /*overwrite=*/1);
  const Outcome outcome =
      RunToEnd({kEmulatedServerBinary, "--model=" + QuantizedTinyLlama(),
                "--device=cuda", "--port=0", "--log_level=warn"});
  unsetenv("ANYPREC_EMULATED_DEVICE_BYTES");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.errors,
              MatchesRegex("anyprec-server: [^\n]* need at least [0-9]+ bytes "
                           "[^\n]* 1000000 of 1000000 are free\n"));
}

TEST(CudaServerTest, ALostDeviceEndsItWithOneAfterHealthHasSaidSo) {
  TestServer server(QuantizedTinyLlama(), {"--device=cuda", kCache},
                    kEmulatedServerBinary);
  const auto health = Health::NewStub(server.channel());
  grpc::ClientContext watch_context;
  const auto watch = health->Watch(&watch_context, {});
  HealthCheckResponse state;
  ASSERT_TRUE(watch->Read(&state));
  EXPECT_EQ(state.status(), HealthCheckResponse::SERVING);

  grpc::ClientContext context;
  const auto reader =
      server.stub().Generate(&context, GreedyRequest("Once upon", 300));
  v1::GenerateResponse piece;
  ASSERT_TRUE(reader->Read(&piece)) << reader->Finish().error_message();
  server.process().Signal(SIGUSR1);
  while (reader->Read(&piece)) {
  }
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(status.error_message(), HasSubstr("illegal"));

  ASSERT_TRUE(watch->Read(&state));
  EXPECT_EQ(state.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(server.process().Wait(), 1);
  EXPECT_THAT(server.process().Errors(), HasSubstr("illegal"));
}

}  // namespace
}  // namespace anyprec
