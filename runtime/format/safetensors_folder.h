// The tensors of a HuggingFace folder: model.safetensors, or the shards that
// model.safetensors.index.json lists. Thread-safe once open.
#ifndef ANYPREC_RUNTIME_FORMAT_SAFETENSORS_FOLDER_H_
#define ANYPREC_RUNTIME_FORMAT_SAFETENSORS_FOLDER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/format/safetensors.h"

namespace anyprec {

class SafetensorsFolder {
 public:
  struct Entry {
    const SafetensorsFile* file = nullptr;
    const SafetensorsFile::Tensor* tensor = nullptr;
  };

  // NOT_FOUND names what was looked for, or the missing shard; DATA_LOSS names
  // a tensor that the index places in a file that lacks it, or that two files
  // hold.
  static absl::StatusOr<std::unique_ptr<SafetensorsFolder>> Open(
      const std::string& directory);

  const std::string& path() const { return path_; }

  // Null where there is none.
  const Entry* Find(absl::string_view name) const;

  // In file order.
  const std::vector<std::unique_ptr<SafetensorsFile>>& files() const {
    return files_;
  }

 private:
  explicit SafetensorsFolder(std::string path) : path_(std::move(path)) {}
  absl::Status Add(const std::string& file_name);

  const std::string path_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  absl::flat_hash_map<std::string, Entry> entries_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_SAFETENSORS_FOLDER_H_
