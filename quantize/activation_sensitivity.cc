#include "quantize/activation_sensitivity.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "quantize/fingerprint.h"
#include "runtime/format/checkpoint.h"
#include "runtime/format/safetensors.h"
#include "runtime/format/safetensors_writer.h"
#include "runtime/format/tensor.h"
#include "runtime/model/llama_model.h"

namespace anyprec {
namespace {

constexpr char kCacheKey[] = "key";

// Sums of squares of every layer's inputs. In double: 50,000 terms of one sign.
class SquareSums : public ActivationObserver {
 public:
  void OnLinearInput(absl::string_view name, const float* x, int rows,
                     int k) override {
    Sums& sums = layers_[name];
    sums.squares.resize(k);
    sums.rows += rows;
    for (int row = 0; row < rows; ++row) {
      const float* values = x + static_cast<size_t>(row) * k;
      for (int i = 0; i < k; ++i) {
        const double value = values[i];
        sums.squares[i] += value * value;
      }
    }
  }

  // DATA_LOSS where an activation was NaN or infinite.
  absl::StatusOr<absl::flat_hash_map<std::string, std::vector<float>>> Means()
      const {
    absl::flat_hash_map<std::string, std::vector<float>> means;
    for (const auto& [name, sums] : layers_) {
      std::vector<float>& mean = means[name];
      for (const double square : sums.squares) {
        const double value = square / static_cast<double>(sums.rows);
        mean.push_back(static_cast<float>(value));
        if (!std::isfinite(mean.back())) {
          return absl::DataLossError(absl::StrCat(
              name, ": mean square of input ", mean.size() - 1, " is ", value,
              "; the checkpoint computes no finite activations"));
        }
      }
    }
    return means;
  }

 private:
  struct Sums {
    std::vector<double> squares;  // [k]
    int64_t rows = 0;
  };
  absl::flat_hash_map<std::string, Sums> layers_;
};

absl::Status CheckSequences(const std::vector<std::vector<int32_t>>& sequences,
                            const ModelConfig& config) {
  for (const std::vector<int32_t>& sequence : sequences) {
    if (static_cast<int>(sequence.size()) > config.max_position_embeddings) {
      return absl::InvalidArgumentError(absl::StrCat(
          "calibration sequences have ", sequence.size(),
          " tokens, the model's context has ", config.max_position_embeddings));
    }
    for (const int32_t token : sequence) {
      if (token < 0 || token >= config.vocab_size) {
        return absl::InvalidArgumentError(
            absl::StrCat("the tokenizer gives token ", token,
                         ", the model's vocabulary has ", config.vocab_size));
      }
    }
  }
  return absl::OkStatus();
}

std::string CacheFile(const std::string& directory) {
  return absl::StrCat(directory, "/model.safetensors");
}

}  // namespace

ActivationSensitivity::ActivationSensitivity(Options options, Backend& backend)
    : options_(std::move(options)), backend_(backend) {
  ANYPREC_CHECK(!options_.sequences.empty());
}

std::string ActivationSensitivity::fingerprint() const {
  uint64_t hash = kFnvOffset;
  for (const std::vector<int32_t>& sequence : options_.sequences) {
    for (const int32_t token : sequence) {
      hash = HashBytes(absl::StrCat(token, " "), hash);
    }
    hash = HashBytes("\n", hash);
  }
  return absl::StrCat("activation-", absl::Hex(hash, absl::kZeroPad16));
}

absl::StatusOr<SampleWeights> ActivationSensitivity::WeightsFor(
    absl::string_view layer, int /*n*/, int k) {
  if (mean_squares_.empty()) {
    ASSIGN_OR_RETURN(const std::string key, CacheKey());
    if (!LoadCache(key)) {
      RETURN_IF_ERROR(Measure());
      if (!options_.cache_path.empty()) RETURN_IF_ERROR(SaveCache(key));
    }
  }
  const auto found = mean_squares_.find(layer);
  const size_t inputs = found == mean_squares_.end() ? 0 : found->second.size();
  if (inputs != static_cast<size_t>(k)) {
    return absl::DataLossError(
        absl::StrCat(layer, ": activations of ", inputs,
                     " inputs were measured, the layer has ", k, "; delete ",
                     options_.cache_path, " to measure them again"));
  }
  return SampleWeights(found->second, k);
}

absl::Status ActivationSensitivity::Measure() {
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint,
                     Checkpoint::Open(options_.checkpoint));
    RETURN_IF_ERROR(CheckSequences(options_.sequences, checkpoint->config()));
  }
  const int tokens = static_cast<int>(options_.sequences[0].size());
  ASSIGN_OR_RETURN(
      const std::unique_ptr<LlamaModel> model,
      LlamaModel::LoadCheckpoint(options_.checkpoint,
                                 {.max_context_tokens = tokens}, backend_));

  constexpr int kBlockTokens = 16;
  const int blocks = (tokens + kBlockTokens - 1) / kBlockTokens;
  ASSIGN_OR_RETURN(const std::unique_ptr<KvStorage> kv,
                   backend_.AllocateKv(model->KvLayoutFor(kBlockTokens, blocks),
                                       KvType::kFloat32));
  std::vector<int32_t> block_table(blocks);
  for (int i = 0; i < blocks; ++i) block_table[i] = i;

  // One sequence a pass: its rows are batch enough for a matrix product.
  SquareSums sums;
  int done = 0;
  for (const std::vector<int32_t>& sequence : options_.sequences) {
    const int rows = static_cast<int>(sequence.size());
    const SequenceRows sequence_rows = {
        .first_row = 0, .rows = rows, .position = 0, .blocks = block_table};
    const RowGroup group = {.begin = 0,
                            .end = rows,
                            .precision = kUnquantizedBits,
                            .phase = Phase::kPrefill};
    const absl::Status status = model
                                    ->Forward({.tokens = sequence,
                                               .sequences = {&sequence_rows, 1},
                                               .groups = {&group, 1},
                                               .logit_rows = {}},
                                              *kv, &sums)
                                    .status();
    RETURN_IF_ERROR(status);
    if (options_.progress) options_.progress(++done);
  }
  ASSIGN_OR_RETURN(mean_squares_, sums.Means());
  return absl::OkStatus();
}

