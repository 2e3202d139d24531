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
#include "fuse/statistics.h"

namespace pkgfs::fuse {
namespace {

using Clock = std::chrono::steady_clock;

/// Sent to a thread to end its sleep with EINTR.
constexpr int kWakeSignal = SIGUSR1;
constexpr auto kWakeInterval = std::chrono::milliseconds(5);
/// How long an answer may take before another thread reads the device.
constexpr auto kWatchInterval = std::chrono::milliseconds(5);
/// After so many intervals without a request, the watch sleeps until there is one.
constexpr int kQuietIntervals = 2;
/// After so many requests without an empty queue between them, one more thread reads the device.
constexpr unsigned kManyInARow = 32;

unsigned usable_cpus() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  return ::sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? static_cast<unsigned>(CPU_COUNT(&cpus)) : 1;
}

}  // namespace

struct alignas(64) Servers::Server {
  explicit Server(Servers& team) : servers(team) {}

  Servers& servers;
  std::thread thread;
  std::atomic<bool> on_duty{false};
  std::atomic<std::uint32_t> step{0};  // odd while a request is answered
  PollWindow window;
  unsigned in_a_row = 0;
};

thread_local Servers::Server* Servers::current_ = nullptr;

Servers::Servers(fuse_session* session, Statistics& statistics, const ServerOptions& options)
    : session_(session),
      statistics_(statistics),
      options_(options),
      most_on_duty_(std::clamp(options.on_duty > 0 ? options.on_duty : usable_cpus() / 2, 1U, options.threads)),
      ended_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  options_.poll = options.poll && usable_cpus() > 1;  // on a single CPU, polling would only keep it from the reader
  // With three CPUs, a polling thread hinders neither the reader nor the other thread.
  if (usable_cpus() > 2) {
    options_.others_busy = nullptr;
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
  for (unsigned i = 0; i < options_.threads; ++i) {
    servers_.push_back(std::make_unique<Server>(*this));
  }
  {
    const MutexLock lock(parking_mutex_);
    start_thread();
    ++on_duty_;
    ++calls_;
  }
  watch_ = std::thread([this] { watch(); });
}

void Servers::start_thread() {
  Server& next = *servers_[started_];
  next.thread = std::thread([this, &next] { serve(next); });
  ++started_;
  ++running_;
}

bool Servers::call_one() {
  if (parked_ <= calls_) {
    if (started_ == servers_.size() || stopping_) {
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
  unsigned started = 0;
  {
    const MutexLock lock(parking_mutex_);
    started = started_;
  }
  while (running_ > 0 && Clock::now() < deadline) {
    for (unsigned i = 0; i < started; ++i) {
      ::pthread_kill(servers_[i]->thread.native_handle(), kWakeSignal);
    }
    pollfd ended{.fd = ended_.get(), .events = POLLIN, .revents = 0};
    (void)::poll(&ended, 1, static_cast<int>(kWakeInterval.count()));
  }
  if (running_ > 0) {
    return false;
  }
  for (unsigned i = 0; i < started; ++i) {
    servers_[i]->thread.join();
  }
  {
    const MutexLock lock(parking_mutex_);
    started_ = 0;
  }
  if (watch_.joinable()) {
    watch_.join();
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

void Servers::about_to_wait() {
  if (current_ != nullptr) {
    current_->servers.relieve(*current_);
  }
}

void Servers::serve(Server& self) {
  current_ = &self;
  fuse_buf buffer{};
  while (wait_for_duty(self)) {
    const int received = next_request(self, buffer);
    if (received == -EINTR || received == -EAGAIN) {
      continue;
    }
    if (received <= 0) {  // unmounted, or the connection was aborted
      fuse_session_exit(session_);
      wake_all();
      break;
    }
    self.step.fetch_add(1);
    if (watch_sleeps_) {
      watch_sleeps_ = false;
      watch_sleeps_.notify_one();
    }
    fuse_session_process_buf(session_, &buffer);
    self.step.fetch_add(1);
  }
  std::free(buffer.mem);
  if (running_.fetch_sub(1) == 1) {
    const std::uint64_t one = 1;
    (void)!::write(ended_.get(), &one, sizeof(one));
  }
}

bool Servers::wait_for_duty(Server& self) {
  if (self.on_duty.load(std::memory_order_acquire)) {
    return fuse_session_exited(session_) == 0;
  }
  MutexLock lock(parking_mutex_);
  if (on_duty_ == 0) {  // this thread was relieved, and there was no other to call
    on_duty_ = 1;
  } else {
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

int Servers::next_request(Server& self, fuse_buf& buffer) {
  const int received = fuse_session_receive_buf(session_, &buffer);
  if (received != -EAGAIN) {
    if (++self.in_a_row % kManyInARow == 0) {
      call_help();
    }
    return received;
  }
  self.in_a_row = 0;
  if (on_duty_.load(std::memory_order_relaxed) > 1 && step_down(self)) {
    return -EINTR;
  }
  if (const int found = options_.poll ? poll_device(self, buffer) : -EAGAIN; found != -EAGAIN) {
    return found;
  }
  sleep_until_readable(self);
  return -EINTR;
}

int Servers::poll_device(Server& self, fuse_buf& buffer) {
  const auto begin = Clock::now();
  const auto length = self.window.length(begin);
  const auto is_worth_it = [&](PollWindow::Time now) {
    return now - begin < length &&
           (options_.others_busy == nullptr || !options_.others_busy->load(std::memory_order_relaxed));
  };
  if (!is_worth_it(begin)) {
    return -EAGAIN;
  }
  for (auto last = begin; is_worth_it(last);) {
    ::sched_yield();  // to a reader that waits for this CPU
    const int received = fuse_session_receive_buf(session_, &buffer);
    const auto now = Clock::now();
    if (now - last > PollWindow::kDisturbance) {
      self.window.disturbed(now);
      return received;
    }
    if (received != -EAGAIN) {
      self.window.found();
      statistics_.add_polled();
      return received;
    }
    last = now;
  }
  if (Clock::now() - begin >= length) {
    self.window.missed();
  }
  return -EAGAIN;
}

void Servers::sleep_until_readable(Server& self) {
  const auto begin = Clock::now();
  pollfd device{.fd = fuse_session_fd(session_), .events = POLLIN, .revents = 0};
  if (::poll(&device, 1, -1) == 1) {
    self.window.slept(Clock::now() - begin);
  }
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

void Servers::watch() {
  std::vector<std::uint32_t> steps(servers_.size());
  int quiet = 0;
  while (!stopping_) {
    quiet = is_quiet(steps) ? quiet + 1 : 0;
    if (quiet >= kQuietIntervals) {
      watch_sleeps_ = true;
      if (is_quiet(steps) && !stopping_) {  // a thread that takes a request from now on wakes the watch
        watch_sleeps_.wait(true);
      }
      watch_sleeps_ = false;
      quiet = 0;
    }
    MutexLock lock(parking_mutex_);
    lock.wait_for(ending_, kWatchInterval, [this] { return stopping_.load(); });
  }
}

bool Servers::is_quiet(std::vector<std::uint32_t>& steps) {
  bool quiet = true;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    Server& server = *servers_[i];
    const std::uint32_t step = server.step;
    const bool answering = step % 2 == 1;
    if (answering && step == steps[i]) {
      relieve(server);
    }
    quiet = quiet && !answering && step == steps[i];
    steps[i] = step;
  }
  return quiet;
}

}  // namespace pkgfs::fuse
