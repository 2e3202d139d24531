// SPDX-License-Identifier: MIT
#include "core/net/version.h"

#include "core/base/error.h"
#include "core/net/libcurl.h"

namespace pkgfs {

std::string http_library_version(std::string& why) {
  try {
    return libcurl().version();
  } catch (const Error& error) {
    why = error.chain().back();
    return {};
  }
}

}  // namespace pkgfs
