// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace pkgfs {

/// The HTTP library that runs and what it is built with: "libcurl/7.88.1 OpenSSL/3.0.15 …".
[[nodiscard]] std::string http_library_version();

}  // namespace pkgfs
