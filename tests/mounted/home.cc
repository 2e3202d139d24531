// SPDX-License-Identifier: MIT
#include "tests/support/home.h"

namespace pkgfs::test {
namespace {

const auto* const kHome = ::testing::AddGlobalTestEnvironment(new HomeOfItsOwn);  // GoogleTest owns it

}  // namespace
}  // namespace pkgfs::test
