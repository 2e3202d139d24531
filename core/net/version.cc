// SPDX-License-Identifier: MIT
#include "core/net/version.h"

#include "core/net/libcurl.h"

namespace pkgfs {

std::string http_library_version() { return libcurl().version(); }

}  // namespace pkgfs
