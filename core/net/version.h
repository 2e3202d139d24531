// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace pkgfs {

/// The version of the libcurl on this machine and of the libraries below it: "libcurl/7.88.1 OpenSSL/3.0.15 …". Throws
/// Error if libcurl can't be loaded.
[[nodiscard]] std::string http_library_version();

}  // namespace pkgfs
