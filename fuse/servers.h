// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"
#include "fuse/in_flight.h"
#include "fuse/interrupts.h"
#include "fuse/request_store.h"

struct fuse_buf;
struct fuse_session;

namespace pkgfs::fuse {

class RequestBuffer;
class Statistics;

struct ServerOptions {
  /// No further thread is started while this many threads run that aren't stuck. So normally, at most this many
  /// requests wait for a disk at the same time.
  unsigned threads = 4;
  /// The limit of all threads.
  unsigned most_threads = 64;
  /// How many of them may read the device at the same time; 0: one for every two CPUs, at least one.
  unsigned on_duty = 0;
  /// A thread polls the device for a moment before it sleeps, if that helps (PollWindow).
  bool poll = true;
  /// True while another thread of this mount needs a CPU. On a machine with two CPUs, no thread polls then. May be
  /// null.
  const std::atomic<bool>* others_busy = nullptr;
  /// Called if no thread has a request that is to be interrupted. If the request waits elsewhere, replies EINTR to it
  /// and returns true. May be empty.
  std::function<bool(std::uint64_t request)> interrupt = {};
  /// Requests can be interrupted. False: libfuse gets the kernel's INTERRUPT requests, and ignores them.
  bool interrupts = true;
  /// Requests that crash the daemon (SharedState::poisoned). They get EIO, and the daemon does nothing else for them.
  std::vector<NodeRequest> poisoned = {};
  /// Keeps requests until they are answered, for a successor of this daemon. The server threads first answer the
  /// requests in it that an earlier daemon has left. Requests that come through io_uring aren't kept. The store must
  /// outlive Servers and the Adapter. May be null.
  RequestStore* keep_requests = nullptr;
};

/// The server threads: they answer the requests of one session.
///
/// A thread on duty reads a request from the device, answers it, and reads the next. Normally one thread is on duty; if
/// many requests are queued, a few are. The other threads are parked: they sleep until a thread on duty needs help. So
/// a request wakes no thread that isn't needed. A thread is started only when it is first needed.
///
/// A thread that is about to block on disk I/O calls `about_to_wait` first, which relieves it: the thread is no longer
/// on duty. If no other thread is on duty then, a parked or a new one takes over. If a thread answers one request for
/// long without that call, the watch thread relieves it. The watch thread sleeps while there are no requests.
///
/// A thread that answers one request for more than 50 ms is stuck: its disk may never answer. A stuck thread doesn't
/// count in the limit of threads, so that another one can be started in its place. The thread stays where it is until
/// the disk answers, and ends then if there are enough other threads. `most_threads` bounds the threads. When all of
/// them are stuck, the watch thread reads the device, and holds requests until a thread comes back.
///
/// When the kernel sends INTERRUPT for a request, the watch thread replies EINTR, even if a server thread still works
/// on the request (Interrupts). It does so once the server thread has worked on the request for half a second. A held
/// request gets the reply at once.
///
/// Each server thread notes in the SharedState of `statistics` which request it is answering.
///
/// This class replaces libfuse's own loop for two reasons. In libfuse 3.14, fuse_session_exit only sets a flag, and
/// threads that sleep don't see it. And the threads of that loop take requests in turn, so that requests wake all of
/// them.
class Servers {
 public:
  /// Makes the device of `session` non-blocking. `session` must be mounted. `session` and `statistics` must outlive
  /// this. Throws Error if no file descriptor is free.
  Servers(fuse_session* session, Statistics& statistics, const ServerOptions& options);
  /// Ends the threads. If one is stuck in a request for more than some seconds, ends the process.
  ~Servers();
  Servers(const Servers&) = delete;
  Servers& operator=(const Servers&) = delete;

  /// Forgets the requests in flight of an earlier daemon. Starts one server thread and the watch thread. Installs a
  /// handler for SIGUSR1, which wakes threads. Call it once. Throws Error if there are no threads or no memory for
  /// them.
  void start();
  /// Becomes readable when the session has ended, as it does at an unmount. Owned by this object.
  [[nodiscard]] int ended_fd() const { return ended_.get(); }
  /// Lets the server threads answer the kept requests of another daemon, which has ended (RequestStore::take_back).
  /// Call it after `start`. False: requests aren't kept.
  bool take_back();
  /// Asks the threads to end and waits up to `limit` for them. False: one is still answering a request.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

  /// A server thread calls this while it answers a request, before an operation that may block on disk I/O. Relieves
  /// the calling thread. Does nothing on a thread that isn't a server thread. The operation needn't know whether its
  /// request is interrupted while it waits: if so, its reply fails (Interrupts).
  static void about_to_wait();
  /// The number of the request that this server thread answers. 0 on any other thread.
  [[nodiscard]] static std::uint64_t current_request();
  /// Keeps a copy of the request that this server thread answers, for an operation that replies later. Does nothing if
  /// requests aren't kept.
  [[nodiscard]] static RequestStore::Kept keep_request();
  /// For a request that this server thread can't answer yet. Returns a function that lets the server threads begin with
  /// the request anew. Call that function once, in any thread, after fuse_reply_none and before `stop`. Until then, the
  /// request is kept. On a thread that isn't a server thread, the function is empty. Throws std::bad_alloc.
  [[nodiscard]] static std::function<void()> put_aside();
  /// Notes that the process is about to end because this thread has crashed. For handlers of SIGSEGV and such:
  /// async-signal-safe. Does nothing on a thread that isn't a server thread.
  static void note_crash() noexcept;

