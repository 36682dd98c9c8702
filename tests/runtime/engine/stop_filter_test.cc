#include "runtime/engine/stop_filter.h"

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace anyprec {
namespace {

TEST(StopFilterTest, PassesTextThroughWithoutStopStrings) {
  StopFilter filter({});
  EXPECT_EQ(filter.Append("abc"), "abc");
  EXPECT_EQ(filter.Flush(), "");
}

TEST(StopFilterTest, EndsTheTextBeforeTheMatch) {
  const std::vector<std::string> stops = {"END"};
  StopFilter filter(stops);
  EXPECT_EQ(filter.Append("one END two"), "one ");
  EXPECT_TRUE(filter.matched());
}

TEST(StopFilterTest, HoldsBackWhatMayBeginAStopString) {
  const std::vector<std::string> stops = {"END"};
  StopFilter filter(stops);
  EXPECT_EQ(filter.Append("one E"), "one ");
  EXPECT_EQ(filter.Append("N"), "");
  EXPECT_FALSE(filter.matched());
  EXPECT_EQ(filter.Append("D!"), "");
  EXPECT_TRUE(filter.matched());
}

TEST(StopFilterTest, ReleasesWhatWasNoStopStringAfterAll) {
  const std::vector<std::string> stops = {"END"};
  StopFilter filter(stops);
  EXPECT_EQ(filter.Append("EN"), "");
  EXPECT_EQ(filter.Append("EN"), "EN");
  EXPECT_EQ(filter.Append("T"), "ENT");
}

TEST(StopFilterTest, FlushGivesWhatWasHeldBack) {
  const std::vector<std::string> stops = {"END"};
  StopFilter filter(stops);
  EXPECT_EQ(filter.Append("xEN"), "x");
  EXPECT_EQ(filter.Flush(), "EN");
  EXPECT_EQ(filter.Flush(), "");
}

TEST(StopFilterTest, FindsAMatchThatOverlapsAFailedOne) {
  const std::vector<std::string> stops = {"aab"};
  StopFilter filter(stops);
  EXPECT_EQ(filter.Append("aa"), "");
  EXPECT_EQ(filter.Append("a"), "a");
  EXPECT_EQ(filter.Append("b"), "");
  EXPECT_TRUE(filter.matched());
}

TEST(StopFilterTest, TakesTheFirstOfSeveralMatches) {
  const std::vector<std::string> stops = {"three", "two"};
  StopFilter filter(stops);
  EXPECT_EQ(filter.Append("one two three"), "one ");
}

TEST(StopFilterTest, KeepsCharactersWhole) {
  const std::vector<std::string> stops = {"\u00e9"};  // c3 a9
  StopFilter filter(stops);
  EXPECT_EQ(filter.Append("\u00e8"), "\u00e8");  // c3 a8
  EXPECT_EQ(filter.Append("x\u00e9y"), "x");
}

// However a text is cut, what comes out is the text fed so far up to the first
// complete match, and nothing of it is given out too early.
TEST(StopFilterTest, GivesTheTextUpToTheFirstMatchHoweverItIsCut) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 5000; ++trial) {
    std::string text;
    for (int i = 0; i < 24; ++i) text += "ab"[random() % 2];
    std::vector<std::string> stops;
    for (size_t n = 1 + random() % 3; n > 0; --n) {
      std::string stop;
      for (size_t length = 1 + random() % 6; length > 0; --length) {
        stop += "ab"[random() % 2];
      }
      stops.push_back(stop);
    }
    StopFilter filter(stops);
    std::string out;
    size_t fed = 0;
    while (fed < text.size() && !filter.matched()) {
      const size_t n = std::min<size_t>(1 + random() % 4, text.size() - fed);
      out += filter.Append(text.substr(fed, n));
      fed += n;
    }
    const bool matched = filter.matched();
    if (!matched) out += filter.Flush();
    size_t first = std::string::npos;
    for (const std::string& stop : stops) {
      first = std::min(first, text.substr(0, fed).find(stop));
    }
    ASSERT_EQ(matched, first != std::string::npos);
    ASSERT_EQ(out, text.substr(0, matched ? first : text.size()));
  }
}

}  // namespace
}  // namespace anyprec
