// SPDX-License-Identifier: MIT
#include "core/net/version.h"

#include <curl/curl.h>

namespace pkgfs {

std::string http_library_version() { return ::curl_version(); }

}  // namespace pkgfs
