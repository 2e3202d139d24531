// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/resolve/lock_file.h"

/// A lock file: it is refused with an Error, or it prints in a form that reads again as the same.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace pkgfs;
  LockFile lock;
  try {
    lock = parse_lock({reinterpret_cast<const char*>(data), size});
  } catch (const Error&) {
    return 0;
  }
  const LockSource source(lock);
  const std::string printed = print_lock(lock);
  if (print_lock(parse_lock(printed)) != printed) {
    std::abort();
  }
  return 0;
}
