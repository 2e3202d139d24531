// SPDX-License-Identifier: MIT
#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>
#include <utility>

#include "fuse/request_buffer.h"
#include "fuse/request_header.h"
#include "fuse/server.h"
#include "fuse/servers.h"
#include "fuse/statistics.h"

namespace pkgfs::fuse {
namespace {

using Clock = std::chrono::steady_clock;

/// After so many requests without an empty queue between them, one more thread reads the device.
constexpr unsigned kManyInARow = 32;

}  // namespace

int Servers::next_request(Server& self, RequestBuffer& buffer) {
  if (holds_some_.load(std::memory_order_relaxed)) {
    if (const int size = take_held(buffer); size > 0) {
      return size;
    }
  }
  const int received = buffer.receive();
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

int Servers::take_held(RequestBuffer& buffer) {
  const MutexLock lock(parking_mutex_);
  if (held_.empty()) {
    return 0;
  }
  if (!buffer.has_memory()) {
    return 0;  // this thread must read the device first
  }
  buffer.put(held_.front().bytes);
  held_.pop_front();  // kept in `buffer` from now on
  holds_some_ = !held_.empty();
  return static_cast<int>(buffer.request().size);
}

std::function<void()> Servers::put_aside() {
  if (current_ == nullptr) {
    return {};
  }
  const fuse_buf& request = current_->buffer->request();
  const auto* const begin = static_cast<const char*>(request.mem);
  auto held = std::make_shared<Held>();
  held->bytes.assign(begin, begin + request.size);
  held->kept = current_->buffer->keep();
  return [&servers = current_->servers, held] { servers.hold_again(*held); };
}

void Servers::hold_again(Held& request) {
  try {
    const MutexLock lock(parking_mutex_);
    held_.push_back(std::move(request));
    holds_some_ = true;
  } catch (const std::bad_alloc&) {
    fuse_buf header{};
    header.mem = request.bytes.data();
    interrupts_.refuse(header, ENOMEM);
  }
  wake_watch();  // it makes the threads look for held requests
}

int Servers::poll_device(Server& self, RequestBuffer& buffer) {
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
    const int received = buffer.receive();
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

void Servers::answer(Server& self, const RequestBuffer& buffer) {
  const fuse_buf& request = buffer.request();
  if (header_of(request).opcode == FUSE_INTERRUPT && options_.interrupts) [[unlikely]] {
    interrupts_.add(request, buffer.keep());
    wake_watch();
    return;
  }
  if (!options_.poisoned.empty() && refuse_poisoned(request)) [[unlikely]] {
    return;
  }
  InFlightEntry& now = self.now;
  const fuse_in_header& header = header_of(request);
  now.unique.store(header.unique, std::memory_order_relaxed);
  now.node.store(header.nodeid, std::memory_order_relaxed);
  now.opcode.store(header.opcode, std::memory_order_relaxed);
  now.step.fetch_add(1);
  wake_watch();
  fuse_session_process_buf(session_, &request);
  now.step.store(now.step.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

bool Servers::refuse_poisoned(const fuse_buf& request) {
  const fuse_in_header& header = header_of(request);
  const NodeRequest what{.node = header.nodeid, .opcode = header.opcode};
  if (std::ranges::find(options_.poisoned, what) == options_.poisoned.end()) {
    return false;
  }
  refuse(request);
  return true;
}

void Servers::refuse(const fuse_buf& request) const {
  if (!returns_references(header_of(request).opcode)) {
    interrupts_.refuse(request, EIO);
  }
}

}  // namespace pkgfs::fuse
