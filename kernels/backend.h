// Backend: the one place where the runtime meets a device.
//
// A backend owns weights, activations and KV blocks in its own memory and runs
// the operations of a Llama-style decoder on them. Activations are fp32,
// row-major, one row a token; `float*` and `const float*` below point into the
// backend's memory (Allocate) and only HostView() makes them readable. Token
// ids, positions, row groups, block tables and draws are host memory, read
// before a call returns.
//
// Results never depend on batch mates: a row's output is a function of that
// row, its precision and its phase, bit for bit, whatever other rows share the
// call. Everything above (the same seed gives the same text) stands on it.
//
// Thread-compatible: one thread (the engine's) makes all calls. Operations may
// return before they have run; HostView() waits.
#ifndef ANYPREC_KERNELS_BACKEND_H_
#define ANYPREC_KERNELS_BACKEND_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/bit_plane.h"
#include "kernels/random_layer.h"
#include "kernels/sampling.h"

namespace anyprec {

// How a row's linear layers are computed. Prefill rows come many at a time and
// may use arithmetic that decodes a weight once for all of them; decode rows
// use the arithmetic of a bit-plane GEMV. The kind belongs to the row, not to
// the size of the batch, so that results stay independent of batch mates.
enum class Phase { kDecode, kPrefill };

// Rows [begin, end) of an activation matrix that share precision and phase.
struct RowGroup {
  int begin = 0;
  int end = 0;
  int precision = 0;  // ignored by dense layers
  Phase phase = Phase::kDecode;
};

// W[n, k] stored as numbers.
struct DenseMatrix {
  enum class Type { kFloat32, kFloat16, kBFloat16, kInt8 };
  Type type = Type::kFloat32;
  const void* data = nullptr;         // [n, k], row-major
  std::span<const float> row_scales;  // [n] for kInt8: W = data * scale
  int n = 0;
  int k = 0;
};

// One linear layer as the model file holds it: with codebooks or with scales,
// one of the two empty, the other in ascending precision.
struct QuantizedLinear {
  BitPlaneMatrix matrix;
  std::span<const Codebook> codebooks;
  std::span<const GroupScales> scales;

  int max_precision() const {
    return scales.empty() ? codebooks.back().precision
                          : scales.back().precision;
  }
};

// A linear layer in a backend's memory and layout.
class LinearWeights {
 public:
  virtual ~LinearWeights() = default;
  virtual int n() const = 0;
  virtual int k() const = 0;
  // Bytes that one decode step reads at `precision`: planes and codebook or
  // scales.
  virtual size_t BytesRead(int precision) const = 0;
  // Bytes held in the backend's memory.
  virtual size_t BytesResident() const = 0;
};

// fp32 memory of a backend.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual float* data() = 0;
  virtual size_t size() const = 0;  // in floats
};

// Shape of a paged KV cache. A block holds `block_tokens` consecutive positions
// of one sequence for all layers.
struct KvLayout {
  int layers = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int block_tokens = 16;
  int num_blocks = 0;
};

enum class KvType { kFloat32, kFloat16 };

// Keys and values of all sequences, by block index in [0, num_blocks).
class KvStorage {
 public:
  virtual ~KvStorage() = default;
  virtual const KvLayout& layout() const = 0;
  virtual size_t BytesResident() const = 0;
};

// The rows of one sequence in a step: `rows` consecutive tokens whose first
// stands at `position`. Positions [0, position) are already in the cache.
struct SequenceRows {
  int first_row = 0;
  int rows = 0;
  int position = 0;
  std::span<const int32_t> blocks;  // block table, covers position + rows
};

// The most that the steps of a model come to.
struct StepLimits {
  int rows = 0;
  int sequences = 0;
  int positions = 0;      // of a sequence
  int block_tokens = 16;  // KvLayout's
};

// Head counts of an attention layer. A row of `qkv` is
// [q: heads * head_dim | k: kv_heads * head_dim | v: kv_heads * head_dim].
struct AttentionShape {
  int heads = 0;
  int kv_heads = 0;  // divides heads
  int head_dim = 0;
};

// What the operations of a step work on, from Embed() to the last layer. Rows
// are covered once and in order, by sequences and by groups.
struct StepRows {
  std::span<const int32_t> tokens;  // of all rows
  std::span<const SequenceRows> sequences;
  std::span<const RowGroup> groups;
  AttentionShape shape;
  const KvStorage* kv = nullptr;
};

// Memory that belongs to a device alone.
struct DeviceMemoryInfo {
  size_t total_bytes = 0;
  size_t free_bytes = 0;  // other processes' use counted
};

class Backend {
 public:
  virtual ~Backend() = default;

  // "cpu (avx512, 2 threads, int16)".
  virtual absl::string_view name() const = 0;

  // Nothing where the backend lives in the machine's memory.
  virtual absl::StatusOr<std::optional<DeviceMemoryInfo>>
  GetDeviceMemoryInfo() {
    return std::nullopt;
  }

  // Takes the memory that operations work in beside their arguments, so that
  // none of a step within `limits` takes more, for a model with such attention
  // and `layers`. RESOURCE_EXHAUSTED names the bytes needed. By default
  // operations need none.
  virtual absl::Status ReserveScratch(
      const StepLimits& /*limits*/, const AttentionShape& /*attention*/,
      std::span<const LinearWeights* const> /*layers*/) {
    return absl::OkStatus();
  }

