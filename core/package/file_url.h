// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

namespace pkgfs {

/// The `file:` URL of an absolute path, of which `PackageSpecifier::parse` makes the same path again.
[[nodiscard]] std::string file_url(std::string_view path);

}  // namespace pkgfs
