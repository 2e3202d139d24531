// SPDX-License-Identifier: MIT
#include "fuse/servers.h"

#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <system_error>

#include "core/base/error.h"
#include "core/base/log.h"
#include "fuse/request_header.h"
#include "fuse/server.h"
#include "fuse/shared_state.h"
#include "fuse/statistics.h"

namespace pkgfs::fuse {
namespace {

using Clock = std::chrono::steady_clock;

/// Sent to a thread to end its sleep with EINTR.
constexpr int kWakeSignal = SIGUSR1;
constexpr auto kWakeInterval = std::chrono::milliseconds(5);
/// The largest request, and the memory for it (libfuse's buffer).
constexpr std::size_t kRequestBytes = (std::size_t{1} << 20U) + (std::size_t{64} << 10U);
/// Without memory for a request, a thread tries again so long.
constexpr auto kMemoryPatience = std::chrono::seconds(5);
constexpr auto kMemoryPause = std::chrono::milliseconds(10);

unsigned usable_cpus() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  return ::sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? static_cast<unsigned>(CPU_COUNT(&cpus)) : 1;
}

/// A stack on which the handlers of crashes can run when this thread's own stack is used up. It takes no memory before.
class AlternateStack {
 public:
  AlternateStack() {
    const stack_t stack{.ss_sp = memory_.get(), .ss_flags = 0, .ss_size = kBytes};
    ::sigaltstack(&stack, nullptr);
  }
  ~AlternateStack() {
    const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    ::sigaltstack(&none, nullptr);
  }
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;

 private:
  static constexpr std::size_t kBytes = std::size_t{64} << 10U;
  std::unique_ptr<std::byte[]> memory_ = std::make_unique_for_overwrite<std::byte[]>(kBytes);
};

/// Whether there is memory to receive a request.
bool has_memory() {
  void* volatile const memory = std::malloc(kRequestBytes);  // volatile: or the compiler leaves the allocation out
  const bool got = memory != nullptr;
  std::free(memory);
  return got;
}

}  // namespace

thread_local Servers::Server* Servers::current_ = nullptr;

Servers::Servers(fuse_session* session, Statistics& statistics, const ServerOptions& options)
    : session_(session),
      statistics_(statistics),
      options_(options),
      most_on_duty_(std::clamp(options.on_duty > 0 ? options.on_duty : usable_cpus() / 2, 1U, options.threads)),
      ended_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      all_ended_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      interrupts_(fuse_session_fd(session)) {
  options_.poll = options.poll && usable_cpus() > 1;  // on a single CPU, polling would only keep it from the reader
  // With three CPUs, a polling thread hinders neither the reader nor the other thread.
  if (usable_cpus() > 2) {
    options_.others_busy = nullptr;
  }
  if (!ended_ || !all_ended_) {
    throw system_error("Unable to serve the mount", errno);
  }
  const int device = fuse_session_fd(session_);
  ::fcntl(device, F_SETFL, ::fcntl(device, F_GETFL) | O_NONBLOCK);
}

Servers::~Servers() {
  if (!stop(std::chrono::seconds(5))) {
    std::_Exit(EXIT_FAILURE);  // a thread is stuck in a request and uses this object: only the end of the process helps
  }
}

void Servers::start() {
  struct sigaction action{};
  action.sa_handler = [](int) {};  // no SA_RESTART: system calls end with EINTR
  ::sigaction(kWakeSignal, &action, nullptr);
  SharedState& state = statistics_.state();
  state.forget_in_flight();
  for (std::size_t i = 0; i < std::max(options_.threads, options_.most_threads); ++i) {
    servers_.push_back(std::make_unique<Server>(*this, i < SharedState::kThreads ? &state.entry(i) : nullptr, i));
  }
  if (options_.keep_requests != nullptr) {
    hold(options_.keep_requests->recover());
  }
  const char* const what = "Unable to serve the mount";
  try {
    const MutexLock lock(parking_mutex_);
    start_thread();
    ++on_duty_;
    ++calls_;
    watch_ = std::thread([this] { watch(); });
  } catch (const std::system_error& error) {
    throw start_error(what, error.code().value());
  }
  // What the thread needs to receive a request. Without it, the mount would end when a program uses it.
  if (!has_memory()) {
    throw system_error(what, ENOMEM);
  }
}

bool Servers::take_back() {
  if (options_.keep_requests == nullptr) {
    return false;
  }
  hold(options_.keep_requests->take_back());
  wake_watch();  // it makes the threads look for held requests
  return true;
}

void Servers::hold(std::vector<RequestStore::Recovered> requests) {
  const MutexLock lock(parking_mutex_);
  for (RequestStore::Recovered& one : requests) {
    if (one.is_whole) {
      held_.push_back({.bytes = std::move(one.bytes), .kept = std::move(one.kept)});
    } else {
      fuse_buf header{};
      header.mem = one.bytes.data();
      refuse(header);
    }
  }
  holds_some_ = !held_.empty();
}

void Servers::start_thread() {
  const auto place = std::ranges::find_if(servers_, [](const auto& server) { return !server->taken; });
  Server& next = **place;
  if (next.thread.joinable()) {
    next.thread.join();  // has left its place for good, and takes no lock any more
  }
  next.thread = std::thread([this, &next] { serve(next); });
  next.taken = true;
  ++started_;
  ++running_;
}

