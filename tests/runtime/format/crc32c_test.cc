#include "runtime/format/crc32c.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

std::span<const std::byte> AsBytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// RFC 3720, appendix B.4, and the check value of the CRC catalogues.
TEST(Crc32cTest, MatchesThePublishedVectors) {
  EXPECT_EQ(Crc32c({}), 0u);
  EXPECT_EQ(Crc32c(AsBytes("123456789")), 0xe3069283u);
  EXPECT_EQ(Crc32c(AsBytes(std::string(32, '\0'))), 0x8a9136aau);
  EXPECT_EQ(Crc32c(AsBytes(std::string(32, '\xff'))), 0x62a8ab43u);
  std::string ascending;
  for (char i = 0; i < 32; ++i) ascending += i;
  EXPECT_EQ(Crc32c(AsBytes(ascending)), 0x46dd794eu);
}

TEST(Crc32cTest, InstructionAndTableAgreeAtEveryLengthAndAlignment) {
  std::mt19937 random(1);
  std::vector<std::byte> data(20'000);
  for (std::byte& byte : data) byte = static_cast<std::byte>(random());
  const std::span<const std::byte> all = data;
  for (int i = 0; i < 500; ++i) {
    const size_t begin = random() % 64;
    const size_t size =
        i < 100 ? static_cast<size_t>(i) : random() % (data.size() - begin);
    const auto part = all.subspan(begin, size);
    ASSERT_EQ(ExtendCrc32c(7, part), internal::ExtendCrc32cByTable(7, part))
        << begin << " + " << size;
  }
}

TEST(Crc32cTest, ExtendingByPartsEqualsTheWhole) {
  std::string text(10'000, 'x');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7);
  const auto whole = AsBytes(text);
  uint32_t crc = 0;
  for (size_t at = 0; at < whole.size(); at += 777) {
    crc = ExtendCrc32c(
        crc, whole.subspan(at, std::min<size_t>(777, whole.size() - at)));
  }
  EXPECT_EQ(crc, Crc32c(whole));
}

}  // namespace
}  // namespace anyprec
