// SPDX-License-Identifier: MIT
#include "fuse/cpu_latency.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "fuse/statistics.h"

namespace pkgfs::fuse {
namespace {

constexpr const char* kDevice = "/dev/cpu_dma_latency";
/// Microseconds; 0: idle CPUs look for work instead of sleeping.
constexpr std::int32_t kWanted = 0;
constexpr auto kFirstInterval = std::chrono::milliseconds(1);
constexpr auto kInterval = std::chrono::milliseconds(5);
/// In an interval: from so many requests on the wish is made, below so few it ends.
constexpr std::uint64_t kMany = 4;
constexpr std::uint64_t kFew = 2;

UniqueFd make_wish() {
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
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ending_.notify_one();
  wake();
  thread_.join();
}

std::string CpuLatency::start(Use use) {
  const long cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  if (use == Use::kOff) {
    return "it is off";
  }
  if (use == Use::kAuto && cpus > static_cast<long>(kFewCpus)) {
    return std::to_string(cpus) + " CPUs are too many to keep awake";
  }
  if (::access(kDevice, W_OK) != 0) {
    return system_error(std::string("\"") + kDevice + "\"", errno).message();
  }
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    return std::string("no thread for it: ") + error.what();
  }
  return {};
}

void CpuLatency::wake() {
  asleep_.store(false);
  asleep_.notify_one();
}

void CpuLatency::run() {
  std::uint64_t before = statistics_.requests();
  auto interval = kFirstInterval;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    ending_.wait_for(lock, std::exchange(interval, kInterval), [this] { return stopping_; });
    const std::uint64_t now = statistics_.requests();
    decide(now - before);
    if (now == before && !stopping_) {
      asleep_.store(true);
      lock.unlock();
      // A request that came just before goes unnoticed: the next one wakes us.
      asleep_.wait(true);
      lock.lock();
      interval = kFirstInterval;
    }
    before = now;
  }
  wish_.reset();
}

void CpuLatency::decide(std::uint64_t requests) {
  if (!wish_ && requests >= kMany) {
    wish_ = make_wish();
  } else if (wish_ && requests < kFew) {
    wish_.reset();
  }
}

}  // namespace pkgfs::fuse
