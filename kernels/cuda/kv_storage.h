// DeviceKv: the KV cache in a GPU's memory.
#ifndef ANYPREC_KERNELS_CUDA_KV_STORAGE_H_
#define ANYPREC_KERNELS_CUDA_KV_STORAGE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/object_id.h"
#include "kernels/cuda/paged_kv.cuh"

namespace anyprec {

// Layers one after the other, each as KvLayerView says. What was never written
// is not initialized: kernels read no position before it is.
class DeviceKv final : public KvStorage {
 public:
  // INVALID_ARGUMENT as ValidateKvLayout() says, and where a head is larger
  // than kMaxAttentionHeadDim; RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<DeviceKv>> Create(
      const KvLayout& layout, KvType type, CudaStream& stream);

  const KvLayout& layout() const override { return layout_; }
  size_t BytesResident() const override { return memory_.bytes(); }

  KvLayerView layer(int layer) const;

  // No other cache's.
  uint64_t id() const { return id_; }

 private:
  DeviceKv(const KvLayout& layout, KvType type, DeviceMemory memory)
      : layout_(layout), type_(type), memory_(std::move(memory)) {}

  const uint64_t id_ = NextObjectId();
  const KvLayout layout_;
  const KvType type_;
  const DeviceMemory memory_;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_KV_STORAGE_H_
