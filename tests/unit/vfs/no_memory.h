// SPDX-License-Identifier: MIT
#pragma once

namespace pkgfs::test {

/// While it lives, `new` throws std::bad_alloc in this thread.
class NoMemory {
 public:
  NoMemory();
  ~NoMemory();
  NoMemory(const NoMemory&) = delete;
  NoMemory& operator=(const NoMemory&) = delete;
};

}  // namespace pkgfs::test
