// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace pkgfs::test {

/// Where the program was built.
extern const std::string kBuildDirectory;

}  // namespace pkgfs::test
