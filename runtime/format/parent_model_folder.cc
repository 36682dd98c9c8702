#include "runtime/format/parent_model_folder.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <span>
#include <system_error>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/format/file_writer.h"
#include "runtime/format/gguf.h"
#include "runtime/format/mapped_file.h"
#include "runtime/format/parent_model_file.h"

namespace anyprec {
namespace {

namespace fs = std::filesystem;

constexpr char kConfig[] = "config.json";
constexpr char kPartial[] = ".partial";

// Tokenizer and generation settings of a HuggingFace folder.
constexpr const char* kTokenizerFiles[] = {
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
};

// "model-00001-of-00002.safetensors", and not a copy that a user calls
// model-old.
bool IsShard(absl::string_view name) {
  return name.size() == 32 && absl::StartsWith(name, "model-") &&
         name.substr(11, 4) == "-of-" && absl::EndsWith(name, ".safetensors");
}

// Whether a file of this name belongs to a parent model, config.json aside.
bool IsPayload(absl::string_view name) {
  return name == "model.safetensors" ||
         name == "model.safetensors.index.json" || name == "tokenizer.gguf" ||
         IsShard(name) ||
         std::find(std::begin(kTokenizerFiles), std::end(kTokenizerFiles),
                   name) != std::end(kTokenizerFiles);
}

// What lies in a folder, sorted.
absl::StatusOr<std::vector<std::string>> List(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) {
    return absl::ErrnoToStatus(error.value(), absl::StrCat("list ", folder));
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool Exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

absl::Status MoveFile(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("rename ", from, " to ", to));
}

}  // namespace

absl::Status CheckParentModelOutput(const std::string& output, bool overwrite) {
  std::error_code ignored;
  if (!Exists(output)) {
    if (!fs::is_symlink(output, ignored)) return absl::OkStatus();
    return absl::AlreadyExistsError(
        absl::StrCat(output, ": a link to nothing; make the folder first"));
  }
  if (!fs::is_directory(output, ignored)) {
    return absl::AlreadyExistsError(absl::StrCat(
        output, ": exists and is no folder; choose another output"));
  }
  ASSIGN_OR_RETURN(std::vector<std::string> names, List(output));
  // The second is what mkfs puts into every volume.
  std::erase_if(names, [](const std::string& name) {
    return name == kPartial || name == "lost+found";
  });
  if (names.empty()) return absl::OkStatus();
  const auto foreign =
      std::find_if(names.begin(), names.end(), [](const std::string& name) {
        return name != kConfig && !IsPayload(name);
      });
  // A run that was killed while it moved its files here?
  if (!Exists(absl::StrCat(output, "/", kConfig)) &&
      Exists(absl::StrCat(PartialFolder(output), "/", kConfig)) &&
      (overwrite || foreign == names.end())) {
    return absl::OkStatus();
  }
  if (const auto model = ParentModelFile::Open(output, {}); !model.ok()) {
    return absl::AlreadyExistsError(absl::StrCat(
        output, ": holds \"", foreign == names.end() ? names[0] : *foreign,
        "\" and no parent model (", model.status().message(),
        "); choose another output"));
  }
  if (overwrite) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat(output,
                   ": already holds a complete parent model; pass "
                   "--overwrite to replace it"));
}

std::string PartialFolder(const std::string& output) {
  std::string path = output;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return absl::StrCat(path, Exists(path) ? "/" : "", kPartial);
}

std::string WorkFolder(const std::string& partial) {
  return absl::StrCat(partial, "/scratch");
}

absl::Status CopyTokenizerFiles(const Checkpoint& checkpoint,
                                const std::string& folder) {
  if (checkpoint.gguf() != nullptr) {
    // With its architecture, which readers of GGUF ask for first.
    const std::vector<std::string> prefixes = {"general.architecture",
                                               "tokenizer."};
    return checkpoint.gguf()->WriteMetadata(
        absl::StrCat(folder, "/tokenizer.gguf"), prefixes);
  }
  for (const char* name : kTokenizerFiles) {
    const auto file =
        MappedFile::Open(absl::StrCat(checkpoint.path(), "/", name));
    if (absl::IsNotFound(file.status())) continue;
    RETURN_IF_ERROR(file.status());
    const std::span<const std::byte> bytes = (*file)->bytes();
    RETURN_IF_ERROR(WriteFileAtomically(
        absl::StrCat(folder, "/", name),
        {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  }
  return absl::OkStatus();
}

absl::Status RemoveFile(const std::string& path) {
  std::error_code error;
  fs::remove(path, error);
  if (!error) return absl::OkStatus();
  return absl::ErrnoToStatus(error.value(), absl::StrCat("remove ", path));
}

absl::Status RemoveModelFiles(const std::string& folder) {
  RETURN_IF_ERROR(RemoveFile(absl::StrCat(folder, "/", kConfig)));
  // What follows must not outlive a crash that this does not.
  RETURN_IF_ERROR(SyncDirectory(folder));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, List(folder));
  for (const std::string& name : names) {
    if (!IsPayload(name)) continue;
    RETURN_IF_ERROR(RemoveFile(absl::StrCat(folder, "/", name)));
  }
  return SyncDirectory(folder);
}

absl::Status MoveModelFiles(const std::string& from, const std::string& to) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, List(from));
  const auto move = [&](absl::string_view name) {
    return MoveFile(absl::StrCat(from, "/", name), absl::StrCat(to, "/", name));
  };
  for (const std::string& name : names) {
    if (IsPayload(name)) RETURN_IF_ERROR(move(name));
  }
  RETURN_IF_ERROR(SyncDirectory(to));
  RETURN_IF_ERROR(move(kConfig));
  return SyncDirectory(to);
}

}  // namespace anyprec
