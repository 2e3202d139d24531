// SPDX-License-Identifier: MIT
#include "tests/system/build_directory.h"

namespace pkgfs::test {

const std::string kBuildDirectory = PKGFS_BUILD_DIRECTORY;

}  // namespace pkgfs::test
