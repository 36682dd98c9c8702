#include "kernels/cuda/emulation/emulation.h"

#include <algorithm>
#include <bitset>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "kernels/cuda/emulation/fiber.h"
#include "kernels/cuda/emulation/shared_memory.h"

namespace anyprec::emulation {
namespace {

constexpr int kMaxThreads = 1024;  // of a block

struct AsyncCopy {
  void* to;
  std::array<char, 16> data;
  int bytes;
  int group;
};

struct Thread {
  int rank = 0;  // in the block
  size_t fiber = 0;
  bool exited = false;
  Site waits_at;
  int copy_group = 0;  // the open cp.async group
  std::vector<AsyncCopy> copies;
};

// Threads that wait for each other. `order` stands for the memory order that a
// meeting makes: two addresses in turn, lest a thread late to leave one meeting
// inherit the order of the next.
struct Meeting {
  Site site;
  std::vector<Thread*> arrived;
  LaneArguments lanes{};
  unsigned generation = 0;
  char order[2];
};

// Of a barrier (-1 - its id, 0), of a warp collective (the warp, its mask).
using MeetingKey = std::pair<int, uint32_t>;

struct Block {
  std::vector<Thread> threads;
  std::map<MeetingKey, Meeting> meetings;
  SharedMemory shared;
  std::array<int, kMaxThreads> by_priority;  // ranks, first to run first
  std::array<int, kMaxThreads> priority;     // by rank
  std::bitset<kMaxThreads> ready;            // by priority
};

void ThreadMain();

struct Machine {
  std::mutex mutex;  // held during a launch
  std::mt19937_64 random;
  bool shuffles = false;
  const std::function<void()>* kernel = nullptr;
  // One more than threads, so that RunBlock() can rotate them.
  FiberPool fibers{&ThreadMain, kMaxThreads + 1};
  Block block;
  Thread* current = nullptr;
  std::string error;
  char launch_order, grid_order;  // as Meeting::order
};
Machine& machine = *new Machine;

void Yield() { machine.fibers.Yield(machine.current->fiber); }

// Gives the scheduler the launch to end.
[[noreturn]] void Abandon() {
  Yield();
  std::abort();  // nobody resumes it
}

void SetError(const char* format, va_list args) {
  char text[256];
  const int n =
      snprintf(text, sizeof(text), "thread %d: ", machine.current->rank);
  vsnprintf(text + n, sizeof(text) - n, format, args);
  machine.error = text;
}

// Where every fiber begins; it runs one thread after another.
void ThreadMain() {
  machine.fibers.Enter();
  for (;;) {
    Acquire(&machine.launch_order);
    (*machine.kernel)();
    if (!machine.current->copies.empty()) Fail("exits with cp.async under way");
    Release(&machine.grid_order);
    machine.current->exited = true;
    Yield();
  }
}

// Draws who goes first: warps ahead of others, lanes in any order.
void DrawPriorities() {
  Block& block = machine.block;
  const auto first = block.by_priority.begin();
  const auto last = first + block.threads.size();
  std::iota(first, last, 0);
  if (machine.shuffles) {
    std::array<int, kMaxThreads / kWarpSize> warps;
    std::iota(warps.begin(), warps.end(), 0);
    std::shuffle(warps.begin(), warps.end(), machine.random);
    std::shuffle(first, last, machine.random);
    std::stable_sort(first, last, [&](int a, int b) {
      return warps[a / kWarpSize] < warps[b / kWarpSize];
    });
  }
  for (auto i = first; i < last; ++i) {
    block.priority[*i] = static_cast<int>(i - first);
  }
}

// "at __syncthreads FILE:LINE"
std::string Place(const Site& site) {
  std::string place = std::string("at ") + site.what;
  if (site.line != 0) {
    place += std::string(" ") + site.file + ":" + std::to_string(site.line);
  }
  return place;
}

// Lets all who arrived go on.
void Dissolve(Meeting& meeting) {
  Block& block = machine.block;
  if (meeting.arrived.size() == block.threads.size()) DrawPriorities();
  for (Thread* thread : meeting.arrived) {
    block.ready.set(block.priority[thread->rank]);
  }
  meeting.arrived.clear();
  meeting.lanes.fill(nullptr);
  ++meeting.generation;
}

// Adds the running thread to the meeting, complete once `expected` threads
// came.
void Join(Meeting& meeting, size_t expected, Site site, void* args,
          absl::FunctionRef<void(const LaneArguments&)> all) {
  Thread& thread = *machine.current;
  if (meeting.arrived.empty()) meeting.site = site;
  if (std::strcmp(meeting.site.what, site.what) != 0 ||
      meeting.site.line != site.line) {
    FailCollective("is %s, but thread %d waits %s", Place(site).c_str(),
                   meeting.arrived[0]->rank, Place(meeting.site).c_str());
    return;
  }
  thread.waits_at = site;
  meeting.arrived.push_back(&thread);
  meeting.lanes[thread.rank % kWarpSize] = args;
  if (meeting.arrived.size() < expected) return;
  all(meeting.lanes);
  Dissolve(meeting);
}

// Joins the meeting `key` and waits for the others; the last one to come runs
// all(the lanes' arguments).
void Meet(MeetingKey key, size_t expected, Site site, bool orders_memory,
          void* args, absl::FunctionRef<void(const LaneArguments&)> all) {
  char* order;
  {
    Unseen unseen;
    Meeting& meeting = machine.block.meetings[key];
    order = &meeting.order[meeting.generation % 2];
    Join(meeting, expected, site, args, all);
  }
  if (!machine.error.empty()) Abandon();
  if (orders_memory) Release(order);
  Yield();
  if (orders_memory) Acquire(order);
}

std::string WhoWaitsWhere() {
  std::map<std::string, std::vector<int>> places;
  for (const Thread& thread : machine.block.threads) {
    places[thread.exited ? "exited" : Place(thread.waits_at)].push_back(
        thread.rank);
  }
  std::string text = "no thread can go on:";
  for (const auto& [place, ranks] : places) {
    text += " " + std::to_string(ranks.size()) + " threads (" +
            std::to_string(ranks.front()) + ".." +
            std::to_string(ranks.back()) + ") " + place + ";";
  }
  text.pop_back();
  return text;
}

// The priority of who runs next: the first that is ready, but now and then
// another one, so that warps interleave.
size_t DrawNext() {
  const Block& block = machine.block;
  const size_t first = block.ready._Find_first();
  if (!machine.shuffles || machine.random() % 8 != 0) return first;
  const size_t other =
      block.ready._Find_next(machine.random() % block.threads.size());
  return other < block.ready.size() ? other : first;
}

// The same thread of another block gets another fiber, lest TSan take the two
// for one.
void RunBlock(unsigned number, unsigned threads, size_t shared_bytes) {
  machine.block = Block{};
  Block& block = machine.block;
  block.threads.resize(threads);
  for (unsigned i = 0; i < threads; ++i) {
    block.threads[i].rank = static_cast<int>(i);
    block.threads[i].fiber = (i + number) % machine.fibers.size();
    block.ready.set(i);
  }
  block.shared.Get(nullptr, shared_bytes);
  DrawPriorities();
  while (block.ready.any() && machine.error.empty()) {
    const size_t next = DrawNext();
    block.ready.reset(next);
    const unsigned rank = block.by_priority[next];
    const unsigned row = rank / blockDim.x;
    threadIdx = {rank % blockDim.x, row % blockDim.y, row / blockDim.y};
    machine.current = &block.threads[rank];
    machine.fibers.Resume(machine.current->fiber);
  }
  if (!machine.error.empty()) return;
  const bool all_exited =
      std::all_of(block.threads.begin(), block.threads.end(),
                  [](const Thread& t) { return t.exited; });
  machine.error = all_exited ? block.shared.Damage() : WhoWaitsWhere();
}

}  // namespace

std::string Run(dim3 grid, dim3 block, size_t shared_bytes, uint64_t seed,
                const std::function<void()>& kernel) {
  std::lock_guard<std::mutex> lock(machine.mutex);
  Unseen unseen;
  const unsigned blocks = grid.x * grid.y * grid.z;
  const unsigned threads = block.x * block.y * block.z;
  machine.error.clear();
  machine.random.seed(seed);
  machine.shuffles = seed != 0;
  machine.kernel = &kernel;
  gridDim = grid;
  blockDim = block;
  machine.fibers.Prepare(threads + 1);
  Release(&machine.launch_order);
  std::vector<unsigned> order(blocks);
  std::iota(order.begin(), order.end(), 0);
  if (seed != 0) std::shuffle(order.begin(), order.end(), machine.random);
  for (unsigned b : order) {
    blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
    RunBlock(b, threads, shared_bytes);
    if (machine.error.empty()) continue;
    machine.fibers.Drop();
    return "block (" + std::to_string(blockIdx.x) + "," +
           std::to_string(blockIdx.y) + "," + std::to_string(blockIdx.z) +
           "): " + machine.error;
  }
  machine.block = Block{};
  Acquire(&machine.grid_order);
  return "";
}

void Fail(const char* format, ...) {
  va_list args;
  va_start(args, format);
  {
    Unseen unseen;
    SetError(format, args);
  }
  va_end(args);
  Abandon();
}

void FailCollective(const char* format, ...) {
  va_list args;
  va_start(args, format);
  SetError(format, args);
  va_end(args);
}

int Lane() { return machine.current->rank % kWarpSize; }

bool CoinFlip() {
  Unseen unseen;
  return machine.shuffles && machine.random() % 2 == 0;
}

void Barrier(int id, int threads, Site site) {
  Meet({-1 - id, 0}, threads, site, /*orders_memory=*/true, nullptr,
       [](const LaneArguments&) {});
}

void MeetWarp(const char* what, uint32_t mask, bool orders_memory, void* args,
              absl::FunctionRef<void(const LaneArguments&)> all) {
  if ((mask >> Lane() & 1) == 0) Fail("%s: lane not in mask", what);
  Meet({machine.current->rank / kWarpSize, mask}, __builtin_popcount(mask),
       {what}, orders_memory, args, all);
}

void* Shared(const void* key, size_t bytes) {
  void* array;
  {
    Unseen unseen;
    array = machine.block.shared.Get(key, bytes);
  }
  if (array == nullptr) {
    Fail("%zu bytes more of shared memory are beyond the %zu of a block", bytes,
         kMaxSharedBytes);
  }
  return array;
}

void StartCopy(void* shared, const void* global, int bytes) {
  if (reinterpret_cast<uintptr_t>(shared) % bytes != 0 ||
      reinterpret_cast<uintptr_t>(global) % bytes != 0) {
    Fail("cp.async not aligned to its size");
  }
  std::array<char, 16> data;
  std::memcpy(data.data(), global, bytes);
  if (CoinFlip()) {
    std::memcpy(shared, data.data(), bytes);
    return;
  }
  Unseen unseen;
  Thread& thread = *machine.current;
  thread.copies.push_back({shared, data, bytes, thread.copy_group});
}

void CommitCopies() {
  Unseen unseen;
  ++machine.current->copy_group;
}

void WaitForCopies(int pending) {
  Thread& thread = *machine.current;
  auto copy = thread.copies.begin();
  for (;
       copy != thread.copies.end() && copy->group < thread.copy_group - pending;
       ++copy) {
    std::memcpy(copy->to, copy->data.data(), copy->bytes);
  }
  Unseen unseen;
  thread.copies.erase(thread.copies.begin(), copy);
}

}  // namespace anyprec::emulation
