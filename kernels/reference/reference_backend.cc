#include "kernels/reference/reference_backend.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/reference/reference_linear.h"
#include "kernels/reference/reference_sampler.h"
#include "kernels/status_macros.h"
#include "kernels/validation.h"

namespace anyprec {
namespace {

class ReferenceBuffer final : public Buffer {
 public:
  explicit ReferenceBuffer(size_t size) : values_(size) {}
  float* data() override { return values_.data(); }
  size_t size() const override { return values_.size(); }

 private:
  std::vector<float> values_;
};

// Keys and values as [layer, block, token in block, k or v, kv head, head_dim].
class ReferenceKv final : public KvStorage {
 public:
  ReferenceKv(const KvLayout& layout, KvType type)
      : layout_(layout),
        type_(type),
        values_(static_cast<size_t>(layout.layers) * layout.num_blocks *
                layout.block_tokens * 2 * layout.kv_heads * layout.head_dim) {}

  const KvLayout& layout() const override { return layout_; }
  size_t BytesResident() const override {
    return values_.size() * sizeof(float);
  }

  const float* Key(int layer, const SequenceRows& sequence, int position,
                   int head) const {
    return values_.data() + Index(layer, sequence, position, 0, head);
  }
  const float* Value(int layer, const SequenceRows& sequence, int position,
                     int head) const {
    return values_.data() + Index(layer, sequence, position, 1, head);
  }

  void Write(int layer, const SequenceRows& sequence, int position, int head,
             const float* key, const float* value) {
    float* k = values_.data() + Index(layer, sequence, position, 0, head);
    float* v = values_.data() + Index(layer, sequence, position, 1, head);
    for (int i = 0; i < layout_.head_dim; ++i) {
      k[i] = Stored(key[i]);
      v[i] = Stored(value[i]);
    }
  }

 private:
  float Stored(float x) const {
    return type_ == KvType::kFloat16 ? ToFloat(ToFloat16(x)) : x;
  }

  size_t Index(int layer, const SequenceRows& sequence, int position,
               int key_or_value, int head) const {
    const size_t block = sequence.blocks[position / layout_.block_tokens];
    const size_t token =
        (layer * layout_.num_blocks + block) * layout_.block_tokens +
        position % layout_.block_tokens;
    return ((token * 2 + key_or_value) * layout_.kv_heads + head) *
           layout_.head_dim;
  }

  const KvLayout layout_;
  const KvType type_;
  std::vector<float> values_;
};

double Dot(const float* a, const float* b, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// Rotates the pairs (i, i + head_dim / 2) of `head` by the angles of `rope`.
void Rotate(const float* rope, int head_dim, float* head) {
  const int half = head_dim / 2;
  for (int i = 0; i < half; ++i) {
    const double cos = rope[i];
    const double sin = rope[half + i];
    const double a = head[i];
    const double b = head[half + i];
    head[i] = static_cast<float>(a * cos - b * sin);
    head[half + i] = static_cast<float>(b * cos + a * sin);
  }
}

// softmax(scores), in place.
void Softmax(std::vector<double>& scores) {
  const double max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - max);
  for (double& score : scores) score /= sum;
}

class ReferenceBackend final : public Backend {
 public:
  absl::string_view name() const override { return "reference"; }

  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t floats) override {
    return std::make_unique<ReferenceBuffer>(floats);
  }

  absl::Status CopyFromHost(std::span<const float> source,
                            float* destination) override {
    std::copy(source.begin(), source.end(), destination);
    return absl::OkStatus();
  }

  absl::StatusOr<std::span<const float>> HostView(const float* data,
                                                  size_t floats) override {
    return std::span<const float>(data, floats);
  }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadBitPlanes(
      std::span<const QuantizedLinear> parts) override {
    RETURN_IF_ERROR(ValidateBitPlanes(parts));
    return CopyBitPlanes(parts);
  }

  absl::StatusOr<std::unique_ptr<LinearWeights>> LoadDense(
      std::span<const DenseMatrix> parts) override {
    RETURN_IF_ERROR(ValidateDense(parts));
    return CopyDense(parts);
  }

  absl::StatusOr<std::unique_ptr<KvStorage>> AllocateKv(const KvLayout& layout,
                                                        KvType type) override {
    RETURN_IF_ERROR(ValidateKvLayout(layout));
    return std::make_unique<ReferenceKv>(layout, type);
  }

