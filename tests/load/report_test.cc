// The reports that people and programs read: JSON, CSV, table and page.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/load/metrics.h"
#include "tests/load/record_csv.h"
#include "tests/load/record_helpers.h"
#include "tests/load/report_html.h"
#include "tests/load/run_report.h"
#include "tests/load/summary_table.h"
#include "tests/load/svg_plot.h"

namespace anyprec::load {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const MeasuredTime kTenSeconds = {.warm_up = absl::Seconds(1),
                                  .end = absl::Seconds(10)};

std::vector<RequestClass> Classes() {
  RequestClass chat;
  chat.name = "chat";
  chat.ttft_ms = 100;
  RequestClass batch;
  batch.name = "batch";
  return {chat, batch};
}

std::vector<RequestRecord> Records() {
  std::vector<RequestRecord> records = {
      Answered(2, {50, 80, 120}, 4), Answered(3, {150, 160}, 8),
      Ended(4, Outcome::kRefused, 2), Answered(5, {90}, 3)};
  records[0].prompt_bits.Add(3, 10);
  records[1].class_index = 1;
  records[2].retry_delay = absl::Seconds(1);
  records[2].message = "queue \"full\", try later";
  return records;
}

RunReport Report(const std::string& label) {
  RunReport report;
  report.label = label;
  report.settings = {{"target", "<host> & \"port\""}, {"rate", 1.5}};
  report.metrics =
      MetricsToJson(Summarize(Records(), Classes(), kTenSeconds), Classes());
  report.timeline = MakeTimeline(Records(), kTenSeconds, absl::Seconds(1));
  return report;
}

// Whether every tag is closed in order, attributes are quoted, and text holds
// no bare < or &. Knows elements, comments and a doctype: what pages use.
std::string XmlError(absl::string_view text) {
  std::vector<std::string> open;
  while (!text.empty()) {
    const size_t at = text.find('<');
    for (size_t amp = text.substr(0, at).find('&'); amp < at;
         amp = text.substr(0, at).find('&', amp + 1)) {
      const size_t end = text.find(';', amp);
      if (end == absl::string_view::npos || end - amp > 6) return "a bare &";
    }
    if (at == absl::string_view::npos) break;
    text.remove_prefix(at + 1);
    const size_t end = text.find('>');
    if (end == absl::string_view::npos) return "a tag without an end";
    absl::string_view tag = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (absl::StrContains(tag, '<')) return "a < within a tag";
    if (std::count(tag.begin(), tag.end(), '"') % 2 != 0) {
      return absl::StrCat("quotes in ", tag);
    }
    const std::string name(tag.substr(0, tag.find(' ')));
    if (absl::StartsWith(tag, "!")) continue;
    if (absl::StartsWith(tag, "/")) {
      if (open.empty() || "/" + open.back() != name) {
        return absl::StrCat("<", tag, "> closes ",
                            open.empty() ? "nothing" : open.back());
      }
      open.pop_back();
    } else if (!absl::EndsWith(tag, "/")) {
      open.push_back(name);
    }
  }
  return open.empty() ? "" : absl::StrCat("<", open.back(), "> is open");
}

TEST(ReportTest, TheXmlCheckSeesMistakes) {
  EXPECT_EQ(XmlError("<a b=\"1\">x &lt; y<c/></a>"), "");
  EXPECT_NE(XmlError("<a><b></a></b>"), "");
  EXPECT_NE(XmlError("<a>x & y</a>"), "");
  EXPECT_NE(XmlError("<a>"), "");
}

TEST(ReportTest, ThePageIsWellFormedAndSelfContained) {
  const std::string page =
      ReportHtml("A <title>", {Report("slo"), Report("fixed:4 <&>")});
  EXPECT_EQ(XmlError(page), "");
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("http")));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_THAT(page, HasSubstr("fixed:4 &lt;&amp;&gt;"));
}

TEST(ReportTest, ThePageHasEveryPlotOfEveryRun) {
  const std::string page = ReportHtml("t", {Report("a"), Report("b")});
  for (const char* title :
       {"Arrivals", "Requests in the server", "Mean precision of the tokens",
        "Tokens by precision", "Time to first token",
        "Time per output token"}) {
    const std::string label = absl::StrCat("aria-label=\"", title, "\"");
    EXPECT_EQ(std::vector<std::string>(absl::StrSplit(page, label)).size(), 3u)
        << title;
  }
}

