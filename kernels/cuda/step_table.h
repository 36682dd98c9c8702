// StepTable: the rows of a decode step in device memory, where the kernels of a
// graph find them.
//
// Thread-compatible.
#ifndef ANYPREC_KERNELS_CUDA_STEP_TABLE_H_
#define ANYPREC_KERNELS_CUDA_STEP_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "kernels/cuda/bit_plane_decode.cuh"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/launch_rows.cuh"
#include "kernels/cuda/paged_kv.cuh"
#include "kernels/cuda/scratch_memory.h"

namespace anyprec {

// The most rows of a step in a table. More keep a GPU busy for so long that
// launching is no matter.
inline constexpr int kMaxTableRows = 64;

// What launches for a table of up to max_rows rows are told: pointers into it
// alone, so that they are the same for every step.
struct StepTableView {
  const void* memory = nullptr;
  LaunchRows rows = 0;
  const int32_t* tokens = nullptr;
  DecodeSlices slices;
  SequenceTilesView sequences;  // a tile for each row; those of no row last
};

class StepTable {
 public:
  // Room for up to `sequences` sequences, each of up to `blocks` blocks, so
  // that Update() takes no more memory for them.
  absl::Status Reserve(int sequences, int blocks, CudaStream& stream);

  // Brings the table up to date with `step`, in one copy behind all work of
  // `stream`; waits where the table must grow. Launches are to be for
  // `max_rows` rows and precisions up to `max_precision`.
  // REQUIRES: decode rows alone, at most max_rows <= kMaxTableRows.
  absl::Status Update(const StepRows& step, int max_rows, int max_precision,
                      const KvLayout& layout, CudaStream& stream);

  const StepTableView& view() const { return view_; }

  // Of attention (attention.cuh), all rows together.
  int slots() const { return slots_; }

 private:
  StepTableView view_;
  int slots_ = 0;
  std::vector<char> staged_;  // the newest table, to be copied
  ScratchMemory memory_{"the rows of a step"};
};

// The rows of `groups` in slices of up to `max_slice_rows`.
std::vector<DecodeSlice> SliceGroups(std::span<const RowGroup> groups,
                                     int max_slice_rows);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_STEP_TABLE_H_
