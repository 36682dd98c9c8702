#include "runtime/format/parent_model_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "kernels/bit_plane.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "runtime/format/crc32c.h"
#include "runtime/format/file_writer.h"
#include "runtime/format/json.h"
#include "runtime/format/mapped_file.h"
#include "runtime/format/parent_model_folder.h"
#include "runtime/format/scale_range.h"

namespace anyprec {
namespace {

namespace fs = std::filesystem;

// One line a commit; FORMAT.md, "While it is being written".
constexpr char kJournal[] = "journal";
constexpr char kJournalHead[] = "anyprec-journal 1 ";
// A line takes some 100 bytes for each tensor of a layer.
constexpr size_t kMaxJournalBytes = 64 << 20;

// The journal's last line, once nothing is left but to move the files.
constexpr char kMoving[] = "moving";

std::string WithoutTrailingSlashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// "12ab34cd,0123abcd" -> two numbers; nullopt where a part is no hex number.
std::optional<std::vector<uint32_t>> ParseChecksums(absl::string_view text) {
  std::vector<uint32_t> checksums;
  for (const absl::string_view digits : absl::StrSplit(text, ',')) {
    uint32_t checksum = 0;
    if (!absl::SimpleHexAtoi(digits, &checksum)) return std::nullopt;
    checksums.push_back(checksum);
  }
  return checksums;
}

// A journal line is "<crc32c of the text> <text>".
std::string SealLine(absl::string_view text) {
  const uint32_t crc =
      Crc32c(std::as_bytes(std::span(text.data(), text.size())));
  return absl::StrFormat("%08x %s\n", crc, text);
}

// The text of a line; nullopt where it is torn or damaged.
std::optional<absl::string_view> UnsealLine(absl::string_view line) {
  constexpr size_t kSealBytes = 9;
  if (line.size() < kSealBytes) return std::nullopt;
  const absl::string_view text = line.substr(kSealBytes);
  if (absl::StrCat(line, "\n") != SealLine(text)) return std::nullopt;
  return text;
}

// What a layer has for one precision, in the order of PrecisionTensors().
struct PrecisionValues {
  int precision = 0;
  int group_size = -1;
  std::vector<std::span<const Float16>> tensors;
};

PrecisionValues ValuesOf(const Codebook& codebook) {
  return {.precision = codebook.precision, .tensors = {codebook.data}};
}

PrecisionValues ValuesOf(const GroupScales& scales) {
  return {.precision = scales.precision,
          .group_size = scales.group_size,
          .tensors = {scales.alpha, scales.beta}};
}

}  // namespace

ParentModelWriter::ParentModelWriter(std::string output, ModelConfig config,
                                     Options options)
    : output_(std::move(output)),
      partial_(PartialFolder(output_)),
      in_place_(absl::StartsWith(partial_, output_ + "/")),
      config_(std::move(config)),
      options_(std::move(options)) {
  for (int layer = 0; layer <= config_.num_layers; ++layer) {
    for (const TensorInfo& info : DenseTensorSpecs(config_, layer)) {
      dtypes_.emplace(info.name, info.dtype);
    }
    if (layer == config_.num_layers) break;
    for (LinearSpec& linear : LinearSpecs(config_, layer)) {
      const std::string name = linear.name;
      linears_.emplace(name, std::move(linear));
    }
  }
}

ParentModelWriter::~ParentModelWriter() {
  if (journal_ >= 0) close(journal_);
}

absl::StatusOr<std::unique_ptr<ParentModelWriter>> ParentModelWriter::Open(
    const std::string& output_path, const ModelConfig& config,
    Options options) {
  const std::string output = WithoutTrailingSlashes(output_path);
  ANYPREC_CHECK(config.quantization.has_value()) << output;
  RETURN_IF_ERROR(ValidateModelConfig(config, output));
  RETURN_IF_ERROR(CheckParentModelOutput(output, options.overwrite));
  std::unique_ptr<ParentModelWriter> writer(
      new ParentModelWriter(output, config, std::move(options)));
  // Before anything is written: the configuration must be one we can read.
  RETURN_IF_ERROR(writer->ConfigJson().status());
  std::error_code error;
  fs::create_directories(writer->partial_, error);
  if (error) {
    return absl::ErrnoToStatus(error.value(),
                               absl::StrCat("create ", writer->partial_));
  }
  RETURN_IF_ERROR(writer->OpenJournal());
  return writer;
}

// Takes the lock, reads what an earlier run has committed, and opens the
// tensors accordingly.
absl::Status ParentModelWriter::OpenJournal() {
  const std::string path = absl::StrCat(partial_, "/", kJournal);
  journal_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (journal_ < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("create ", path));
  }
  if (flock(journal_, LOCK_EX | LOCK_NB) != 0) {
    return absl::UnavailableError(
        absl::StrCat(output_, ": another process is writing it"));
  }
  const absl::StatusOr<std::string> text =
      ReadSmallFile(path, kMaxJournalBytes);
  RETURN_IF_ERROR(text.status());
  const std::string head = SealLine(absl::StrCat(
      kJournalHead, absl::CEscape(options_.fingerprint), " ",
      options_.max_shard_bytes, " ", absl::CEscape(*ConfigJson())));
  SafetensorsWriter::Options options;
  options.max_shard_bytes = options_.max_shard_bytes;
  options.metadata["format"] = "anyprec";
  options.metadata["format_version"] = kParentModelVersion;
  options.resume = absl::StartsWith(*text, head);
  if (options.resume && absl::EndsWith(*text, SealLine(kMoving))) {
    // Without config.json, which moves last, it is a finished model's journal.
    std::error_code ignored;
    moving_ = fs::exists(absl::StrCat(partial_, "/config.json"), ignored);
    options.resume = moving_;
  }
  const bool resume = options.resume;
  if (!resume) RETURN_IF_ERROR(StartAfresh());
  if (!moving_) {
    ASSIGN_OR_RETURN(tensors_, SafetensorsWriter::Create(
                                   partial_, ParentModelTensors(config_),
                                   std::move(options)));
  }
  if (!resume) return AppendToJournal(head);
  journal_bytes_ = head.size();
  absl::string_view rest = absl::string_view(*text).substr(head.size());
  // A torn or damaged line ends what can be trusted.
  for (size_t end = rest.find('\n'); end != absl::string_view::npos;
       end = rest.find('\n')) {
    if (!ReplayLine(rest.substr(0, end))) break;
    journal_bytes_ += end + 1;
    rest.remove_prefix(end + 1);
  }
  if (!moving_) return absl::OkStatus();
  return CheckAllCommitted();
}

