// A device whose memory is full: errors that name bytes, and a backend that
// goes on.
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/conformance/backend_test_data.h"

namespace anyprec {
namespace {

using testing::HasSubstr;

class GpuMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    auto backend = CreateCudaBackend({});
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
  }

  size_t FreeBytes() {
    const auto memory = backend_->GetDeviceMemoryInfo();
    EXPECT_TRUE(memory.ok()) << memory.status();
    return (*memory)->free_bytes;
  }

  std::unique_ptr<Backend> backend_;
};

TEST_F(GpuMemoryTest, MoreThanIsFreeIsRefusedByTheByte) {
  const size_t floats = FreeBytes() / sizeof(float) + (1 << 20);
  const absl::Status status = backend_->Allocate(floats).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat(floats * sizeof(float), " bytes")));
  EXPECT_THAT(std::string(status.message()), HasSubstr("are free"));
  ExpectWorks(*backend_);
}

TEST_F(GpuMemoryTest, ACacheLargerThanTheDeviceIsRefused) {
  KvLayout layout = {.layers = 32, .kv_heads = 8, .head_dim = 128};
  constexpr size_t kBlockBytes = size_t{2} << 20;
  layout.num_blocks = static_cast<int>(FreeBytes() / kBlockBytes) + 512;
  const absl::Status status =
      backend_->AllocateKv(layout, KvType::kFloat16).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("KV cache"));
  ExpectWorks(*backend_);
}

TEST_F(GpuMemoryTest, MemoryComesBackWithItsOwner) {
  constexpr size_t kFloats = size_t{64} << 20;
  ExpectWorks(*backend_);  // what the driver takes at first use stays taken
  const size_t before = FreeBytes();
  {
    const auto buffer = backend_->Allocate(kFloats);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    EXPECT_LE(FreeBytes() + kFloats * sizeof(float), before);
  }
  EXPECT_GE(FreeBytes() + (size_t{4} << 20), before);
}

}  // namespace
}  // namespace anyprec
