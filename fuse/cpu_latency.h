// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "core/base/unique_fd.h"

namespace pkgfs::fuse {

class Statistics;

/// While many requests come, asks the kernel to keep idle CPUs from going to sleep (CPU latency QoS,
/// Documentation/power/pm_qos_interface.rst): a reader that waits for an answer leaves its CPU idle, and to wake that
/// costs more than most answers do, above all in a virtual machine. The wish ends some milliseconds after the requests,
/// and with this process, however that ends. Who has work for the CPU gets it as ever.
class CpuLatency {
 public:
  enum class Use : std::uint8_t {
    kAuto,  // unless more than kFewCpus would be kept awake: the kernel takes the wish for all of them
    kOn,
    kOff,
  };
  static constexpr unsigned kFewCpus = 4;

  /// `statistics` must outlive this; its requests are counted.
  explicit CpuLatency(const Statistics& statistics) : statistics_(statistics) {}
  /// Ends the thread and the wish.
  ~CpuLatency();
  CpuLatency(const CpuLatency&) = delete;
  CpuLatency& operator=(const CpuLatency&) = delete;

  /// Begins to look after the requests, on a thread of its own that sleeps when there are none. Returns why it doesn't,
  /// if so: nothing but some speed is lost.
  [[nodiscard]] std::string start(Use use);

  /// To be called when a request was counted and answered.
  void request_came() {
    if (asleep_.load(std::memory_order_relaxed)) {
      wake();
    }
  }

 private:
  void run();
  void wake();
  /// Makes the wish or ends it, by how many requests there were in how long a time.
  void decide(std::uint64_t requests, std::chrono::nanoseconds time);

  const Statistics& statistics_;
  // Its thread's.
  UniqueFd wish_;  // open: the wish is made
  bool refused_ = false;
  std::thread thread_;
  std::atomic<bool> asleep_{false};
  std::mutex mutex_;
  std::condition_variable ending_;
  bool stopping_ = false;  // guarded by `mutex_`
};

}  // namespace pkgfs::fuse