// A commit's line: "layer <index> <note> <name>=<crc>,<crc>... ...".
bool ParentModelWriter::ReplayLine(absl::string_view line) {
  const std::optional<absl::string_view> text = UnsealLine(line);
  if (!text.has_value()) return false;
  const std::vector<absl::string_view> words = absl::StrSplit(*text, ' ');
  int layer = 0;
  std::string note;
  if (words.size() < 3 || words[0] != "layer" ||
      !absl::SimpleAtoi(words[1], &layer) ||
      !absl::WebSafeBase64Unescape(words[2], &note)) {
    return false;
  }
  const std::vector<std::string> names = TensorNames(layer);
  if (words.size() != 3 + names.size()) return false;
  for (size_t i = 0; i < names.size(); ++i) {
    absl::string_view checksums = words[3 + i];
    if (!absl::ConsumePrefix(&checksums, absl::StrCat(names[i], "="))) {
      return false;
    }
    std::optional<std::vector<uint32_t>> parsed = ParseChecksums(checksums);
    if (!parsed.has_value()) return false;
    if (!moving_ && !tensors_->MarkWritten(names[i], *std::move(parsed)).ok()) {
      return false;
    }
  }
  notes_[layer] = std::move(note);
  return true;
}

// Removes what a run with other settings has left, but for the locked journal
// and what the caller keeps.
absl::Status ParentModelWriter::StartAfresh() {
  std::error_code error;
  std::vector<fs::path> stale;
  for (fs::directory_iterator entry(partial_, error), end;
       !error && entry != end; entry.increment(error)) {
    const fs::path& path = entry->path();
    if (path.filename() != kJournal && path != WorkFolder(partial_)) {
      stale.push_back(path);
    }
  }
  if (error) {
    return absl::ErrnoToStatus(error.value(), absl::StrCat("list ", partial_));
  }
  discarded_earlier_run_ = !stale.empty();
  for (const fs::path& path : stale) RETURN_IF_ERROR(RemoveFile(path));
  if (ftruncate(journal_, 0) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno,
                             absl::StrCat("truncate the journal of ", output_));
}

absl::Status ParentModelWriter::AppendToJournal(absl::string_view line) {
  const std::string path = absl::StrCat(partial_, "/", kJournal);
  // Over a torn line of an earlier run, if there is one.
  RETURN_IF_ERROR(WriteAt(journal_, path, journal_bytes_,
                          std::as_bytes(std::span(line.data(), line.size()))));
  journal_bytes_ += line.size();
  if (ftruncate(journal_, static_cast<off_t>(journal_bytes_)) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("truncate ", path));
  }
  return SyncFile(journal_, path);
}

