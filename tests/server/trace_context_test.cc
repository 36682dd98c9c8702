#include "server/trace_context.h"

#include <string>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

const std::string kParent =
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(TraceContextTest, TakesWhatIsWellFormed) {
  EXPECT_EQ(ParseTraceParent(kParent), kParent);
}

TEST(TraceContextTest, LeavesOutWhatALaterVersionAdds) {
  const std::string later = "cc" + kParent.substr(2);
  EXPECT_EQ(ParseTraceParent(later + "-more"), later);
  EXPECT_EQ(ParseTraceParent(later + "more"), "");
  EXPECT_EQ(ParseTraceParent(kParent + "-more"), "");
}

TEST(TraceContextTest, IgnoresWhatIsNot) {
  EXPECT_EQ(ParseTraceParent(""), "");
  EXPECT_EQ(ParseTraceParent(kParent.substr(0, 54)), "");
  EXPECT_EQ(ParseTraceParent("ff" + kParent.substr(2)), "");
  for (size_t i = 0; i < kParent.size(); ++i) {
    for (const char bad : {'A', ' ', '\n', '"', '\0'}) {
      std::string header = kParent;
      header[i] = bad;
      EXPECT_EQ(ParseTraceParent(header), "") << i;
    }
  }
  const std::string zeros(32, '0');
  EXPECT_EQ(ParseTraceParent("00-" + zeros + kParent.substr(35)), "");
  EXPECT_EQ(ParseTraceParent(kParent.substr(0, 36) + zeros.substr(16) + "-01"),
            "");
}

}  // namespace
}  // namespace anyprec
