// SPDX-License-Identifier: MIT
#pragma once

#include <condition_variable>
#include <thread>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/net/libcurl.h"
#include "core/net/transfer.h"

namespace pkgfs {

/// Performs transfers on one thread, with libcurl's multi interface. The thread starts with a transfer and ends with
/// the object or in `rest`. Many threads may call `run` at once, but all calls must have returned before the object is
/// destroyed.
class TransferLoop {
 public:
  TransferLoop() = default;
  ~TransferLoop();
  TransferLoop(const TransferLoop&) = delete;
  TransferLoop& operator=(const TransferLoop&) = delete;

  /// Performs `transfer` and waits for its end. Returns libcurl's result. Throws Error(kInterrupted) if the transfer is
  /// cancelled, which is noticed within a fraction of a second.
  [[nodiscard]] CURLcode run(Transfer& transfer);
  /// As HttpClient::rest.
  void rest() noexcept;

 private:
  /// A transfer and its result, on the stack of `run`. The mutex of the loop guards the result.
  struct Job {
    explicit Job(Transfer& given) : transfer(given) {}
    Transfer& transfer;
    std::condition_variable ended;  // one for each job, so that the end of a transfer wakes one thread
    bool is_done = false;
    bool was_cancelled = false;
    CURLcode code = CURLE_OK;
  };

  void end_thread() noexcept;
  void open_multi();
  void serve();
  void take_results();
  void drop_cancelled_and_slow();
  void end(Job& job, CURLcode code, bool cancelled);

  CURLM* multi_ = nullptr;
  bool can_wake_ = true;  // false: no file descriptors were left for that, so the thread looks for work by itself
  Mutex mutex_;
  std::vector<Job*> incoming_ PKGFS_GUARDED_BY(mutex_);
  bool stopping_ PKGFS_GUARDED_BY(mutex_) = false;
  std::vector<Job*> active_;  // used by `thread_` only
  std::thread thread_;
  bool is_resting_ PKGFS_GUARDED_BY(mutex_) = false;  // since `rest`, no transfer was begun
};

}  // namespace pkgfs
