// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/file_lock.h"

namespace pkgfs {

/// The right to fill one entry of a cache. Only one thread of all processes has it at a time; the destructor gives it
/// up. The partial file survives, so that a later attempt can continue the download.
struct PartialEntry {
  std::string part;  // path of the partial file; an earlier attempt may have left it, or it may be missing
  FileLock lock;
};

}  // namespace pkgfs
