// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "tests/net/net.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {

/// A mount of acme/app@^2 while a registry gets new versions of it. Each file of a version holds the version.
class RefreshTest : public NetTest {
 protected:
  static constexpr int kFiles = 40;  // in each of the directories `data` and `data/sub`

  void SetUp() override {
    NetTest::SetUp();
    if (const std::string why = fuse_missing(); !IsSkipped() && !why.empty()) {
      GTEST_SKIP() << why;
    }
  }

  /// Makes version "2.0.N". Its root has `data`, `same` and `only-N`, and the file `version`.
  [[nodiscard]] std::filesystem::path build(int number) const;
  void publish(int number) { server_.add_package(build(number), "acme/app", version(number)); }
  [[nodiscard]] static std::string version(int number) { return "2.0." + std::to_string(number); }
  [[nodiscard]] std::unique_ptr<MountedPackage> mount(Arguments options = {}) const;
  /// `pkgfs refresh` of the mount.
  [[nodiscard]] ProcessResult refresh(const MountedPackage& mounted) const {
    return pkgfs({"refresh", mounted.path()});
  }
  [[nodiscard]] static std::string shown(const MountedPackage& mounted) { return read_text(mounted / "version"); }
  /// The member `versions` of the statistics.
  [[nodiscard]] static nlohmann::json versions(const MountedPackage& mounted);
  /// Whether so many versions are open soon.
  [[nodiscard]] static bool has_open(const MountedPackage& mounted, int count);

  TestRegistry server_{{build(1)}};
};

}  // namespace pkgfs::test
