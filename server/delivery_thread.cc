#include "server/delivery_thread.h"

#include <utility>

namespace anyprec {

DeliveryThread::DeliveryThread() : thread_([this] { Run(); }) {}

DeliveryThread::~DeliveryThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  posted_.notify_one();
  thread_.join();
}

void DeliveryThread::Post(absl::AnyInvocable<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  posted_.notify_one();
}

void DeliveryThread::Run() {
  std::vector<absl::AnyInvocable<void()>> tasks;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      posted_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      tasks.swap(tasks_);
    }
    for (auto& task : tasks) task();
    tasks.clear();
  }
}

}  // namespace anyprec
