// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/base/unique_fd.h"
#include "fuse/poll_window.h"

struct fuse_buf;
struct fuse_session;

namespace pkgfs::fuse {

class Statistics;

struct ServerOptions {
  /// At most; so many requests can wait for a disk at the same time.
  unsigned threads = 4;
  /// So many of them take requests from the device at the same time; 0: one for every two CPUs, one at least.
  unsigned on_duty = 0;
  /// Look for the next request for a moment before sleeping, where that pays (PollWindow).
  bool poll = true;
  /// While it is true, a thread that serves this mount in another way has work; may be null.
  const std::atomic<bool>* others_busy = nullptr;
};

/// The threads that answer the requests of one session.
///
/// One of them, or a few when many requests are queued, is on duty: reads a request from the device, answers it, reads
/// the next. The others, started when they are first needed, are parked, so that a request wakes nobody in vain.
/// Whoever is about to wait for a disk hands its duty over first; whoever turns out to be stuck in an answer is
/// relieved by a watch, which sleeps, too, when nothing is going on.
///
/// Own threads instead of libfuse's loop: in libfuse 3.14 nothing wakes that one when it is asked to end
/// (fuse_session_exit only sets a flag), and it wakes all its threads in turn.
class Servers {
 public:
  /// For `session`, which is mounted. Makes its device non-blocking. Both must outlive this.
  Servers(fuse_session* session, Statistics& statistics, const ServerOptions& options);
  ~Servers();
  Servers(const Servers&) = delete;
  Servers& operator=(const Servers&) = delete;

  void start();
  /// Becomes readable when every thread has ended, as they do when somebody unmounts.
  [[nodiscard]] int ended_fd() const { return ended_.get(); }
  /// Asks the threads to end and waits for it up to `limit`. False: one is still answering a request.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

  /// To be called while a request is answered, before what may take as long as a disk does. Does nothing on threads
  /// that aren't of any Servers.
  static void about_to_wait();

 private:
  struct Server;
  static thread_local Server* current_;

  void serve(Server& self);
  /// Waits until there is something to do for this thread; false: it is to end.
  bool wait_for_duty(Server& self);
  /// The size of the next request; 0: the session has ended; -EINTR: look whether there is still duty.
  int next_request(Server& self, fuse_buf& buffer);
  int poll_device(Server& self, fuse_buf& buffer);
  void sleep_until_readable(Server& self);
  /// Takes the duty from `server`, unless it has none any more, and gives it to a parked thread.
  void relieve(Server& server);
  void call_help();
  /// Calls a parked thread or a new one; false: there is none. Under `parking_mutex_`, as the next.
  bool call_one();
  void start_thread();
  /// Whether others are on duty, so that this one could be and is parked.
  bool step_down(Server& self);
  void watch();
  bool is_quiet(std::vector<std::uint32_t>& steps);
  void wake_everybody();

  fuse_session* session_;
  Statistics& statistics_;
  ServerOptions options_;
  unsigned most_on_duty_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::atomic<unsigned> running_{0};
  UniqueFd ended_;

  std::mutex parking_mutex_;
  std::condition_variable parking_;
  // Changed only under `parking_mutex_`.
  std::atomic<unsigned> on_duty_{0};  // threads that read the device, or are called to
  unsigned started_ = 0;
  unsigned parked_ = 0;
  unsigned calls_ = 0;              // parked threads that are to go on duty
  std::condition_variable ending_;  // `stopping_` was set

  std::thread watch_;
  std::atomic<bool> watch_sleeps_{false};
  std::atomic<bool> stopping_{false};
};

}  // namespace pkgfs::fuse