absl::StatusOr<std::string> ActivationSensitivity::CacheKey() const {
  ASSIGN_OR_RETURN(const std::string checkpoint,
                   PathFingerprint(options_.checkpoint));
  return absl::StrCat(checkpoint, "-", fingerprint());
}

// A cache that is missing, damaged or of another calibration is no error: it
// is measured again.
bool ActivationSensitivity::LoadCache(const std::string& key) {
  if (options_.cache_path.empty()) return false;
  const auto file = SafetensorsFile::Open(CacheFile(options_.cache_path));
  if (!file.ok()) return false;
  const auto found = (*file)->metadata().find(kCacheKey);
  if (found == (*file)->metadata().end() || found->second != key) return false;
  absl::flat_hash_map<std::string, std::vector<float>> means;
  for (const SafetensorsFile::Tensor& tensor : (*file)->tensors()) {
    const DenseTensor view = {
        tensor.info.dtype, tensor.info.shape, tensor.data, {}};
    auto values = ToFloats(view, tensor.info.name);
    if (!values.ok()) return false;
    means[tensor.info.name] = *std::move(values);
  }
  mean_squares_ = std::move(means);
  return true;
}

absl::Status ActivationSensitivity::SaveCache(const std::string& key) const {
  std::error_code error;
  std::filesystem::create_directories(options_.cache_path, error);
  if (error) {
    return absl::InternalError(
        absl::StrCat(options_.cache_path, ": ", error.message()));
  }
  std::vector<SafetensorsWriter::TensorSpec> specs;
  for (const auto& [name, values] : mean_squares_) {
    specs.push_back({.info = {.name = name,
                              .dtype = DType::kF32,
                              .shape = {static_cast<int64_t>(values.size())}},
                     .checksum_parts = 0});
  }
  SafetensorsWriter::Options writer_options;
  writer_options.metadata[kCacheKey] = key;
  ASSIGN_OR_RETURN(
      const std::unique_ptr<SafetensorsWriter> writer,
      SafetensorsWriter::Create(options_.cache_path, std::move(specs),
                                std::move(writer_options)));
  for (const auto& [name, values] : mean_squares_) {
    RETURN_IF_ERROR(writer->Append(name, std::as_bytes(std::span(values))));
  }
  return writer->Finish();
}

}  // namespace anyprec
