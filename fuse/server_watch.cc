// SPDX-License-Identifier: MIT
#include <poll.h>
#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "fuse/request_buffer.h"
#include "fuse/request_header.h"
#include "fuse/server.h"
#include "fuse/servers.h"
#include "fuse/shared_state.h"

namespace pkgfs::fuse {
namespace {

using Clock = Interrupts::Clock;

/// How long an answer may take before another thread reads the device.
constexpr auto kWatchInterval = std::chrono::milliseconds(5);
/// After so many intervals without a request, the watch sleeps until there is one.
constexpr int kQuietIntervals = 2;
/// A thread that answers one request for longer is stuck.
constexpr auto kPatience = std::chrono::milliseconds(50);
/// A request can be interrupted after this time. Few programs expect EINTR from open(2) or stat(2) when a child process
/// has ended or a timer has run out. So a disk that is only slow, or a large directory, must not cause it.
constexpr auto kInterruptible = std::chrono::milliseconds(500);

}  // namespace

void Servers::watch() {
  std::vector<Seen> seen(servers_.size());
  int quiet = 0;
  while (!stopping_) {
    quiet = is_quiet(seen) ? quiet + 1 : 0;
    settle_interrupts(seen);
    if (!keep_one_on_duty()) {
      hold_requests();
      quiet = 0;
      continue;
    }
    if (holds_some_) {
      announce_held();
      quiet = 0;
    }
    if (quiet >= kQuietIntervals) {
      watch_sleeps_ = true;
      // A thread that takes or holds a request from now on wakes the watch.
      if (is_quiet(seen) && !interrupts_.any() && !holds_some_ && !stopping_) {
        watch_sleeps_.wait(true);
      }
      watch_sleeps_ = false;
      quiet = 0;
    }
    MutexLock lock(parking_mutex_);
    lock.wait_for(ending_, kWatchInterval, [this] { return stopping_.load(); });
  }
}

bool Servers::is_quiet(std::vector<Seen>& seen) {
  const auto now = Clock::now();
  bool quiet = true;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    Server& server = *servers_[i];
    const std::uint32_t step = server.now.step;
    const bool answering = step % 2 == 1;
    if (step != seen[i].step) {
      seen[i] = {.step = step, .since = now};
      quiet = false;
    } else if (answering && !seen[i].stuck) {
      relieve(server);
      if (now - seen[i].since >= kPatience) {
        leave_behind(server, seen[i]);
      }
      quiet = false;
    }
  }
  return quiet;
}

void Servers::leave_behind(Server& server, Seen& seen) {
  const MutexLock lock(parking_mutex_);
  if (server.now.step != seen.step) {
    return;  // it is about to come back
  }
  server.stuck = true;
  ++stuck_;
  seen.stuck = true;
}

void Servers::settle_interrupts(const std::vector<Seen>& seen) {
  const auto now = Clock::now();
  interrupts_.settle(now, [&](std::uint64_t number) { return find_request(seen, number, now); });
}

Interrupts::Found Servers::find_request(const std::vector<Seen>& seen, std::uint64_t number, Clock::time_point now) {
  using enum Interrupts::Found;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const Server& server = *servers_[i];
    const std::uint32_t step = server.now.step;
    if (step % 2 == 1 && server.now.unique == number) {
      return step == seen[i].step && now - seen[i].since >= kInterruptible ? kWaiting : kYoung;
    }
  }
  if (options_.interrupt && options_.interrupt(number)) {
    return kAnswered;
  }
  const MutexLock lock(parking_mutex_);
  const auto held = std::ranges::find_if(held_, [number](const Held& one) {
    fuse_in_header header{};
    std::memcpy(&header, one.bytes.data(), sizeof(header));
    return header.unique == number;
  });
  if (held == held_.end()) {
    return kNowhere;
  }
  fuse_buf request{};
  request.mem = held->bytes.data();
  interrupts_.refuse(request, EINTR);
  held_.erase(held);  // after the reply: until then it is kept
  holds_some_ = !held_.empty();
  return kAnswered;
}

bool Servers::keep_one_on_duty() {
  if (on_duty_ > 0) {
    return true;
  }
  {
    const MutexLock lock(parking_mutex_);
    if (on_duty_ > 0) {
      return true;
    }
    if (!call_one()) {
      return stuck_ < started_;
    }
  }
  parking_.notify_one();
  return true;
}

void Servers::hold_requests() {
  pollfd device{.fd = fuse_session_fd(session_), .events = POLLIN, .revents = 0};
  if (::poll(&device, 1, static_cast<int>(kWatchInterval.count())) != 1) {
    return;
  }
  RequestBuffer buffer(session_, options_.keep_requests, SharedState::kThreads);
  const int received = buffer.receive();
  const fuse_buf& request = buffer.request();
  if (received > 0 && header_of(request).opcode == FUSE_INTERRUPT && options_.interrupts) {
    interrupts_.add(request, buffer.keep());
  } else if (received > 0) {
    try {
      const auto* const begin = static_cast<const char*>(request.mem);
      Held held{.bytes = {begin, begin + received}, .kept = buffer.keep()};
      const MutexLock lock(parking_mutex_);
      held_.push_back(std::move(held));
      holds_some_ = true;
    } catch (const std::bad_alloc&) {
      interrupts_.refuse(request, ENOMEM);
    }
  } else if (received != -EINTR && received != -EAGAIN && received != -ENOMEM) {
    session_ended();
  }
  buffer.done();
}

void Servers::announce_held() {
  const MutexLock lock(parking_mutex_);
  for (const auto& server : servers_) {
    if (server->taken && server->on_duty) {
      ::pthread_kill(server->thread.native_handle(), SIGUSR1);
    }
  }
}

}  // namespace pkgfs::fuse
