// Reader of one safetensors file:
//
//   file   = header_bytes:u64le header data
//   header = JSON object { name: {"dtype", "shape", "data_offsets": [b, e]},
//            "__metadata__": {string: string} }, padded with spaces
//   data   = the tensors' bytes; offsets count from its begin
//
// Open() validates all that the format promises, so that nothing later can read
// outside the file: header length, JSON, types, shapes, sizes; no tensor twice,
// no overlap, no gap, no byte left over. Memory stays below a few times the
// header, which is limited to kMaxHeaderBytes.
//
// Thread-safe once open.
#ifndef ANYPREC_RUNTIME_FORMAT_SAFETENSORS_H_
#define ANYPREC_RUNTIME_FORMAT_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/format/mapped_file.h"
#include "runtime/format/tensor.h"

namespace anyprec {

class SafetensorsFile {
 public:
  // About 80,000 tensors; a 405B checkpoint's header is some 100 kB. (The
  // format itself allows 100 MB.)
  static constexpr size_t kMaxHeaderBytes = 8 << 20;

  struct Tensor {
    TensorInfo info;
    std::span<const std::byte> data;
  };

  // DATA_LOSS or INVALID_ARGUMENT naming the file, the tensor, the value found
  // and the value needed.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(
      const std::string& path);

  const std::string& path() const { return file_->path(); }
  const MappedFile& mapping() const { return *file_; }

  // In the order of their data.
  std::span<const Tensor> tensors() const { return tensors_; }

  // Null where there is none.
  const Tensor* Find(absl::string_view name) const;

  // "__metadata__"; empty where absent.
  const absl::btree_map<std::string, std::string>& metadata() const {
    return metadata_;
  }

 private:
  explicit SafetensorsFile(std::unique_ptr<MappedFile> file);
  absl::Status ParseHeader();
  absl::Status CheckCoverage(size_t data_bytes);

  const std::unique_ptr<MappedFile> file_;
  std::vector<Tensor> tensors_;
  absl::flat_hash_map<std::string, size_t> index_;  // name -> tensors_
  absl::btree_map<std::string, std::string> metadata_;
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_SAFETENSORS_H_
