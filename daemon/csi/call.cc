// SPDX-License-Identifier: MIT
#include "daemon/csi/call.h"

#include "core/base/log.h"

namespace pkgfs::csi {

void CallCounts::add(const char* call, const grpc::Status& status) {
  if (!status.ok()) {
    log::info("{}: {} (status {})", call, status.error_message(), static_cast<int>(status.error_code()));
  }
  const MutexLock lock(mutex_);
  ++table_[{call, static_cast<int>(status.error_code())}];
}

}  // namespace pkgfs::csi
