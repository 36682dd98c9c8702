// Files that the tokenizer's tests read and write.
#ifndef ANYPREC_TESTS_RUNTIME_TOKENIZER_TEST_FILES_H_
#define ANYPREC_TESTS_RUNTIME_TOKENIZER_TEST_FILES_H_

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "gtest/gtest.h"

namespace anyprec {

// A file of this folder's testdata, which Bazel puts beside the test.
inline std::string TestData(const std::string& name) {
  return "tests/runtime/tokenizer/testdata/" + name;
}

// A file of the optional data, which may be absent as a whole; see
// tests/run.sh.
inline std::optional<std::string> SharedData(const std::string& name) {
  const char* root = std::getenv("ANYPREC_TEST_DATA");
  if (root == nullptr) return std::nullopt;
  return std::string(root) + "/" + name;
}

inline std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

inline nlohmann::json ReadGolden() {
  return nlohmann::json::parse(ReadText(TestData("golden.json")));
}

inline void WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  ASSERT_TRUE(file.good()) << path;
}

// A new folder for the running test.
inline std::string MakeTestFolder(const std::string& name) {
  std::string path = testing::TempDir() + "/" + name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

}  // namespace anyprec

#endif  // ANYPREC_TESTS_RUNTIME_TOKENIZER_TEST_FILES_H_
