// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace pkgfs {

/// Threads for work that may wait. A thread is started when there is work and no thread is free, and ends when there
/// was none for some seconds. Thread-safe.
class WorkerPool {
 public:
  /// `most`: threads.
  explicit WorkerPool(unsigned most);
  /// Ends the process if work doesn't end within some seconds.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Lets a thread call `work`, which mustn't throw. Throws std::system_error if there is no thread and none can be
  /// started. After `stop`, does nothing.
  void add(std::function<void()> work);
  /// Drops the work that hasn't begun. False: a thread is still working after `limit`.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the threads
};

}  // namespace pkgfs
