// SPDX-License-Identifier: MIT
// Risk: `pkgfs diff` of a mount reads every file, misses a change, or calls a mount different from its own package.
#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

class Diff : public MountedTest {};

TEST_F(Diff, AMountEqualsItsPackageAndDiffersFromAnother) {
  const Arguments where{"--registry", registry("chain-v3")};
  MountedPackage mount(kPkgfs, "acme/app@2.0.0", where);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const auto diff = [&](const std::string& package) {
    return run({kPkgfs, "diff", "--json", "--registry", registry("chain-v3"), package, mount.path().string()});
  };
  const ProcessResult same = diff("acme/app@2.0.0");
  EXPECT_EQ(same.exit_code, 0) << same.describe();
  // The hashes come from the mount's attributes, so that no file is read.
  const nlohmann::json statistics = nlohmann::json::parse(run({kPkgfs, "stats", "--json", mount.path().string()}).out);
  EXPECT_EQ(statistics["requests"]["read"], 0) << statistics;

  const ProcessResult other = diff("acme/lib@1.0.0");
  EXPECT_EQ(other.exit_code, 1) << other.describe();
  const nlohmann::json report = nlohmann::json::parse(other.out);
  EXPECT_TRUE(report["dependencies"].is_null()) << "a mount doesn't tell them";
  EXPECT_GT(report["summary"]["added"], 0);
}

}  // namespace
}  // namespace pkgfs::test
