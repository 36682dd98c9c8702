// Composes GGUF files that hold metadata only, for tests.
#ifndef ANYPREC_TESTS_RUNTIME_TOKENIZER_GGUF_WRITER_H_
#define ANYPREC_TESTS_RUNTIME_TOKENIZER_GGUF_WRITER_H_

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace anyprec {

class GgufWriter {
 public:
  void SetUint(const std::string& key, uint32_t value) {
    pairs_[key] = Number(4) + Number(value);
  }
  void SetBool(const std::string& key, bool value) {
    pairs_[key] = Number(7) + std::string(1, value ? '\1' : '\0');
  }
  void SetString(const std::string& key, const std::string& value) {
    pairs_[key] = Number(8) + String(value);
  }
  void SetStrings(const std::string& key,
                  const std::vector<std::string>& values) {
    std::string bytes = Array(8, values.size());
    for (const std::string& value : values) bytes += String(value);
    pairs_[key] = bytes;
  }
  void SetInts(const std::string& key, const std::vector<int32_t>& values) {
    std::string bytes = Array(5, values.size());
    for (const int32_t value : values) bytes += Number(value);
    pairs_[key] = bytes;
  }
  void SetFloats(const std::string& key, const std::vector<float>& values) {
    std::string bytes = Array(6, values.size());
    for (const float value : values) bytes += Number(value);
    pairs_[key] = bytes;
  }
  void Remove(const std::string& key) { pairs_.erase(key); }

  std::string Serialize() const {
    std::string file = "GGUF" + Number(uint32_t{3}) + Number(uint64_t{0}) +
                       Number(uint64_t{pairs_.size()});
    for (const auto& [key, value] : pairs_) file += String(key) + value;
    file.resize((file.size() + 31) / 32 * 32);
    return file;
  }

 private:
  template <typename T>
  static std::string Number(T value) {
    std::string bytes(sizeof(value), '\0');
    std::memcpy(bytes.data(), &value, sizeof(value));
    return bytes;
  }
  static std::string String(const std::string& text) {
    return Number(uint64_t{text.size()}) + text;
  }
  static std::string Array(uint32_t element_type, uint64_t count) {
    return Number(uint32_t{9}) + Number(element_type) + Number(count);
  }

  std::map<std::string, std::string> pairs_;  // key -> type and value
};

}  // namespace anyprec

#endif  // ANYPREC_TESTS_RUNTIME_TOKENIZER_GGUF_WRITER_H_
