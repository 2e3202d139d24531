// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/file_lock.h"

namespace pkgfs {

/// Makes and locks the state directory of a driver of volumes, which is `owner` in messages ("volume plugin"). Throws
/// Error(kBusy) with `advice` if another process has locked it.
[[nodiscard]] FileLock lock_state(const std::string& directory, const std::string& owner, const std::string& advice);

}  // namespace pkgfs
