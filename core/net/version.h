// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace pkgfs {

/// The version of the libcurl on this machine and of the libraries below it: "libcurl/7.88.1 OpenSSL/3.0.15 …". Empty
/// if libcurl can't be loaded; `why` is then set to the reason.
[[nodiscard]] std::string http_library_version(std::string& why);

}  // namespace pkgfs
