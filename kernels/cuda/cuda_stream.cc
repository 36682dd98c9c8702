#include "kernels/cuda/cuda_stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/cuda/cuda_status.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

// Room for the small arrays of any step (16 bytes for each row, 4 for each KV
// block), and enough that loading weights waits for whole milliseconds of
// copying at a time rather than for latencies.
constexpr size_t kStagingBytes = size_t{4} << 20;
// Pieces begin at whole cache lines of the host.
constexpr size_t kStagingAlignment = 64;

size_t RoundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaStream>> CudaStream::Create(int device) {
  std::unique_ptr<CudaStream> stream(new CudaStream(device));
  RETURN_IF_ERROR(stream->Ready());
  RETURN_IF_ERROR(CudaStatus(
      cudaStreamCreateWithFlags(&stream->stream_, cudaStreamNonBlocking),
      "creating a stream"));
  ASSIGN_OR_RETURN(stream->staging_, PinnedMemory::Allocate(kStagingBytes));
  return stream;
}

CudaStream::~CudaStream() {
  if (stream_ == nullptr) return;
  // Errors are no news to anyone any more.
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

absl::Status CudaStream::Ready() {
  RETURN_IF_ERROR(lost_);
  if (thread_ == std::this_thread::get_id()) return absl::OkStatus();
  RETURN_IF_ERROR(Check(cudaSetDevice(device_), "choosing the device"));
  thread_ = std::this_thread::get_id();
  return absl::OkStatus();
}

absl::Status CudaStream::Check(cudaError_t error, absl::string_view attempted) {
  if (error == cudaSuccess) return absl::OkStatus();
  return Note(CudaStatus(error, attempted));
}

absl::Status CudaStream::Note(absl::Status status) {
  if (status.ok() || absl::IsResourceExhausted(status)) return status;
  if (lost_.ok()) lost_ = std::move(status);
  return lost_;
}

absl::StatusOr<DeviceMemory> CudaStream::Allocate(size_t bytes,
                                                  absl::string_view what) {
  absl::StatusOr<DeviceMemory> memory = DeviceMemory::Allocate(bytes, what);
  if (!memory.ok()) return Note(memory.status());
  return memory;
}

absl::Status CudaStream::Upload(const void* source, size_t bytes,
                                void* destination) {
  const auto* from = static_cast<const char*>(source);
  auto* to = static_cast<char*>(destination);
  while (bytes > 0) {
    if (staged_bytes_ == kStagingBytes) RETURN_IF_ERROR(Synchronize());
    char* const staged = static_cast<char*>(staging_.data()) + staged_bytes_;
    const size_t piece = std::min(bytes, kStagingBytes - staged_bytes_);
    std::memcpy(staged, from, piece);
    RETURN_IF_ERROR(Check(
        cudaMemcpyAsync(to, staged, piece, cudaMemcpyHostToDevice, stream_),
        "copying to the device"));
    staged_bytes_ += RoundUp(piece, kStagingAlignment);
    from += piece;
    to += piece;
    bytes -= piece;
  }
  return absl::OkStatus();
}

absl::StatusOr<const void*> CudaStream::DownloadBytes(const void* source,
                                                      size_t bytes) {
  if (bytes == 0) {
    RETURN_IF_ERROR(Synchronize());
    return nullptr;
  }
  if (download_.bytes() < bytes) {
    download_ = PinnedMemory();
    absl::StatusOr<PinnedMemory> grown = PinnedMemory::Allocate(bytes);
    RETURN_IF_ERROR(Note(grown.status()));
    download_ = *std::move(grown);
  }
  RETURN_IF_ERROR(Check(cudaMemcpyAsync(download_.data(), source, bytes,
                                        cudaMemcpyDeviceToHost, stream_),
                        "copying from the device"));
  RETURN_IF_ERROR(Synchronize());
  return static_cast<const void*>(download_.data());
}

absl::Status CudaStream::Synchronize() {
  RETURN_IF_ERROR(
      Check(cudaStreamSynchronize(stream_), "waiting for the device"));
  staged_bytes_ = 0;
  return absl::OkStatus();
}

}  // namespace anyprec
