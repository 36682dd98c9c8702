// PagedKv: the CPU backend's KV cache, laid out as attention's products read
// it.
//
// Each block of each layer holds, for each kv head, its tokens in tiles of 16:
//
//   keys    [tile][head_dim][16 tokens]   panels: a product with queries gives
//                                         the scores of 16 tokens in one vector
//   values  [tile][16 tokens][width]      width: head_dim rounded up to 16
//
// Blocks whose token count is no multiple of 16 leave the last lanes unused.
#ifndef ANYPREC_KERNELS_CPU_PAGED_KV_H_
#define ANYPREC_KERNELS_CPU_PAGED_KV_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cpu/huge_pages.h"
#include "kernels/cpu/kernel_table.h"

namespace anyprec {

// Thread-compatible; writes to different tokens may run in parallel.
class PagedKv final : public KvStorage {
 public:
  // INVALID_ARGUMENT as ValidateKvLayout says, RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<PagedKv>> Create(const KvLayout& layout,
                                                         KvType type);

  const KvLayout& layout() const override { return layout_; }
  size_t BytesResident() const override { return memory_.size(); }

  PanelType panel_type() const {
    return type_ == KvType::kFloat16 ? PanelType::kFloat16
                                     : PanelType::kFloat32;
  }
  // Floats of a token's value: head_dim rounded up to whole vectors.
  int value_width() const { return value_width_; }
  int tiles_per_block() const { return tiles_per_block_; }
  // Tokens of tile `tile` of a block.
  int tile_tokens(int tile) const {
    return std::min(kPanelRows, layout_.block_tokens - tile * kPanelRows);
  }

  const void* keys(int layer, int block, int kv_head, int tile) const {
    return memory_.as<uint8_t>() + KeyOffset(layer, block, kv_head, tile);
  }
  const void* values(int layer, int block, int kv_head, int tile) const {
    return memory_.as<uint8_t>() + ValueOffset(layer, block, kv_head, tile);
  }

  // Stores the key and value [head_dim] of token `slot` of a block.
  void Write(const CpuKernels& kernels, int layer, int block, int slot,
             int kv_head, const float* key, const float* value);

 private:
  PagedKv(const KvLayout& layout, KvType type);

  size_t KeyOffset(int layer, int block, int kv_head, int tile) const {
    const size_t head =
        (static_cast<size_t>(layer) * layout_.num_blocks + block) *
            layout_.kv_heads +
        kv_head;
    return head * head_bytes_ + tile * key_tile_bytes_;
  }
  size_t ValueOffset(int layer, int block, int kv_head, int tile) const {
    return KeyOffset(layer, block, kv_head, tiles_per_block_) +
           tile * value_tile_bytes_;
  }

  const KvLayout layout_;
  const KvType type_;
  const int value_width_;
  const int tiles_per_block_;
  const size_t key_tile_bytes_;
  const size_t value_tile_bytes_;
  const size_t head_bytes_;  // of one head in one block: its keys and values
  HugePageBuffer memory_;    // [layers, blocks, kv heads] of head_bytes_
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_PAGED_KV_H_