std::vector<std::string> ParentModelWriter::TensorNames(int layer) const {
  std::vector<std::string> names;
  if (layer < 0 || layer > config_.num_layers) return names;
  for (TensorInfo& info : DenseTensorSpecs(config_, layer)) {
    names.push_back(std::move(info.name));
  }
  if (layer == config_.num_layers) return names;
  for (const LinearSpec& linear : LinearSpecs(config_, layer)) {
    for (auto& tensor : LinearTensors(*config_.quantization, linear)) {
      names.push_back(std::move(tensor.info.name));
    }
  }
  return names;
}

absl::Status ParentModelWriter::WriteLinear(absl::string_view name,
                                            const QuantizedLinear& linear) {
  const auto found = linears_.find(name);
  ANYPREC_CHECK(found != linears_.end()) << "no linear layer " << name;
  const LinearSpec& spec = found->second;
  const QuantizationConfig& quantization = *config_.quantization;
  const auto planes = static_cast<size_t>(quantization.parent_bits);
  const size_t precisions = planes - quantization.seed_bits + 1;
  const bool scales = quantization.has_scales();
  const size_t codebooks_needed = scales ? 0 : precisions;
  const size_t scales_needed = scales ? precisions : 0;
  const BitPlaneMatrix& matrix = linear.matrix;
  if (matrix.n != spec.n || matrix.k != spec.k ||
      matrix.planes.size() != planes ||
      linear.codebooks.size() != codebooks_needed ||
      linear.scales.size() != scales_needed) {
    return absl::InvalidArgumentError(absl::StrCat(
        output_, ": layer \"", name, "\" has ", matrix.planes.size(),
        " planes of [", matrix.n, ", ", matrix.k, "], ",
        linear.codebooks.size(), " codebooks and ", linear.scales.size(),
        " sets of scales, needed are ", planes, " of [", spec.n, ", ", spec.k,
        "], ", codebooks_needed, " and ", scales_needed));
  }
  const size_t words = static_cast<size_t>(spec.n) * matrix.words_per_row();
  for (const uint32_t* plane : matrix.planes) {
    RETURN_IF_ERROR(tensors_->Append(PlanesName(name),
                                     std::as_bytes(std::span(plane, words))));
  }
  for (size_t i = 0; i < precisions; ++i) {
    const int p = quantization.seed_bits + static_cast<int>(i);
    const PrecisionValues values =
        scales ? ValuesOf(linear.scales[i]) : ValuesOf(linear.codebooks[i]);
    if (values.precision != p || values.group_size != quantization.group_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          output_, ": layer \"", name, "\" has values for ", values.precision,
          " bits and groups of ", values.group_size, ", needed are ", p,
          " and ", quantization.group_size));
    }
    const std::vector<TensorInfo> infos =
        PrecisionTensors(quantization, spec, p);
    for (size_t tensor = 0; tensor < infos.size(); ++tensor) {
      RETURN_IF_ERROR(WriteHalves(infos[tensor], values.tensors[tensor]));
    }
    if (scales) {
      RETURN_IF_ERROR(CheckScaleRange(
          linear.scales[i], GroupCount(spec.k, quantization.group_size),
          absl::StrCat(output_, ": tensor \"", infos[0].name, "\"")));
    }
  }
  return absl::OkStatus();
}

absl::Status ParentModelWriter::WriteHalves(const TensorInfo& info,
                                            std::span<const Float16> values) {
  const std::string where =
      absl::StrCat(output_, ": tensor \"", info.name, "\"");
  const int64_t needed = *NumElements(info.shape);
  if (static_cast<int64_t>(values.size()) != needed) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " has ", values.size(), " values, needed are ",
                     needed, " for ", ShapeToString(info.shape)));
  }
  const auto bytes = std::as_bytes(values);
  RETURN_IF_ERROR(CheckFinite(DType::kF16, bytes, where));
  return tensors_->Append(info.name, bytes);
}

absl::Status ParentModelWriter::WriteDense(absl::string_view name,
                                           std::span<const float> values) {
  const auto found = dtypes_.find(name);
  ANYPREC_CHECK(found != dtypes_.end()) << "no dense tensor " << name;
  const std::string where = absl::StrCat(output_, ": tensor \"", name, "\"");
  RETURN_IF_ERROR(CheckFinite(DType::kF32, std::as_bytes(values), where));
  if (found->second == DType::kF32) {
    return tensors_->Append(name, std::as_bytes(values));
  }
  ANYPREC_CHECK(found->second == DType::kF16) << where;
  // Converted in pieces, so that an embedding needs no second copy.
  std::array<Float16, 1 << 14> halves;
  while (!values.empty()) {
    const size_t count = std::min(values.size(), halves.size());
    std::transform(values.begin(), values.begin() + count, halves.begin(),
                   [](float value) { return ToFloat16(value); });
    const auto bytes = std::as_bytes(std::span(halves).first(count));
    RETURN_IF_ERROR(
        CheckFinite(DType::kF16, bytes, absl::StrCat(where, " as fp16")));
    RETURN_IF_ERROR(tensors_->Append(name, bytes));
    values = values.subspan(count);
  }
  return absl::OkStatus();
}

