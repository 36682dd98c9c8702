#include "kernels/cuda/kv_storage.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/status_macros.h"
#include "kernels/validation.h"

namespace anyprec {
namespace {

size_t LayerBytes(const KvLayout& layout, KvType type) {
  const size_t element = type == KvType::kFloat16 ? 2 : 4;
  return size_t{2} * layout.num_blocks * layout.kv_heads * layout.block_tokens *
         layout.head_dim * element;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceKv>> DeviceKv::Create(
    const KvLayout& layout, KvType type, CudaStream& stream) {
  RETURN_IF_ERROR(ValidateKvLayout(layout));
  if (layout.head_dim > kMaxAttentionHeadDim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "KV cache with heads of ", layout.head_dim,
        ": CUDA's attention takes at most ", kMaxAttentionHeadDim));
  }
  ASSIGN_OR_RETURN(DeviceMemory memory,
                   stream.Allocate(layout.layers * LayerBytes(layout, type),
                                   "the KV cache"));
  return std::unique_ptr<DeviceKv>(
      new DeviceKv(layout, type, std::move(memory)));
}

KvLayerView DeviceKv::layer(int layer) const {
  ANYPREC_CHECK(layer >= 0 && layer < layout_.layers)
      << "layer " << layer << " of " << layout_.layers;
  return {.blocks = static_cast<char*>(memory_.data()) +
                    layer * LayerBytes(layout_, type_),
          .half = type_ == KvType::kFloat16,
          .kv_heads = layout_.kv_heads,
          .head_dim = layout_.head_dim,
          .block_tokens = layout_.block_tokens};
}

}  // namespace anyprec