 private:
  struct Server;  // server.h
  /// What the watch thread knows of a server.
  struct Seen {
    std::uint32_t step = 0;
    Interrupts::Clock::time_point since;  // when it was first seen with this step
    bool stuck = false;
  };
  /// A request that waits for a thread.
  struct Held {
    std::vector<char> bytes;
    RequestStore::Kept kept;
  };
  static thread_local Server* current_;

  void serve(Server& self);
  /// Waits until this thread is on duty; false: the thread must end.
  bool wait_for_duty(Server& self);
  /// After a lack of memory. False: there is none for seconds.
  bool wait_for_memory();
  /// Takes `server` off duty, if it is on duty, and calls another thread if none is on duty then.
  void relieve(Server& server);
  /// Puts one more thread on duty, unless `most_on_duty_` threads are on duty.
  void call_help();
  /// Calls a parked thread, or starts a new one; false: there is none.
  bool call_one() PKGFS_REQUIRES(parking_mutex_);
  void start_thread() PKGFS_REQUIRES(parking_mutex_);
  /// Holds the requests that another daemon has left.
  void hold(std::vector<RequestStore::Recovered> requests) PKGFS_EXCLUDES(parking_mutex_);
  /// Whether this thread, which isn't on duty, ends: there are enough others.
  bool retire(Server& self) PKGFS_REQUIRES(parking_mutex_);
  /// Gives up the duty of `self` if another thread is on duty. Returns whether it did.
  bool step_down(Server& self);
  void session_ended();
  void wake_all();
  void wake_watch();  // if it sleeps

  // How a server thread gets a request and answers it (server_requests.cc).

  /// The size of the next request. -EINTR or -EAGAIN: check the duty and try again; -ENOMEM: there is no memory for it;
  /// 0 or any other errno: the session has ended.
  int next_request(Server& self, RequestBuffer& buffer);
  /// Takes the request that the watch thread has held for longest. Returns its size, or 0 if there is none.
  int take_held(RequestBuffer& buffer);
  /// Lets a server thread take the request soon, as one that the watch thread holds. Replies ENOMEM without memory.
  void hold_again(Held& request) PKGFS_EXCLUDES(parking_mutex_);
  int poll_device(Server& self, RequestBuffer& buffer);
  void sleep_until_readable(Server& self);
  void answer(Server& self, const RequestBuffer& buffer);
  /// If `request` is poisoned, replies EIO. False: it isn't.
  bool refuse_poisoned(const fuse_buf& request);
  /// Replies EIO, if the request has a reply.
  void refuse(const fuse_buf& request) const;

  // Only the watch thread calls these (server_watch.cc).

  void watch();
  /// Relieves threads that have been answering the same request since the last call, and notes which are stuck. True:
  /// no request came since the last call, and only stuck threads are answering one.
  bool is_quiet(std::vector<Seen>& seen);
  /// Notes that the thread is stuck.
  void leave_behind(Server& server, Seen& seen);
  void settle_interrupts(const std::vector<Seen>& seen);
  /// Says where request `number` is (Interrupts::Found). If it is held, removes it from the held requests.
  Interrupts::Found find_request(const std::vector<Seen>& seen, std::uint64_t number,
                                 Interrupts::Clock::time_point now);
  /// Makes sure that a thread is on duty. False: all are stuck, and no other may be started.
  bool keep_one_on_duty();
  /// Reads the device in place of the threads, for one interval.
  void hold_requests();
  /// Makes the threads on duty look for held requests.
  void announce_held();

  fuse_session* session_;
  Statistics& statistics_;
  ServerOptions options_;
  unsigned most_on_duty_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::atomic<unsigned> running_{0};
  UniqueFd ended_;      // the session has ended
  UniqueFd all_ended_;  // the last thread has ended
  Interrupts interrupts_;

  Mutex parking_mutex_;
  std::condition_variable parking_;
  std::atomic<unsigned> on_duty_{0};  // threads on duty, and those called to duty; changed under `parking_mutex_`
  unsigned started_ PKGFS_GUARDED_BY(parking_mutex_) = 0;  // threads that were started and haven't ended
  unsigned stuck_ PKGFS_GUARDED_BY(parking_mutex_) = 0;    // of the started threads, those that are stuck
  unsigned parked_ PKGFS_GUARDED_BY(parking_mutex_) = 0;
  unsigned calls_ PKGFS_GUARDED_BY(parking_mutex_) = 0;  // parked threads that are to go on duty
  std::condition_variable ending_;                       // `stopping_` was set

  std::deque<Held> held_ PKGFS_GUARDED_BY(parking_mutex_);  // requests that wait for a thread
  std::atomic<bool> holds_some_{false};

  std::thread watch_;
  std::atomic<bool> watch_sleeps_{false};
  std::atomic<bool> stopping_{false};
};

}  // namespace pkgfs::fuse
