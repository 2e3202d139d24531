// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/fixtures.h"
#include "tests/support/mount.h"
#include "tests/support/process.h"
#include "tests/support/tree.h"

namespace pkgfs::test {

/// The program under test.
extern const std::string kPkgfs;

/// Skips, with the reason, where nothing can be mounted.
class MountedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = fuse_missing(); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }
};

/// A single fixture: `webc/<name>.webc`.
inline std::string single(const std::string& name) { return fixtures() / "webc" / (name + ".webc"); }
/// A registry of the fixtures.
inline std::string registry(const std::string& set) { return fixtures() / "registry" / set; }

/// The value of the attribute user.pkgfs.stats of the mount's root.
[[nodiscard]] nlohmann::json statistics(const MountedPackage& mount);

/// Whether all tests run without prefetching (PKGFS_TEST_MOUNT_OPTIONS has --push=off).
[[nodiscard]] bool nothing_is_pushed();

/// The number in this variable, which .ci/thorough sets for a longer test. `otherwise` if it isn't set.
[[nodiscard]] inline std::uint64_t number_from_environment(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// What GoogleTest accepts as the name of a parametrised test.
inline std::string test_name(std::string text) {
  for (char& c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) {
      c = '_';
    }
  }
  return text;
}

/// The file names (without `suffix`) in a folder of the fixtures, sorted.
[[nodiscard]] std::vector<std::string> fixture_names(const std::string& folder, const std::string& suffix);

/// Expects that `pkgfs mount` refused: the exit code is neither 0 nor that of a crash, nothing is mounted, and no
/// process is left.
void expect_refused(const MountedPackage& mount);

}  // namespace pkgfs::test
