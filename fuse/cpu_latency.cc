// SPDX-License-Identifier: MIT
#include "fuse/cpu_latency.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "fuse/statistics.h"

namespace pkgfs::fuse {
namespace {

constexpr const char* kDevice = "/dev/cpu_dma_latency";
/// Microseconds. With 0, idle CPUs poll for work instead of sleeping.
constexpr std::int32_t kWanted = 0;
constexpr auto kFirstInterval = std::chrono::milliseconds(1);
constexpr auto kInterval = std::chrono::milliseconds(5);
/// Requests a second: from kMany on the latency request is made, below kFew it ends.
constexpr std::uint64_t kMany = 1000;
constexpr std::uint64_t kFew = 500;
/// Fewer requests than this in an interval are never many, however short it was.
constexpr std::uint64_t kLeast = 4;

UniqueFd make_latency_request() {
  UniqueFd device(::open(kDevice, O_WRONLY | O_CLOEXEC));
  if (device && ::write(device.get(), &kWanted, sizeof(kWanted)) != sizeof(kWanted)) {
    device.reset();
  }
  return device;
}

}  // namespace

CpuLatency::~CpuLatency() {
  if (!thread_.joinable()) {
    return;
  }
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  ending_.notify_one();
  wake();
  thread_.join();
}

std::string CpuLatency::start(Use use) {
  if (use == Use::kOff) {
    return "it is off";
  }
  if (use == Use::kAuto) {
    if (const long cpus = ::sysconf(_SC_NPROCESSORS_ONLN); cpus > static_cast<long>(kFewCpus)) {
      return std::to_string(cpus) + " CPUs are too many to keep awake";
    }
  }
  if (!make_latency_request()) {
    return system_error(std::string("\"") + kDevice + "\"", errno).message();
  }
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    return "no thread for it: " + start_text(error.code().value());
  }
  return {};
}

void CpuLatency::wake() {
  asleep_.store(false);
  asleep_.notify_one();
}

void CpuLatency::run() {
  using Clock = std::chrono::steady_clock;
  std::uint64_t counted = statistics_.requests();
  auto looked = Clock::now();
  auto interval = kFirstInterval;
  MutexLock lock(mutex_);
  while (!stopping_) {
    lock.wait_for(ending_, std::exchange(interval, kInterval), [this]() PKGFS_REQUIRES(mutex_) { return stopping_; });
    const std::uint64_t count = statistics_.requests();
    const std::uint64_t requests = count - std::exchange(counted, count);
    const auto now = Clock::now();
    decide(requests, now - std::exchange(looked, now));
    if (requests == 0 && !stopping_) {
      asleep_.store(true);
      lock.unlock();
      // A request that came just before goes unnoticed; the next one wakes this thread.
      asleep_.wait(true);
      lock.lock();
      looked = Clock::now();
      interval = kFirstInterval;
    }
  }
  latency_request_.reset();
}

void CpuLatency::decide(std::uint64_t requests, std::chrono::nanoseconds time) {
  const auto nanoseconds = static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 1));
  const std::uint64_t a_second = requests * std::nano::den / nanoseconds;
  if (!latency_request_ && !refused_ && requests >= kLeast && a_second >= kMany) {
    latency_request_ = make_latency_request();
    refused_ = !latency_request_;
    if (refused_) {
      log::debug("idle CPUs may sleep (--cpu-latency): {}", system_error(kDevice, errno).message());
    }
  } else if (latency_request_ && a_second < kFew) {
    latency_request_.reset();
  }
}

}  // namespace pkgfs::fuse
