// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/resolve/lock_file.h"

/// A lock file: it is refused with an Error, or each dependency is one of its packages.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace pkgfs;
  LockFile lock;
  try {
    lock = parse_lock({reinterpret_cast<const char*>(data), size});
  } catch (const Error&) {
    return 0;
  }
  std::set<std::string> ids;
  for (const LockFile::Locked& locked : lock.packages) {
    ids.insert(locked.summary.pkg.id.to_string());
  }
  for (const LockFile::Locked& locked : lock.packages) {
    for (const std::string& id : locked.dependency_ids) {
      if (!ids.contains(id)) {
        std::abort();
      }
    }
  }
  return 0;
}
