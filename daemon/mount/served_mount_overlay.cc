// SPDX-License-Identifier: MIT
// The members of ServedMount for the overlay that makes a mount writable.
#include "core/base/log.h"
#include "daemon/mount/served_mount.h"

namespace pkgfs {

void ServedMount::attach_overlay() {
  if (succession_.predecessor() == nullptr) {
    try {
      writable_->attach(options_, settings_.source);
    } catch (...) {
      succession_.let_go(manager_);
      throw;
    }
  }
  watch_overlay();
}

void ServedMount::watch_overlay() {
  writable_->take_change();
  if (!writable_->is_attached()) {
    writable_->detach_lower();  // the session ends when no container uses the overlay any more
    return;
  }
  watch_.call_when_readable(writable_->changed_fd(), [this] { watch_overlay(); });
}

}  // namespace pkgfs