absl::Status ParentModelWriter::WriteInt8(absl::string_view name,
                                          std::span<const int8_t> values) {
  const auto found = dtypes_.find(name);
  ANYPREC_CHECK(found != dtypes_.end() && found->second == DType::kI8)
      << "no int8 tensor " << name;
  return tensors_->Append(name, std::as_bytes(values));
}

absl::Status ParentModelWriter::CommitLayer(int layer, absl::string_view note) {
  ANYPREC_CHECK(layer >= 0 && layer <= config_.num_layers) << layer;
  std::string line =
      absl::StrCat("layer ", layer, " ", absl::WebSafeBase64Escape(note));
  for (const std::string& name : TensorNames(layer)) {
    if (!tensors_->IsComplete(name)) {
      return absl::FailedPreconditionError(absl::StrCat(
          output_, ": tensor \"", name, "\" was not written in full"));
    }
    absl::StrAppend(&line, " ", name, "=",
                    absl::StrJoin(tensors_->Checksums(name), ",",
                                  [](std::string* out, uint32_t checksum) {
                                    absl::StrAppendFormat(out, "%08x",
                                                          checksum);
                                  }));
  }
  // The journal must not know of a layer before the disk does.
  RETURN_IF_ERROR(tensors_->Sync());
  RETURN_IF_ERROR(AppendToJournal(SealLine(line)));
  notes_[layer] = std::string(note);
  return absl::OkStatus();
}

absl::Status ParentModelWriter::CopyTokenizer(const Checkpoint& checkpoint) {
  if (moving_) return absl::OkStatus();
  return CopyTokenizerFiles(checkpoint, partial_);
}

// The checkpoint's config.json with our fields on top.
absl::StatusOr<std::string> ParentModelWriter::ConfigJson() const {
  const std::string own = ModelConfigToJson(config_);
  const std::string source = absl::StrCat(output_, "/config.json");
  nlohmann::json merged = nlohmann::json::object();
  if (!options_.original_config_json.empty()) {
    ASSIGN_OR_RETURN(merged,
                     ParseJsonObject(options_.original_config_json, source));
  }
  ASSIGN_OR_RETURN(const nlohmann::json ours, ParseJsonObject(own, source));
  merged.update(ours);
  std::string text =
      merged.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
      "\n";
  RETURN_IF_ERROR(ParseModelConfig(text, source).status());
  return text;
}

absl::Status ParentModelWriter::CheckAllCommitted() const {
  for (int layer = 0; layer <= config_.num_layers; ++layer) {
    if (IsCommitted(layer)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(output_, ": layer ", layer, " of ", config_.num_layers,
                     " was not committed"));
  }
  return absl::OkStatus();
}

absl::Status ParentModelWriter::Finish() {
  RETURN_IF_ERROR(CheckAllCommitted());
  if (!moving_) {
    ASSIGN_OR_RETURN(const std::string config, ConfigJson());
    RETURN_IF_ERROR(
        WriteFileAtomically(absl::StrCat(partial_, "/config.json"), config));
    RETURN_IF_ERROR(tensors_->Finish());
  }
  std::error_code error;
  fs::remove_all(WorkFolder(partial_), error);
  if (error) {
    return absl::ErrnoToStatus(error.value(), absl::StrCat("clear ", partial_));
  }
  RETURN_IF_ERROR(SyncDirectory(partial_));
  return in_place_ ? MoveIntoOutput() : RenameToOutput();
}

// A crash at any point leaves the old model or, with the journal, the new one.
absl::Status ParentModelWriter::MoveIntoOutput() {
  if (!moving_) {
    RETURN_IF_ERROR(RemoveModelFiles(output_));
    // From here on, what has a model's name in the output is the new model's.
    RETURN_IF_ERROR(AppendToJournal(SealLine(kMoving)));
  }
  RETURN_IF_ERROR(MoveModelFiles(partial_, output_));
  RETURN_IF_ERROR(RemoveFile(absl::StrCat(partial_, "/", kJournal)));
  RETURN_IF_ERROR(RemoveFile(partial_));
  return SyncDirectory(output_);
}

absl::Status ParentModelWriter::RenameToOutput() {
  if (rename(partial_.c_str(), output_.c_str()) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("rename ", partial_, " to ", output_));
  }
  // Not before: without it, all would be lost where the rename fails.
  RETURN_IF_ERROR(RemoveFile(absl::StrCat(output_, "/", kJournal)));
  const fs::path parent = fs::path(output_).parent_path();
  return SyncDirectory(parent.empty() ? "." : parent.string());
}

}  // namespace anyprec
