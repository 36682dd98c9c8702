#include "runtime/model/llama_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

// The rows that are projected onto the vocabulary, in an order in which those
// of one phase stand together, and so do those whose logits are wanted:
//   decode draws | decode logits | prefill logits | prefill draws
// The projection is dense, so that rows of all precisions share a group and its
// weights are read once for each phase.
struct PickedRows {
  std::vector<int32_t> rows;     // of the step
  std::vector<RowGroup> groups;  // of `rows`
  std::vector<TokenDraw> draws;  // from `rows`, as StepInput::draws
  size_t first_logits = 0;       // into `rows`
};

PickedRows PickRows(const StepInput& step) {
  int decode_end = 0;
  for (const RowGroup& group : step.groups) {
    if (group.phase == Phase::kDecode) decode_end = group.end;
  }
  const std::span<const int32_t> logits = step.logit_rows;
  const auto prefill_logits = std::ranges::lower_bound(logits, decode_end);

  PickedRows picked;
  std::vector<int32_t>& rows = picked.rows;
  const auto pick = [&](TokenDraw draw) {
    rows.push_back(draw.row);
    draw.row = static_cast<int32_t>(rows.size()) - 1;
    picked.draws.push_back(draw);
  };
  auto draw = step.draws.begin();
  while (draw != step.draws.end() && draw->row < decode_end) pick(*draw++);
  picked.first_logits = rows.size();
  rows.insert(rows.end(), logits.begin(), logits.end());
  while (draw != step.draws.end()) pick(*draw++);

  const int decodes =
      static_cast<int>(picked.first_logits + (prefill_logits - logits.begin()));
  const int all = static_cast<int>(rows.size());
  const int precision = step.groups.front().precision;  // any will do
  if (decodes > 0) {
    picked.groups.push_back({0, decodes, precision, Phase::kDecode});
  }
  if (decodes < all) {
    picked.groups.push_back({decodes, all, precision, Phase::kPrefill});
  }
  return picked;
}

}  // namespace

absl::Status LlamaModel::Workspace::Reserve(const ModelConfig& config,
                                            Backend& backend, int rows,
                                            int logit_rows) {
  const size_t heads = config.num_heads, kv_heads = config.num_kv_heads;
  const size_t hidden = config.hidden_size;
  const size_t inner = config.intermediate_size;
  const auto grow = [&](std::unique_ptr<Buffer>& buffer, int count,
                        size_t width) -> absl::Status {
    const size_t floats = count * width;
    if (buffer != nullptr && buffer->size() >= floats) return absl::OkStatus();
    buffer.reset();
    ASSIGN_OR_RETURN(buffer, backend.Allocate(floats));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(grow(residual, rows, hidden));
  RETURN_IF_ERROR(grow(normed, std::max(rows, logit_rows), hidden));
  RETURN_IF_ERROR(grow(qkv, rows, (heads + 2 * kv_heads) * config.head_dim));
  RETURN_IF_ERROR(grow(attention, rows, heads * config.head_dim));
  RETURN_IF_ERROR(grow(gate_up, rows, 2 * inner));
  RETURN_IF_ERROR(grow(activated, rows, inner));
  return grow(logits, logit_rows, config.vocab_size);
}

LlamaModel::LlamaModel(ModelConfig config, Backend& backend)
    : config_(std::move(config)), backend_(backend) {}

LlamaModel::~LlamaModel() = default;

KvLayout LlamaModel::KvLayoutFor(int block_tokens, int num_blocks) const {
  return {.layers = config_.num_layers,
          .kv_heads = config_.num_kv_heads,
          .head_dim = config_.head_dim,
          .block_tokens = block_tokens,
          .num_blocks = num_blocks};
}

size_t LlamaModel::WeightBytesRead(int bits) const {
  size_t bytes = lm_head().BytesRead(bits);
  for (const Layer& layer : layers_) {
    bytes += layer.qkv->BytesRead(bits) + layer.attention_out->BytesRead(bits) +
             layer.gate_up->BytesRead(bits) + layer.down->BytesRead(bits);
  }
  return bytes;
}

size_t LlamaModel::WeightBytesResident() const {
  size_t bytes = embedding_->BytesResident();
  if (lm_head_ != nullptr) bytes += lm_head_->BytesResident();
  for (const Layer& layer : layers_) {
    bytes += layer.qkv->BytesResident() + layer.attention_out->BytesResident() +
             layer.gate_up->BytesResident() + layer.down->BytesResident();
  }
  return bytes;
}

absl::Status LlamaModel::ReserveMemory(const StepLimits& limits,
                                       int logit_rows) {
  RETURN_IF_ERROR(
      workspace_.Reserve(config_, backend_, limits.rows, logit_rows));
  std::vector<const LinearWeights*> layers = {&lm_head()};
  for (const Layer& layer : layers_) {
    layers.insert(layers.end(), {layer.qkv.get(), layer.attention_out.get(),
                                 layer.gate_up.get(), layer.down.get()});
  }
  return backend_.ReserveScratch(limits, attention_shape(), layers);
}

absl::StatusOr<StepOutput> LlamaModel::Forward(const StepInput& step,
                                               KvStorage& kv,
                                               ActivationObserver* observer) {
  const int rows = static_cast<int>(step.tokens.size());
  const int logit_rows =
      static_cast<int>(step.logit_rows.size() + step.draws.size());
  CheckStep(step);
  RETURN_IF_ERROR(workspace_.Reserve(config_, backend_, rows, logit_rows));

  const auto layers = [&] { return Layers(step, kv, observer); };
  if (observer != nullptr) {  // which looks at the layers' inputs meanwhile
    RETURN_IF_ERROR(layers());
  } else {
    RETURN_IF_ERROR(backend_.RunStep({.tokens = step.tokens,
                                      .sequences = step.sequences,
                                      .groups = step.groups,
                                      .shape = attention_shape(),
                                      .kv = &kv},
                                     layers));
  }
  return Output(step);
}

absl::Status LlamaModel::Layers(const StepInput& step, KvStorage& kv,
                                ActivationObserver* observer) {
  RETURN_IF_ERROR(
      backend_.Embed(*embedding_, step.tokens, workspace_.residual->data()));
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    RETURN_IF_ERROR(Attend(layer, step, kv, observer));
    RETURN_IF_ERROR(FeedForward(layer, step, observer));
  }
  return absl::OkStatus();
}

