#include "kernels/cpu/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <system_error>

#include "kernels/check.h"

namespace anyprec {
namespace {

// Ranges handed out for each thread: with 4, a thread that starts late or is
// interrupted costs a quarter of its share instead of all of it, and a claim
// (about 50 ns) still is small beside the shortest loops worth sharing.
constexpr size_t kRangesPerThread = 4;

// Between two loops of a decode step lie norms, rotations and bookkeeping of 5
// to 30 microseconds, while a futex wake-up takes 5 to 50. Spinning somewhat
// longer than the gap keeps workers awake through a step and no longer.
constexpr std::chrono::microseconds kSpinTime(50);

// True inside a body run by any pool.
thread_local bool inside_body = false;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits for `condition` for at most kSpinTime; returns its last value.
template <typename Condition>
bool SpinUntil(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < 16; ++i) {
      if (condition()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return condition();
}

std::vector<int> AvailableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &set)) cores.push_back(core);
    }
  }
  return cores;
}

void PinTo(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  // A hint: without it the loops are as correct.
  (void)sched_setaffinity(0, sizeof(set), &set);
}

}  // namespace

ThreadPool::ThreadPool(const Options& options) {
  int threads = options.threads;
  if (threads <= 0) threads = static_cast<int>(AvailableCores().size());
  workers_.reserve(threads);
  try {
    for (int i = 1; i < threads; ++i) {
      workers_.emplace_back(
          [this, i, pin = options.pin] { RunWorker(i, pin); });
    }
  } catch (const std::system_error&) {
    Stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Stop() {
  stop_ = true;
  ++wake_ups_;
  wake_ups_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::ParallelFor(size_t n, size_t grain, Body body) {
  ANYPREC_CHECK(grain > 0);
  if (n == 0) return;
  const size_t grains = (n - 1) / grain + 1;
  if (grains == 1 || workers_.empty() || inside_body) {
    body(0, n);
    return;
  }
  const size_t wanted = std::min(grains, kRangesPerThread * threads());
  const size_t grains_per_range = (grains - 1) / wanted + 1;
  const auto ranges =
      static_cast<uint32_t>((grains - 1) / grains_per_range + 1);
  loop_ = {&body, n, grains_per_range * grain, ranges};
  unfinished_.store(ranges, std::memory_order_relaxed);
  const uint64_t number = (open_.load(std::memory_order_relaxed) >> 32) + 1;
  open_.store(number << 32 | ranges);
  ++wake_ups_;
  wake_ups_.notify_all();

  RunRanges();
  const auto finished = [this] { return unfinished_.load() == 0; };
  if (SpinUntil(finished)) return;
  // A worker was interrupted in mid-range: leave it this core.
  for (uint32_t left = unfinished_; left != 0; left = unfinished_) {
    unfinished_.wait(left);
  }
}

void ThreadPool::RunWorker(int index, bool pin) {
  if (pin) {
    const std::vector<int> cores = AvailableCores();
    if (!cores.empty()) PinTo(cores[index % cores.size()]);
  }
  while (!stop_) {
    const uint32_t seen = wake_ups_;
    if (RunRanges()) continue;
    const auto work_or_stop = [this] { return HasWork() || stop_; };
    if (!SpinUntil(work_or_stop)) wake_ups_.wait(seen);
  }
}

bool ThreadPool::HasWork() const {
  return static_cast<uint32_t>(open_.load()) != 0;
}

bool ThreadPool::RunRanges() {
  bool ran = false;
  uint64_t open = open_.load();
  while (static_cast<uint32_t>(open) != 0) {
    if (!open_.compare_exchange_weak(open, open - 1)) continue;
    const size_t range = loop_.ranges - static_cast<uint32_t>(open);
    const size_t begin = range * loop_.range_size;
    const size_t size = std::min(loop_.n - begin, loop_.range_size);
    inside_body = true;
    (*loop_.body)(begin, begin + size);
    inside_body = false;
    ran = true;
    if (--unfinished_ == 0) unfinished_.notify_all();
    open = open_.load();
  }
  return ran;
}

}  // namespace anyprec
