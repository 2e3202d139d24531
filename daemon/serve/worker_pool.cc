// SPDX-License-Identifier: MIT
#include "daemon/serve/worker_pool.h"

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <system_error>
#include <thread>
#include <utility>

#include "core/base/thread_annotations.h"

namespace pkgfs {

struct WorkerPool::State {
  explicit State(unsigned most_threads) : most(most_threads) {}
  void run() PKGFS_EXCLUDES(mutex);

  const unsigned most;
  Mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> queue PKGFS_GUARDED_BY(mutex);
  unsigned threads PKGFS_GUARDED_BY(mutex) = 0;
  unsigned free PKGFS_GUARDED_BY(mutex) = 0;
  bool stopping PKGFS_GUARDED_BY(mutex) = false;
};

void WorkerPool::State::run() {
  constexpr auto kPatience = std::chrono::seconds(5);
  MutexLock lock(mutex);
  while (!stopping) {
    if (queue.empty()) {
      ++free;
      const bool is_work =
          lock.wait_for(changed, kPatience, [this]() PKGFS_REQUIRES(mutex) { return stopping || !queue.empty(); });
      --free;
      if (!is_work) {
        break;
      }
      continue;
    }
    std::function<void()> work = std::move(queue.front());
    queue.pop_front();
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
  }
  --threads;
  changed.notify_all();
}

WorkerPool::WorkerPool(unsigned most) : state_(std::make_shared<State>(most)) {}

WorkerPool::~WorkerPool() {
  if (!stop(std::chrono::seconds(5))) {
    std::_Exit(EXIT_FAILURE);  // a thread waits for a disk, and uses what is destroyed next
  }
}

void WorkerPool::add(std::function<void()> work) {
  const MutexLock lock(state_->mutex);
  if (state_->stopping) {
    return;
  }
  state_->queue.push_back(std::move(work));
  if (state_->queue.size() <= state_->free || state_->threads == state_->most) {
    state_->changed.notify_one();
    return;
  }
  try {
    std::thread([state = state_] { state->run(); }).detach();
    ++state_->threads;
  } catch (const std::system_error&) {
    if (state_->threads == 0) {
      state_->queue.pop_back();
      throw;
    }
  }
}

bool WorkerPool::stop(std::chrono::milliseconds limit) {
  MutexLock lock(state_->mutex);
  state_->stopping = true;
  state_->queue.clear();
  state_->changed.notify_all();
  return lock.wait_for(state_->changed, limit, [this]() PKGFS_REQUIRES(state_->mutex) { return state_->threads == 0; });
}

}  // namespace pkgfs
