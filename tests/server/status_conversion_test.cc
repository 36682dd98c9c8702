#include "server/status_conversion.h"

#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "server/field_violations.h"

namespace anyprec {
namespace {

TEST(StatusConversionTest, OkStaysOk) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
}

TEST(StatusConversionTest, EveryCodeAndMessageArrives) {
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status status =
        ToGrpcStatus(absl::Status(static_cast<absl::StatusCode>(code), "why"));
    EXPECT_EQ(status.error_code(), code);
    EXPECT_EQ(status.error_message(), "why");
    const google::rpc::Status details = FromGrpcStatus(status);
    EXPECT_EQ(details.code(), code);
    EXPECT_EQ(details.message(), "why");
    EXPECT_EQ(details.details_size(), 0);
  }
}

TEST(StatusConversionTest, RetryCarriesDelayAndReason) {
  absl::Status status = absl::ResourceExhaustedError("queue full");
  AttachRetry(absl::Milliseconds(1250), "QUEUE_FULL", status);
  const google::rpc::Status details = FromGrpcStatus(ToGrpcStatus(status));
  google::rpc::RetryInfo retry;
  google::rpc::ErrorInfo info;
  ASSERT_EQ(details.details_size(), 2);
  for (const auto& detail : details.details()) {
    EXPECT_TRUE(detail.UnpackTo(&retry) || detail.UnpackTo(&info));
  }
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 250'000'000);
  EXPECT_EQ(info.reason(), "QUEUE_FULL");
  EXPECT_EQ(info.domain(), "anyprec");
}

TEST(StatusConversionTest, PayloadsOfOthersStayInside) {
  absl::Status status = absl::InternalError("x");
  status.SetPayload("some.library/Detail", absl::Cord("bytes"));
  EXPECT_EQ(FromGrpcStatus(ToGrpcStatus(status)).details_size(), 0);
}

TEST(StatusConversionTest, UnreadableDetailsLeaveCodeAndMessage) {
  const google::rpc::Status details = FromGrpcStatus(
      grpc::Status(grpc::StatusCode::NOT_FOUND, "gone", "\xff\xff"));
  EXPECT_EQ(details.code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(details.message(), "gone");
}

TEST(FieldViolationsTest, NoneIsOk) {
  EXPECT_TRUE(FieldViolations().ToStatus().ok());
}

TEST(FieldViolationsTest, MessageAndDetailHoldEveryViolation) {
  FieldViolations violations;
  violations.Add("a.b", "is 1; must be 2");
  violations.Add("c", "is missing");
  const absl::Status status = violations.ToStatus();
  EXPECT_EQ(status.message(), "a.b: is 1; must be 2; c: is missing");
  const google::rpc::Status details = FromGrpcStatus(ToGrpcStatus(status));
  google::rpc::BadRequest bad_request;
  ASSERT_EQ(details.details_size(), 1);
  ASSERT_TRUE(details.details(0).UnpackTo(&bad_request));
  ASSERT_EQ(bad_request.field_violations_size(), 2);
  EXPECT_EQ(bad_request.field_violations(0).field(), "a.b");
  EXPECT_EQ(bad_request.field_violations(1).description(), "is missing");
}

}  // namespace
}  // namespace anyprec