  absl::Status Linear(const LinearWeights& weights,
                      std::span<const RowGroup> groups, const float* x,
                      float* y, bool accumulate) override {
    const auto& layer = static_cast<const ReferenceLinear&>(weights);
    const size_t n = layer.n();
    const size_t k = layer.k();
    for (const RowGroup& group : groups) {
      for (size_t i = 0; i < n; ++i) {
        const std::vector<float> w = layer.Row(i, group.precision);
        for (int row = group.begin; row < group.end; ++row) {
          const double product = Dot(w.data(), x + row * k, k);
          const double before = accumulate ? y[row * n + i] : 0;
          y[row * n + i] = static_cast<float>(before + product);
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status Embed(const LinearWeights& weights, std::span<const int32_t> ids,
                     float* y) override {
    const auto& layer = static_cast<const ReferenceLinear&>(weights);
    RETURN_IF_ERROR(ValidateIds(ids, layer.n()));
    for (const int32_t id : ids) {
      const std::vector<float> row = layer.Row(id, /*precision=*/0);
      y = std::copy(row.begin(), row.end(), y);
    }
    return absl::OkStatus();
  }

  absl::Status RmsNorm(const float* x, const float* weight, int rows, int n,
                       float epsilon, float* y) override {
    for (int row = 0; row < rows; ++row, x += n, y += n) {
      const double mean_square = Dot(x, x, n) / n;
      const double scale = 1 / std::sqrt(mean_square + epsilon);
      for (int i = 0; i < n; ++i) {
        y[i] = static_cast<float>(x[i] * scale * weight[i]);
      }
    }
    return absl::OkStatus();
  }

  absl::Status RopeAndAppendKv(const AttentionShape& shape,
                               std::span<const SequenceRows> sequences,
                               const float* rope, int layer, KvStorage& kv,
                               float* qkv) override {
    auto& cache = static_cast<ReferenceKv&>(kv);
    const size_t head_dim = shape.head_dim;
    const size_t width = (shape.heads + 2 * shape.kv_heads) * head_dim;
    for (const SequenceRows& sequence : sequences) {
      for (int i = 0; i < sequence.rows; ++i) {
        float* q = qkv + (sequence.first_row + i) * width;
        float* k = q + shape.heads * head_dim;
        const float* v = k + shape.kv_heads * head_dim;
        const size_t position = sequence.position + i;
        for (int head = 0; head < shape.heads + shape.kv_heads; ++head) {
          Rotate(rope + position * head_dim, shape.head_dim,
                 q + head * head_dim);
        }
        for (int head = 0; head < shape.kv_heads; ++head) {
          cache.Write(layer, sequence, static_cast<int>(position), head,
                      k + head * head_dim, v + head * head_dim);
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status Attention(const AttentionShape& shape,
                         std::span<const SequenceRows> sequences, int layer,
                         const KvStorage& kv, const float* qkv,
                         float* y) override {
    const auto& cache = static_cast<const ReferenceKv&>(kv);
    const size_t head_dim = shape.head_dim;
    const size_t width = (shape.heads + 2 * shape.kv_heads) * head_dim;
    for (const SequenceRows& sequence : sequences) {
      for (int i = 0; i < sequence.rows; ++i) {
        const size_t row = sequence.first_row + i;
        for (int head = 0; head < shape.heads; ++head) {
          AttendOneHead(shape, sequence, layer, cache, sequence.position + i,
                        head, qkv + row * width + head * head_dim,
                        y + (row * shape.heads + head) * head_dim);
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status SiluMul(const float* gate_up, int rows, int n,
                       float* y) override {
    for (int row = 0; row < rows; ++row, gate_up += 2 * n, y += n) {
      for (int i = 0; i < n; ++i) {
        const double gate = gate_up[i];
        const double silu = gate / (1 + std::exp(-gate));
        y[i] = static_cast<float>(silu * gate_up[n + i]);
      }
    }
    return absl::OkStatus();
  }

  absl::Status GatherRows(const float* x, std::span<const int32_t> rows, int n,
                          float* y) override {
    for (const int32_t row : rows) {
      y = std::copy_n(x + static_cast<size_t>(row) * n, n, y);
    }
    return absl::OkStatus();
  }

  absl::Status Sample(const float* x, std::span<const TokenDraw> draws, int n,
                      std::span<int32_t> tokens) override {
    for (size_t i = 0; i < draws.size(); ++i) {
      const float* const row = x + static_cast<size_t>(draws[i].row) * n;
      tokens[i] = ReferenceDraw({row, static_cast<size_t>(n)}, draws[i]);
    }
    return absl::OkStatus();
  }

 private:
  // y[head_dim] = sum over t <= position of
  //               softmax_t(q . key_t / sqrt(head_dim)) * value_t.
  static void AttendOneHead(const AttentionShape& shape,
                            const SequenceRows& sequence, int layer,
                            const ReferenceKv& kv, int position, int head,
                            const float* q, float* y) {
    const int kv_head = head / (shape.heads / shape.kv_heads);
    const double scale = 1 / std::sqrt(static_cast<double>(shape.head_dim));
    std::vector<double> weights(position + 1);
    for (int t = 0; t <= position; ++t) {
      const float* key = kv.Key(layer, sequence, t, kv_head);
      weights[t] = Dot(q, key, shape.head_dim) * scale;
    }
    Softmax(weights);
    for (int i = 0; i < shape.head_dim; ++i) {
      double sum = 0;
      for (int t = 0; t <= position; ++t) {
        sum += weights[t] * kv.Value(layer, sequence, t, kv_head)[i];
      }
      y[i] = static_cast<float>(sum);
    }
  }
};

}  // namespace

std::unique_ptr<Backend> CreateReferenceBackend() {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace anyprec
