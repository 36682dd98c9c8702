#include "kernels/cpu/huge_pages.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace anyprec {
namespace {

TEST(HugePageBufferTest, IsZeroFilledAndAlignedAtEverySize) {
  constexpr size_t kHugePage = size_t{2} << 20;
  for (const size_t bytes :
       {size_t{1}, size_t{4097}, kHugePage - 1, kHugePage, 3 * kHugePage + 5}) {
    absl::StatusOr<HugePageBuffer> buffer = HugePageBuffer::Create(bytes);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    ASSERT_EQ(buffer->size(), bytes);
    const auto address = reinterpret_cast<uintptr_t>(buffer->data());
    EXPECT_EQ(address % (bytes < kHugePage ? 64 : kHugePage), 0u);
    uint8_t* data = buffer->as<uint8_t>();
    for (size_t i = 0; i < bytes; i += 511) ASSERT_EQ(data[i], 0);
    data[bytes - 1] = 1;  // the last byte is ours
  }
}

TEST(HugePageBufferTest, ZeroBytesNeedNoMemory) {
  absl::StatusOr<HugePageBuffer> buffer = HugePageBuffer::Create(0);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(buffer->size(), 0u);
}

TEST(HugePageBufferTest, MovesHandTheMemoryOver) {
  absl::StatusOr<HugePageBuffer> buffer = HugePageBuffer::Create(100);
  ASSERT_TRUE(buffer.ok());
  void* data = buffer->data();
  HugePageBuffer moved = *std::move(buffer);
  EXPECT_EQ(moved.data(), data);
  EXPECT_EQ(moved.size(), 100u);
}

TEST(HugePageBufferTest, NamesTheBytesThatItCannotGet) {
  for (const size_t bytes :
       {size_t{1} << 60, std::numeric_limits<size_t>::max()}) {
    absl::StatusOr<HugePageBuffer> buffer = HugePageBuffer::Create(bytes);
    ASSERT_FALSE(buffer.ok());
    EXPECT_EQ(buffer.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(buffer.status().message()),
                testing::HasSubstr(std::to_string(bytes)));
  }
}

}  // namespace
}  // namespace anyprec