TEST(ReportTest, APageOfNothingIsWellFormed) {
  EXPECT_EQ(XmlError(ReportHtml("t", {})), "");
  RunReport empty;
  EXPECT_EQ(XmlError(ReportHtml("t", {empty})), "");
}

TEST(ReportTest, LinesBreakWhereValuesAreAbsent) {
  Plot plot;
  plot.series = {{"s", "#000000", {1, 2, std::nullopt, 4}}};
  const std::string svg = LinePlot(plot);
  EXPECT_EQ(XmlError(svg), "");
  EXPECT_EQ(std::vector<std::string>(absl::StrSplit(svg, "<polyline")).size(),
            2u);
  EXPECT_EQ(std::vector<std::string>(absl::StrSplit(svg, "<circle")).size(),
            2u);
}

TEST(ReportTest, ReportsSurviveTheirFile) {
  const std::string json =
      ReportsToJson({Report("a"), Report("b")}, nullptr).dump();
  const auto runs = ReportsFromJson(json, "f");
  ASSERT_TRUE(runs.ok()) << runs.status();
  ASSERT_EQ(runs->size(), 2u);
  EXPECT_EQ(ReportsToJson(*runs, nullptr).dump(), json);
}

TEST(ReportTest, WrongReportFilesAreErrorsThatNameThem) {
  const nlohmann::json good = ReportsToJson({Report("a")}, nullptr);
  const auto message = [](const nlohmann::json& json) {
    return std::string(ReportsFromJson(json.dump(), "f").status().message());
  };
  EXPECT_THAT(message({{"runs", nullptr}}), HasSubstr("f: not a report"));
  nlohmann::json wrong = good;
  wrong["format"] = "other";
  EXPECT_THAT(message(wrong), HasSubstr("anyprec-loadtest 1"));
  wrong = good;
  wrong["runs"][0]["timeline"]["planned"].push_back(1);
  EXPECT_THAT(message(wrong), HasSubstr("f: runs[0]: refused has 10"));
  wrong = good;
  wrong["runs"][0]["timeline"]["ttft_p50_ms"][0] = "x";
  EXPECT_THAT(message(wrong), HasSubstr("ttft_p50_ms[0]"));
  wrong = good;
  wrong["runs"][0]["timeline"]["tokens_by_bits"]["99"] = nullptr;
  EXPECT_THAT(message(wrong), HasSubstr("tokens_by_bits"));
  wrong = good;
  wrong["runs"][0].erase("metrics");
  EXPECT_THAT(message(wrong), HasSubstr("runs[0]"));
}

TEST(ReportTest, TheTableHasAColumnForEachRun) {
  const auto rows = SummaryRows({Report("a"), Report("b")});
  EXPECT_EQ(rows[0], (std::vector<std::string>{"", "a", "b"}));
  for (const auto& row : rows) EXPECT_EQ(row.size(), 3u) << row[0];
  const std::string text = SummaryText({Report("a")});
  EXPECT_THAT(text, HasSubstr("goodput, share of requests"));
  EXPECT_THAT(text, HasSubstr("batch: goodput"));
}

TEST(ReportTest, CsvHasALineForEachRequestAndQuotesTexts) {
  const std::string csv =
      CsvHeader() + RecordsToCsv("run 1", Records(), Classes(), kTenSeconds);
  const std::vector<std::string> lines = absl::StrSplit(csv, '\n');
  ASSERT_EQ(lines.size(), Records().size() + 2);
  const auto columns = std::count(lines[0].begin(), lines[0].end(), ',');
  EXPECT_EQ(std::count(lines[1].begin(), lines[1].end(), ','), columns);
  EXPECT_THAT(lines[0], HasSubstr(",floor_bits,mean_bits,lowest_bits,"
                                  "prompt_mean_bits,prompt_lowest_bits,"));
  EXPECT_THAT(lines[1], HasSubstr("run 1,0,chat,1,ok,,met,2.000000"));
  EXPECT_THAT(lines[1], HasSubstr(",0,4.000,4,3.500,3,"));
  EXPECT_THAT(lines[3], HasSubstr(",0,,,,,1000.000,"));
  EXPECT_THAT(lines[3], HasSubstr("\"queue \"\"full\"\", try later\""));
  EXPECT_THAT(lines[3], HasSubstr("refused,REASON,missed"));
  EXPECT_THAT(lines[3], HasSubstr("1000.000"));
}

}  // namespace
}  // namespace anyprec::load
