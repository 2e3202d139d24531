// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <string>
#include <thread>

#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"

namespace pkgfs::fuse {

class Statistics;

/// While many requests come, keeps idle CPUs from sleeping deeply, by a latency request to the kernel (CPU latency QoS,
/// Documentation/power/pm_qos_interface.rst). A reader that waits for a reply leaves its CPU idle. To wake up that CPU
/// costs more than most replies, above all in a virtual machine.
///
/// The latency request ends some milliseconds after the last requests of readers, and at the latest with this process.
/// Other processes can use these CPUs as before.
class CpuLatency {
 public:
  enum class Use : std::uint8_t {
    kAuto,  // on, unless there are more than kFewCpus: the kernel applies a latency request to all CPUs
    kOn,
    kOff,
  };
  static constexpr unsigned kFewCpus = 4;

  /// `statistics`, whose requests are counted, must outlive this.
  explicit CpuLatency(const Statistics& statistics) : statistics_(statistics) {}
  /// Ends the thread and the latency request.
  ~CpuLatency();
  CpuLatency(const CpuLatency&) = delete;
  CpuLatency& operator=(const CpuLatency&) = delete;

  /// Starts a thread that watches the number of requests, and that sleeps while there are none. Returns an empty text,
  /// or the reason why it wasn't started. Everything works without the thread, but a little more slowly.
  [[nodiscard]] std::string start(Use use);

  /// To be called after each request, once it is counted and answered.
  void request_came() {
    if (asleep_.load(std::memory_order_relaxed)) {
      wake();
    }
  }

 private:
  void run();
  void wake();
  /// Makes or ends the latency request, given how many requests came in how long a time.
  void decide(std::uint64_t requests, std::chrono::nanoseconds time);

  const Statistics& statistics_;
  // Its thread's.
  UniqueFd latency_request_;  // lasts as long as the descriptor is open
  bool refused_ = false;
  std::thread thread_;
  std::atomic<bool> asleep_{false};
  Mutex mutex_;
  std::condition_variable ending_;
  bool stopping_ PKGFS_GUARDED_BY(mutex_) = false;
};

}  // namespace pkgfs::fuse