// residual += W_o * attention(rope(W_qkv * norm(residual)))
absl::Status LlamaModel::Attend(int index, const StepInput& step, KvStorage& kv,
                                ActivationObserver* observer) {
  const Layer& layer = layers_[index];
  const AttentionShape shape = attention_shape();
  const int rows = static_cast<int>(step.tokens.size());
  float* normed = workspace_.normed->data();
  float* qkv = workspace_.qkv->data();
  float* attention = workspace_.attention->data();

  RETURN_IF_ERROR(Norm(*layer.input_norm, rows, normed));
  RETURN_IF_ERROR(
      Observe(observer, index,
              {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
              normed, rows, layer.qkv->k()));
  RETURN_IF_ERROR(backend_.Linear(*layer.qkv, step.groups, normed, qkv, false));
  RETURN_IF_ERROR(backend_.RopeAndAppendKv(shape, step.sequences, rope_->data(),
                                           index, kv, qkv));
  RETURN_IF_ERROR(
      backend_.Attention(shape, step.sequences, index, kv, qkv, attention));
  RETURN_IF_ERROR(Observe(observer, index, {"self_attn.o_proj"}, attention,
                          rows, layer.attention_out->k()));
  return backend_.Linear(*layer.attention_out, step.groups, attention,
                         workspace_.residual->data(), true);
}

// residual += W_down * (silu(W_gate * x) * W_up * x), x = norm(residual)
absl::Status LlamaModel::FeedForward(int index, const StepInput& step,
                                     ActivationObserver* observer) {
  const Layer& layer = layers_[index];
  const int rows = static_cast<int>(step.tokens.size());
  float* normed = workspace_.normed->data();
  float* gate_up = workspace_.gate_up->data();
  float* activated = workspace_.activated->data();

  RETURN_IF_ERROR(Norm(*layer.post_attention_norm, rows, normed));
  RETURN_IF_ERROR(Observe(observer, index, {"mlp.gate_proj", "mlp.up_proj"},
                          normed, rows, layer.gate_up->k()));
  RETURN_IF_ERROR(
      backend_.Linear(*layer.gate_up, step.groups, normed, gate_up, false));
  RETURN_IF_ERROR(
      backend_.SiluMul(gate_up, rows, config_.intermediate_size, activated));
  RETURN_IF_ERROR(Observe(observer, index, {"mlp.down_proj"}, activated, rows,
                          layer.down->k()));
  return backend_.Linear(*layer.down, step.groups, activated,
                         workspace_.residual->data(), true);
}

absl::StatusOr<StepOutput> LlamaModel::Output(const StepInput& step) {
  const PickedRows picked = PickRows(step);
  const int rows = static_cast<int>(picked.rows.size());
  float* normed = workspace_.normed->data();
  float* logits = workspace_.logits->data();
  if (rows > 0) {
    RETURN_IF_ERROR(backend_.GatherRows(
        workspace_.residual->data(), picked.rows, config_.hidden_size, normed));
    RETURN_IF_ERROR(
        backend_.RmsNorm(normed, final_norm_->data(), rows, config_.hidden_size,
                         static_cast<float>(config_.rms_norm_eps), normed));
    RETURN_IF_ERROR(
        backend_.Linear(lm_head(), picked.groups, normed, logits, false));
  }
  StepOutput output;
  if (!step.draws.empty()) {
    tokens_.resize(step.draws.size());
    RETURN_IF_ERROR(
        backend_.Sample(logits, picked.draws, config_.vocab_size, tokens_));
    output.tokens = tokens_;
    if (step.logit_rows.empty()) return output;
  }
  // A step is over when Forward() returns, logits or not: its time is measured.
  const size_t vocab = config_.vocab_size;
  ASSIGN_OR_RETURN(output.logits,
                   backend_.HostView(logits + picked.first_logits * vocab,
                                     step.logit_rows.size() * vocab));
  return output;
}

absl::Status LlamaModel::Norm(Buffer& weight, int rows, float* y) {
  return backend_.RmsNorm(workspace_.residual->data(), weight.data(), rows,
                          config_.hidden_size,
                          static_cast<float>(config_.rms_norm_eps), y);
}

absl::Status LlamaModel::Observe(ActivationObserver* observer, int layer,
                                 std::initializer_list<absl::string_view> names,
                                 const float* x, int rows, int k) {
  if (observer == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::span<const float> host,
                   backend_.HostView(x, static_cast<size_t>(rows) * k));
  for (const absl::string_view name : names) {
    observer->OnLinearInput(absl::StrCat("model.layers.", layer, ".", name),
                            host.data(), rows, k);
  }
  return absl::OkStatus();
}

void LlamaModel::CheckStep(const StepInput& step) const {
  const int rows = static_cast<int>(step.tokens.size());
  ANYPREC_CHECK(rows > 0);
  for (const int32_t token : step.tokens) {
    ANYPREC_CHECK(token >= 0 && token < config_.vocab_size)
        << "token " << token << " of " << config_.vocab_size;
  }
  int next_row = 0;
  for (const SequenceRows& sequence : step.sequences) {
    ANYPREC_CHECK(sequence.first_row == next_row && sequence.rows > 0);
    ANYPREC_CHECK(sequence.position >= 0 &&
                  sequence.position + sequence.rows <= max_context_tokens_)
        << "positions up to " << sequence.position + sequence.rows << " of "
        << max_context_tokens_;
    next_row += sequence.rows;
  }
  ANYPREC_CHECK(next_row == rows) << next_row << " rows of " << rows;
  next_row = 0;
  for (const RowGroup& group : step.groups) {
    ANYPREC_CHECK(group.begin == next_row && group.end > group.begin);
    ANYPREC_CHECK(group.precision >= seed_bits_ && group.precision <= max_bits_)
        << "precision " << group.precision;
    next_row = group.end;
  }
  ANYPREC_CHECK(next_row == rows) << next_row << " grouped rows of " << rows;
  ANYPREC_CHECK(std::ranges::is_sorted(step.groups, {}, &RowGroup::phase));
  ANYPREC_CHECK(std::ranges::is_sorted(step.logit_rows));
  ANYPREC_CHECK(std::ranges::is_sorted(step.draws, {}, &TokenDraw::row));
}

}  // namespace anyprec
