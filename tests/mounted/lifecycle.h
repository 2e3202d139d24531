// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {

inline bool mentions(const ProcessResult& result, const std::string& text) {
  return result.err.find(text) != std::string::npos;
}

/// Tests of how a mount begins and ends.
class Lifecycle : public MountedTest {
 protected:
  const std::string package_ = single("basic-v3");

  static ProcessResult pkgfs(Arguments arguments) {
    arguments.insert(arguments.begin(), kPkgfs);
    return run(arguments, {.timeout = std::chrono::seconds(15)});
  }

  /// Expects that mounting at `where` is refused with a message that has `text`, which says something.
  void refuse(const std::string& where, const std::string& text) const {
    const ProcessResult result = pkgfs({"mount", package_, where});
    EXPECT_GT(result.exit_code, 0) << result.describe();
    EXPECT_TRUE(mentions(result, where)) << result.describe();
    EXPECT_FALSE(text.empty());
    EXPECT_TRUE(mentions(result, text)) << "expected '" << text << "' in " << result.describe();
    EXPECT_FALSE(find_mount(where).has_value());
    EXPECT_TRUE(eventually([&] { return processes_with(where).empty(); }));
  }

  static bool ended(const std::filesystem::path& mountpoint) {
    return eventually([&] { return processes_with(mountpoint).empty() && !find_mount(mountpoint).has_value(); });
  }
};

}  // namespace pkgfs::test
