// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace pkgfs {

/// The HTTP library that this machine has and what it is built with: "libcurl/7.88.1 OpenSSL/3.0.15 …". Empty if it
/// can't be loaded; `why` then says the reason.
[[nodiscard]] std::string http_library_version(std::string& why);

}  // namespace pkgfs
