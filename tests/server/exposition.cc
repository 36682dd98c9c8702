#include "tests/server/exposition.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace anyprec {

double Exposition::Value(const std::string& name_and_labels) const {
  const auto found = values.find(name_and_labels);
  return found != values.end() ? found->second
                               : std::numeric_limits<double>::quiet_NaN();
}

double Exposition::Sum(const std::string& name) const {
  double sum = 0;
  for (const auto& [key, value] : values) {
    if (key == name || absl::StartsWith(key, absl::StrCat(name, "{"))) {
      sum += value;
    }
  }
  return sum;
}

Exposition ParseExposition(absl::string_view text) {
  Exposition exposition;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty() || absl::StartsWith(line, "# HELP ")) continue;
    if (absl::StartsWith(line, "# TYPE ")) {
      const std::vector<std::string> words = absl::StrSplit(line, ' ');
      EXPECT_EQ(words.size(), 4u) << line;
      if (words.size() == 4) exposition.types[words[2]] = words[3];
      continue;
    }
    const size_t space = line.rfind(' ');
    double value = 0;
    if (space == line.npos ||
        !absl::SimpleAtod(line.substr(space + 1), &value)) {
      ADD_FAILURE() << "no metric: " << line;
      continue;
    }
    exposition.values[std::string(line.substr(0, space))] = value;
  }
  return exposition;
}

}  // namespace anyprec
