// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include <grpcpp/support/status.h>

#include "core/base/thread_annotations.h"
#include "daemon/csi/refusal.h"

namespace pkgfs::csi {

/// Counts the calls, by name and status. Thread-safe.
class CallCounts {
 public:
  using Table = std::map<std::pair<std::string, int>, std::uint64_t>;

  /// Logs a call that failed, and counts it.
  void add(const char* call, const grpc::Status& status);
  [[nodiscard]] Table table() {
    const MutexLock lock(mutex_);
    return table_;
  }

 private:
  Mutex mutex_;
  Table table_ PKGFS_GUARDED_BY(mutex_);
};

/// Runs the body of a call; an exception becomes its status.
template <typename Body>
grpc::Status answer(CallCounts& counts, const char* call, Body&& body) {
  grpc::Status status;
  try {
    body();
  } catch (...) {
    status = current_status();
  }
  counts.add(call, status);
  return status;
}

}  // namespace pkgfs::csi
