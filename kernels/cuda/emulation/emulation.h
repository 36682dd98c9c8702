// Runs CUDA kernels compiled as host C++, for machines without a GPU. Test
// only.
//
// Every CUDA thread of a block is a fiber; one OS thread runs them all, block
// after block. A fiber runs until it meets others, at a barrier or in a warp
// collective; who goes on next is drawn from a seed (0: in order). A right
// kernel gives the same answer, bit for bit, under every seed.
//
// Reported as a failure of the launch: barriers and collectives that some
// thread never reaches (an exited thread counts: stricter than hardware),
// collectives that do not match, shared memory beyond the limit or written out
// of bounds. ASan finds accesses out of bounds as they happen, UBSan misaligned
// vectors, TSan data races: to it each CUDA thread is a thread of its own,
// ordered by barriers, __syncwarp and fences alone.
//
// Not shown: speed, coalescing, bank conflicts, registers, the tensor core's
// rounding, weak memory order, and spinning waits, which never end here.
//
// This header is for what stands in for CUDA (launch.cuh, ptx.cuh, builtins.h).
// All but Run() is called by a running kernel. Thread-safe: launches take
// turns.
#ifndef ANYPREC_KERNELS_CUDA_EMULATION_EMULATION_H_
#define ANYPREC_KERNELS_CUDA_EMULATION_EMULATION_H_

#include <vector_types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/functional/function_ref.h"
#include "kernels/cuda/emulation/sanitizers.h"

// CUDA's, of the thread that runs.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

namespace anyprec::emulation {

inline constexpr int kWarpSize = 32;
inline constexpr uint32_t kFullMask = 0xffffffff;

// Runs `kernel` once per thread of the grid. Returns what went wrong, or "".
std::string Run(dim3 grid, dim3 block, size_t shared_bytes, uint64_t seed,
                const std::function<void()>& kernel);

// Ends the launch. The fibers are abandoned where they stand, so nothing on
// their stacks may own memory.
[[noreturn, gnu::format(printf, 1, 2)]] void Fail(const char* format, ...);

// The same once the collective whose lanes are being served is over.
[[gnu::format(printf, 1, 2)]] void FailCollective(const char* format, ...);

// The lane of the running thread in its warp.
int Lane();

// False under seed 0.
bool CoinFlip();

// Where a thread waits; compared by `what` and `line`.
struct Site {
  const char* what = "";
  const char* file = "";
  int line = 0;
};

// Waits for `threads` threads of the block at the barrier `id`.
void Barrier(int id, int threads, Site site);

// The arguments of a warp's lanes; null where a lane takes no part.
using LaneArguments = std::array<void*, kWarpSize>;
template <class Args>
class Lanes {
 public:
  explicit Lanes(const LaneArguments& lanes) : lanes_(lanes) {}
  Args* operator[](int lane) const { return static_cast<Args*>(lanes_[lane]); }

 private:
  const LaneArguments& lanes_;
};

// A warp collective: all lanes of `mask` meet, then all(lanes) runs once.
void MeetWarp(const char* what, uint32_t mask, bool orders_memory, void* args,
              absl::FunctionRef<void(const LaneArguments&)> all);

template <class Args, class All>
void WarpMeet(const char* what, uint32_t mask, Args& args, All all) {
  MeetWarp(what, mask, /*orders_memory=*/false, &args,
           [&](const LaneArguments& lanes) { all(Lanes<Args>(lanes)); });
}

// The block's shared array of `key`, made where it is not there yet. Null
// stands for the dynamic one, which the launch made.
void* Shared(const void* key, size_t bytes = 0);

// cp.async: copies at once or at the wait, by coin flip.
void StartCopy(void* shared, const void* global, int bytes);
void CommitCopies();
void WaitForCopies(int pending);

}  // namespace anyprec::emulation

#endif  // ANYPREC_KERNELS_CUDA_EMULATION_EMULATION_H_
