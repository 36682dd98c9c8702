// Writes safetensors files of any size in bounded memory: all tensors are
// declared first, then their bytes are appended, tensor by tensor in any order.
//
// Guarantees
//   1. The bytes of the files depend on the declarations and the data only, not
//      on the order of writing, nor on a restart in between.
//   2. Under its own name a file appears complete: until Finish() it is called
//      "<name>.partial".
//   3. Each tensor's CRC-32C stands in "__metadata__" as "crc32c:<tensor>",
//      eight hex digits for each of the tensor's `checksum_parts` equal parts,
//      separated by spaces. (Fixed width: the header's size is known before the
//      data is, and the digits are filled in at the end.)
//   4. Data begins at a multiple of 64 bytes, and so do tensors whose
//      predecessors' sizes are such multiples.
//
// Above `max_shard_bytes` of data the tensors are spread, in order, over
// model-00001-of-0000N.safetensors with a model.safetensors.index.json, as
// HuggingFace does.
//
// Thread-compatible.
#ifndef ANYPREC_RUNTIME_FORMAT_SAFETENSORS_WRITER_H_
#define ANYPREC_RUNTIME_FORMAT_SAFETENSORS_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/format/tensor.h"

namespace anyprec {

class SafetensorsWriter {
 public:
  struct TensorSpec {
    TensorInfo info;
    // Parts of equal size with a checksum each, so that a reader of some parts
    // need not read the others. 0: no checksum. Divides the tensor's bytes.
    int checksum_parts = 0;
  };

  struct Options {
    // HuggingFace's default.
    int64_t max_shard_bytes = 5'000'000'000;
    absl::btree_map<std::string, std::string> metadata;
    // Keep the data of "<name>.partial" files of the same declarations, which
    // must be there; see MarkWritten. Otherwise they are overwritten.
    bool resume = false;
  };

  // Creates the files in `directory`, with room for all data.
  // INVALID_ARGUMENT where a name comes twice or a shape has no size;
  // INTERNAL/RESOURCE_EXHAUSTED naming the path where the disk refuses.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      const std::string& directory, std::vector<TensorSpec> tensors,
      Options options);

  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // Appends to the tensor `name`, part of it or all.
  // REQUIRES: declared, and no more bytes than declared.
  absl::Status Append(absl::string_view name, std::span<const std::byte> data);

  // Whether all bytes of a declared tensor have been appended.
  bool IsComplete(absl::string_view name) const;

  // Checksums of a complete tensor, one a part.
  const std::vector<uint32_t>& Checksums(absl::string_view name) const;

  // Declares the tensor complete, its bytes being in the file from an earlier
  // run that Sync()ed them, with the checksums of that run.
  absl::Status MarkWritten(absl::string_view name,
                           std::vector<uint32_t> checksums);

  // Makes what was appended survive a crash of the machine.
  absl::Status Sync();

  // Fills in the checksums, syncs, renames. FAILED_PRECONDITION names a tensor
  // whose bytes are missing.
  absl::Status Finish();

 private:
  struct Slot;   // where a tensor goes, and how far it is
  struct Shard;  // one file
  SafetensorsWriter(std::string directory, Options options);
  absl::Status Plan(std::vector<TensorSpec> tensors);
  absl::Status OpenShards();
  absl::Status Reopen(const std::string& final_path, uint64_t file_bytes,
                      Shard* shard);
  std::string Header(const Shard& shard) const;
  absl::Status WriteIndex() const;

  const std::string directory_;
  const Options options_;
  std::vector<Slot> slots_;
  std::vector<Shard> shards_;
  absl::flat_hash_map<std::string, size_t> index_;  // name -> slots_
};

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_FORMAT_SAFETENSORS_WRITER_H_