  // Zero-filled. RESOURCE_EXHAUSTED names the bytes needed.
  virtual absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t floats) = 0;

  virtual absl::Status CopyFromHost(std::span<const float> source,
                                    float* destination) = 0;

  // `floats` values at `data`, readable by the host until the next operation.
  virtual absl::StatusOr<std::span<const float>> HostView(const float* data,
                                                          size_t floats) = 0;

  // Stacks `parts` (all of one k) along n into one layer and copies it; the
  // views may die afterwards. Every part offers the same precisions, in the
  // same way. INVALID_ARGUMENT where shapes disagree or a value is not finite.
  virtual absl::StatusOr<std::unique_ptr<LinearWeights>> LoadBitPlanes(
      std::span<const QuantizedLinear> parts) = 0;

  // The same for unquantized or int8 layers, all of one type.
  virtual absl::StatusOr<std::unique_ptr<LinearWeights>> LoadDense(
      std::span<const DenseMatrix> parts) = 0;

  // A layer of random weights, the same in every backend: by default made in
  // the host's memory and loaded. INVALID_ARGUMENT as kernels/random_layer.h
  // says, and for a dense layer of another type than kInt8 and kFloat16.
  virtual absl::StatusOr<std::unique_ptr<LinearWeights>> LoadRandomBitPlanes(
      const RandomLayer& layer, int min_bits, int max_bits);
  virtual absl::StatusOr<std::unique_ptr<LinearWeights>> LoadRandomDense(
      const RandomLayer& layer, DenseMatrix::Type type);

  virtual absl::StatusOr<std::unique_ptr<KvStorage>> AllocateKv(
      const KvLayout& layout, KvType type) = 0;

  // Calls `operations`, which computes a step: it calls Embed(), Linear(),
  // RmsNorm(), RopeAndAppendKv(), Attention() and SiluMul(), no others, each
  // for all rows of `step` and with its very spans.
  //
  // A backend may record what is called and, for a later step that calls the
  // same with other rows, launch the record. It may then call `operations`
  // twice, and what that enqueues runs once.
  virtual absl::Status RunStep(const StepRows& /*step*/,
                               absl::FunctionRef<absl::Status()> operations) {
    return operations();
  }

  // Steps that were launched operation by operation because no memory was left
  // to record them. Safe to call from any thread.
  virtual int64_t StepsWithoutRecord() const { return 0; }

  // y[rows, n] = x[rows, k] * W^T, or y += x * W^T where `accumulate`. `groups`
  // are disjoint; rows in no group are left untouched.
  // REQUIRES: every group's precision was loaded.
  virtual absl::Status Linear(const LinearWeights& weights,
                              std::span<const RowGroup> groups, const float* x,
                              float* y, bool accumulate) = 0;

  // y[i] = W[ids[i]], for a layer from LoadDense.
  virtual absl::Status Embed(const LinearWeights& weights,
                             std::span<const int32_t> ids, float* y) = 0;

  // y = x / sqrt(mean(x^2) + epsilon) * weight, for each row of n.
  // `weight` [n]; x and y may be the same.
  virtual absl::Status RmsNorm(const float* x, const float* weight, int rows,
                               int n, float epsilon, float* y) = 0;

  // Rotates q and k of `qkv` in place (halves i and i + head_dim / 2 form a
  // pair, as HuggingFace stores Llama) and writes k and v into the cache.
  //   rope  [positions, head_dim]: cos then sin, head_dim / 2 of each
  virtual absl::Status RopeAndAppendKv(const AttentionShape& shape,
                                       std::span<const SequenceRows> sequences,
                                       const float* rope, int layer,
                                       KvStorage& kv, float* qkv) = 0;

  // Causal grouped-query attention of each row over its own sequence's cache,
  // scaled by 1 / sqrt(head_dim).
  //   qkv  [rows, (heads + 2 kv_heads) * head_dim], q already rotated
  //   y    [rows, heads * head_dim]
  virtual absl::Status Attention(const AttentionShape& shape,
                                 std::span<const SequenceRows> sequences,
                                 int layer, const KvStorage& kv,
                                 const float* qkv, float* y) = 0;

  // y[rows, n] = silu(gate) * up, with gate_up[rows, 2 n] = [gate | up].
  virtual absl::Status SiluMul(const float* gate_up, int rows, int n,
                               float* y) = 0;

  // y[i] = x[rows[i]], each a row of n floats: picks the rows that need logits.
  virtual absl::Status GatherRows(const float* x, std::span<const int32_t> rows,
                                  int n, float* y) = 0;

  // tokens[i] = what draws[i] draws from its row of x, each a row of n logits,
  // or kNotFinite: the same in every backend (kernels/sampling.h). Waits, as
  // HostView() does.
  // REQUIRES: n > 0; tokens.size() == draws.size().
  virtual absl::Status Sample(const float* x, std::span<const TokenDraw> draws,
                              int n, std::span<int32_t> tokens) = 0;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_BACKEND_H_
