#include "kernels/cpu/paged_kv.h"

#include "absl/status/status.h"
#include "kernels/status_macros.h"
#include "kernels/types.h"
#include "kernels/validation.h"

namespace anyprec {
namespace {

size_t ElementBytes(KvType type) { return type == KvType::kFloat16 ? 2 : 4; }

int RoundUp(int a, int b) { return (a + b - 1) / b * b; }

}  // namespace

PagedKv::PagedKv(const KvLayout& layout, KvType type)
    : layout_(layout),
      type_(type),
      value_width_(RoundUp(layout.head_dim, kPanelRows)),
      tiles_per_block_(RoundUp(layout.block_tokens, kPanelRows) / kPanelRows),
      key_tile_bytes_(ElementBytes(type) * kPanelRows * layout.head_dim),
      value_tile_bytes_(ElementBytes(type) * kPanelRows * value_width_),
      head_bytes_(tiles_per_block_ * (key_tile_bytes_ + value_tile_bytes_)) {}

absl::StatusOr<std::unique_ptr<PagedKv>> PagedKv::Create(const KvLayout& layout,
                                                         KvType type) {
  RETURN_IF_ERROR(ValidateKvLayout(layout));
  std::unique_ptr<PagedKv> kv(new PagedKv(layout, type));
  const size_t heads =
      static_cast<size_t>(layout.layers) * layout.num_blocks * layout.kv_heads;
  ASSIGN_OR_RETURN(kv->memory_,
                   HugePageBuffer::Create(heads * kv->head_bytes_));
  return kv;
}

void PagedKv::Write(const CpuKernels& kernels, int layer, int block, int slot,
                    int kv_head, const float* key, const float* value) {
  const int tile = slot / kPanelRows;
  const int lane = slot % kPanelRows;
  uint8_t* const keys =
      memory_.as<uint8_t>() + KeyOffset(layer, block, kv_head, tile);
  uint8_t* const values =
      memory_.as<uint8_t>() + ValueOffset(layer, block, kv_head, tile);
  const int head_dim = layout_.head_dim;
  if (type_ == KvType::kFloat16) {
    auto* const key_panel = reinterpret_cast<uint16_t*>(keys);
    for (int i = 0; i < head_dim; ++i) {
      key_panel[i * kPanelRows + lane] = ToFloat16(key[i]).bits;
    }
    kernels.to_float16(
        value, head_dim,
        reinterpret_cast<uint16_t*>(values) + lane * value_width_);
    return;
  }
  auto* const key_panel = reinterpret_cast<float*>(keys);
  for (int i = 0; i < head_dim; ++i) {
    key_panel[i * kPanelRows + lane] = key[i];
  }
  std::copy_n(value, head_dim,
              reinterpret_cast<float*>(values) + lane * value_width_);
}

}  // namespace anyprec
