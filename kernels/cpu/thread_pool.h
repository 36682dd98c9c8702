// ThreadPool: runs one loop at a time on all cores.
//
// A decode step makes some 150 parallel loops of 10 to 500 microseconds each,
// so entering and leaving a loop must cost a few microseconds at most. Workers
// therefore spin for a moment after a loop before they sleep; an idle pool
// burns nothing.
#ifndef ANYPREC_KERNELS_CPU_THREAD_POOL_H_
#define ANYPREC_KERNELS_CPU_THREAD_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace anyprec {

// Thread-compatible: one thread at a time calls ParallelFor.
class ThreadPool {
 public:
  struct Options {
    // Threads that take part, the caller's included. 0: one for each core that
    // this process may run on.
    int threads = 0;
    // Binds worker i to the i-th such core. Steadies timings on a machine of
    // one's own; hurts where other processes share the cores.
    bool pin = false;
  };

  // Throws std::system_error where the system gives no such number of threads.
  explicit ThreadPool(const Options& options);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end) for disjoint ranges that cover [0, n) and returns
  // when all have returned. `begin` is a multiple of `grain`, and so is `end`
  // unless it is n. Ranges are handed out as threads become free, so a thread
  // that is held up does not hold up the others. A call from inside `body` runs
  // on the calling thread alone.
  // REQUIRES: grain > 0; `body` throws nothing.
  void ParallelFor(size_t n, size_t grain,
                   absl::FunctionRef<void(size_t begin, size_t end)> body);

 private:
  using Body = absl::FunctionRef<void(size_t begin, size_t end)>;

  // The loop being run. Written by the caller of ParallelFor while `open_`
  // shows no unclaimed range and all ranges are done; read by a thread that
  // holds a claim, which keeps the loop alive.
  struct Loop {
    const Body* body = nullptr;
    size_t n = 0;
    size_t range_size = 0;
    uint32_t ranges = 0;
  };

  void Stop();
  void RunWorker(int index, bool pin);
  // Runs ranges until none is unclaimed. True if it ran one.
  bool RunRanges();
  bool HasWork() const;

  Loop loop_;
  // Loop number << 32 | unclaimed ranges of it. The number lets a claim by
  // compare-and-swap fail if the loop that it was meant for is over. Each
  // atomic has a cache line of its own: they are written by different threads.
  alignas(64) std::atomic<uint64_t> open_{0};
  alignas(64) std::atomic<uint32_t> unfinished_{0};
  alignas(64) std::atomic<uint32_t> wake_ups_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_THREAD_POOL_H_