bool Servers::call_one() {
  if (parked_ <= calls_) {
    if (started_ == servers_.size() || started_ - stuck_ >= options_.threads || stopping_) {
      return false;
    }
    try {
      start_thread();
    } catch (const std::system_error&) {
      return false;  // the system has no more threads: those that run must do
    }
  }
  ++on_duty_;
  ++calls_;
  return true;
}

bool Servers::stop(std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  wake_all();  // before the threads see the end of the session: none starts another one after this
  fuse_session_exit(session_);
  if (watch_.joinable()) {
    watch_.join();  // it sends signals to threads, too
  }
  while (running_ > 0 && Clock::now() < deadline) {
    for (const auto& server : servers_) {
      if (server->thread.joinable()) {
        ::pthread_kill(server->thread.native_handle(), kWakeSignal);
      }
    }
    pollfd ended{.fd = all_ended_.get(), .events = POLLIN, .revents = 0};
    (void)::poll(&ended, 1, static_cast<int>(kWakeInterval.count()));
  }
  if (running_ > 0) {
    return false;
  }
  for (const auto& server : servers_) {
    if (server->thread.joinable()) {
      server->thread.join();
    }
  }
  servers_.clear();
  return true;
}

void Servers::wake_all() {
  {
    const MutexLock lock(parking_mutex_);
    stopping_ = true;
  }
  parking_.notify_all();
  ending_.notify_all();
  watch_sleeps_ = false;
  watch_sleeps_.notify_all();
}

void Servers::wake_watch() {
  if (watch_sleeps_) {
    watch_sleeps_ = false;
    watch_sleeps_.notify_one();
  }
}

bool Servers::wait_for_memory() {
  const auto deadline = Clock::now() + kMemoryPatience;
  while (!stopping_ && !has_memory()) {
    if (Clock::now() >= deadline) {
      log::warn("{}", system_error("no request of the kernel can be received", ENOMEM).message());
      return false;
    }
    std::this_thread::sleep_for(kMemoryPause);
  }
  return true;
}

void Servers::about_to_wait() {
  if (current_ != nullptr) {
    current_->servers.relieve(*current_);
  }
}

std::uint64_t Servers::current_request() { return current_ == nullptr ? 0 : current_->now.unique.load(); }

RequestStore::Kept Servers::keep_request() {
  return current_ == nullptr ? RequestStore::Kept() : current_->buffer->keep();
}

void Servers::note_crash() noexcept {
  if (current_ != nullptr) {
    current_->now.crashed.store(true);
  }
}

void Servers::serve(Server& self) {
  current_ = &self;
  const AlternateStack stack;
  RequestBuffer buffer(session_, options_.keep_requests, self.slot);
  self.buffer = &buffer;
  while (wait_for_duty(self)) {
    const int received = next_request(self, buffer);
    if (received == -EINTR || received == -EAGAIN) {
      continue;
    }
    if (received == -ENOMEM && (step_down(self) || wait_for_memory())) {
      continue;
    }
    if (received <= 0) {  // unmounted, or the connection was aborted
      session_ended();
      break;
    }
    if (returns_references(header_of(buffer.request()).opcode)) {
      buffer.done();  // a reference that is returned twice is worse than one that is never returned
    }
    answer(self, buffer);
    buffer.done();
  }
  if (running_.fetch_sub(1) == 1) {
    const std::uint64_t one = 1;
    (void)!::write(all_ended_.get(), &one, sizeof(one));
  }
}

void Servers::session_ended() {
  fuse_session_exit(session_);
  wake_all();
  const std::uint64_t one = 1;
  (void)!::write(ended_.get(), &one, sizeof(one));
}

bool Servers::wait_for_duty(Server& self) {
  if (self.on_duty.load(std::memory_order_acquire)) {
    return fuse_session_exited(session_) == 0;
  }
  MutexLock lock(parking_mutex_);
  if (self.stuck) {
    self.stuck = false;
    --stuck_;
  }
  if (on_duty_ == 0) {  // this thread was relieved, and there was no other to call
    on_duty_ = 1;
  } else {
    if (retire(self)) {
      return false;
    }
    ++parked_;
    lock.wait(parking_, [this]() PKGFS_REQUIRES(parking_mutex_) { return calls_ > 0 || stopping_; });
    --parked_;
    if (stopping_) {
      return false;
    }
    --calls_;
  }
  self.in_a_row = 0;
  self.on_duty.store(true, std::memory_order_release);
  return fuse_session_exited(session_) == 0;
}

bool Servers::retire(Server& self) {
  // With a call pending, this may be the thread that was started for it.
  if (started_ - stuck_ <= options_.threads || calls_ > 0) {
    return false;
  }
  self.taken = false;
  --started_;
  return true;
}

void Servers::relieve(Server& server) {
  if (!server.on_duty.exchange(false)) {
    return;
  }
  {
    const MutexLock lock(parking_mutex_);
    --on_duty_;
    if (on_duty_ > 0 || !call_one()) {
      return;
    }
  }
  statistics_.add_relieved();
  parking_.notify_one();
}

void Servers::call_help() {
  {
    const MutexLock lock(parking_mutex_);
    if (on_duty_ >= most_on_duty_ || !call_one()) {
      return;
    }
  }
  parking_.notify_one();
}

bool Servers::step_down(Server& self) {
  const MutexLock lock(parking_mutex_);
  if (on_duty_ <= 1 || !self.on_duty.exchange(false)) {
    return false;
  }
  --on_duty_;
  return true;
}

}  // namespace pkgfs::fuse
