#include "runtime/format/safetensors_folder.h"

#include <sys/stat.h>

#include <set>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/format/json.h"
#include "runtime/format/mapped_file.h"

namespace anyprec {
namespace {

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
// A 405B checkpoint's index is some 100 kB; as a document it takes ten times
// its text.
constexpr size_t kMaxIndexBytes = 4 << 20;

bool Exists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsFolder>> SafetensorsFolder::Open(
    const std::string& directory) {
  std::unique_ptr<SafetensorsFolder> folder(new SafetensorsFolder(directory));
  if (Exists(absl::StrCat(directory, "/", kSingleFile))) {
    RETURN_IF_ERROR(folder->Add(kSingleFile));
    return folder;
  }
  const std::string index_path = absl::StrCat(directory, "/", kIndexFile);
  if (!Exists(index_path)) {
    return absl::NotFoundError(absl::StrCat(directory, ": neither ",
                                            kSingleFile, " nor ", kIndexFile,
                                            " is there"));
  }
  ASSIGN_OR_RETURN(const std::string text,
                   ReadSmallFile(index_path, kMaxIndexBytes));
  ASSIGN_OR_RETURN(const nlohmann::json index,
                   ParseJsonObject(text, index_path));
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(index_path, ": weight_map is not an object"));
  }
  std::set<std::string> shards;
  for (const auto& [name, shard] : map->items()) {
    const auto* file = shard.get_ptr<const std::string*>();
    // A name, not a path: an index must not reach outside its folder.
    if (file == nullptr || absl::StrContains(*file, '/') ||
        absl::StrContains(*file, '\0')) {
      return absl::InvalidArgumentError(
          absl::StrCat(index_path, ": tensor \"", PrintableName(name),
                       "\": needed is the name of a file in the same folder"));
    }
    shards.insert(*file);
  }
  for (const std::string& shard : shards) RETURN_IF_ERROR(folder->Add(shard));
  for (const auto& [name, shard] : map->items()) {
    const Entry* entry = folder->Find(name);
    const auto& file = shard.get_ref<const std::string&>();
    if (entry == nullptr ||
        !absl::EndsWith(entry->file->path(), absl::StrCat("/", file))) {
      return absl::DataLossError(absl::StrCat(
          index_path, ": tensor \"", PrintableName(name), "\" is not in ",
          PrintableName(file), ", where the index places it"));
    }
  }
  return folder;
}

absl::Status SafetensorsFolder::Add(const std::string& file_name) {
  ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsFile> file,
                   SafetensorsFile::Open(absl::StrCat(path_, "/", file_name)));
  for (const SafetensorsFile::Tensor& tensor : file->tensors()) {
    const auto [other, inserted] =
        entries_.emplace(tensor.info.name, Entry{file.get(), &tensor});
    if (!inserted) {
      return absl::DataLossError(absl::StrCat(
          file->path(), ": tensor \"", PrintableName(tensor.info.name),
          "\" is in ", other->second.file->path(), " too"));
    }
  }
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

const SafetensorsFolder::Entry* SafetensorsFolder::Find(
    absl::string_view name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

}  // namespace anyprec
