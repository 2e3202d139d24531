// SPDX-License-Identifier: MIT
#include "fuse/interrupts.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "fuse/request_header.h"

namespace pkgfs::fuse {
namespace {

/// How long a thread may need from reading a request to noting its number: it may have to wait for a CPU.
constexpr auto kNotedWithin = std::chrono::milliseconds(100);

}  // namespace

void Interrupts::add(const fuse_buf& request, RequestStore::Kept kept) {
  fuse_interrupt_in body{};
  if (request.size < sizeof(fuse_in_header) + sizeof(body)) {
    return;
  }
  std::memcpy(&body, static_cast<const char*>(request.mem) + sizeof(fuse_in_header), sizeof(body));
  try {
    const MutexLock lock(mutex_);
    items_.push_back({.request = body.unique,
                      .interrupt = header_of(request).unique,
                      .since = Clock::now(),
                      .kept = std::move(kept)});
    any_ = true;
  } catch (const std::bad_alloc&) {
    refuse(request, EAGAIN);  // the kernel sends it again
  }
}

void Interrupts::refuse(const fuse_buf& request, int error) const { reply(header_of(request).unique, error); }

void Interrupts::settle(Clock::time_point now, FunctionRef<Found(std::uint64_t request)> find) {
  if (!any_) {
    return;
  }
  const MutexLock lock(mutex_);
  std::erase_if(items_, [&](const Item& item) {
    switch (find(item.request)) {
      case Found::kWaiting:
        reply(item.request, EINTR);
        return true;
      case Found::kAnswered:
        return true;
      case Found::kYoung:
        return false;
      case Found::kNowhere:
        break;
    }
    if (now - item.since < kNotedWithin) {
      return false;
    }
    reply(item.interrupt, EAGAIN);
    return true;
  });
  any_ = !items_.empty();
}

void Interrupts::reply(std::uint64_t number, int error) const {
  fuse_out_header header{};
  header.len = sizeof(header);
  header.error = -error;
  header.unique = number;
  (void)!::write(device_, &header, sizeof(header));  // fails if the request was answered meanwhile
}

}  // namespace pkgfs::fuse
