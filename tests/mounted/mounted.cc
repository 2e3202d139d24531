// SPDX-License-Identifier: MIT
#include "tests/mounted/mounted.h"

#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace pkgfs::test {

const std::string kPkgfs = PKGFS_BINARY;

std::vector<std::string> fixture_names(const std::string& folder, const std::string& suffix) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(fixtures() / folder)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(suffix)) {
      names.push_back(name.substr(0, name.size() - suffix.size()));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

nlohmann::json statistics(const MountedPackage& mount) {
  std::array<char, 1U << 16U> value{};
  const ssize_t size = ::getxattr(mount.path().c_str(), "user.pkgfs.stats", value.data(), value.size());
  EXPECT_GT(size, 0);
  return nlohmann::json::parse(std::string_view(value.data(), static_cast<std::size_t>(std::max(size, ssize_t{0}))));
}

bool nothing_is_pushed() { return every_mount_has("--push=off") || every_mount_has("--skip-open=off"); }

void expect_refused(const MountedPackage& mount) {
  const ProcessResult& result = mount.result();
  EXPECT_FALSE(result.timed_out) << result.describe();
  EXPECT_EQ(result.signal, 0) << result.describe();
  EXPECT_GT(result.exit_code, 0) << result.describe();
  EXPECT_LT(result.exit_code, 64) << "not one of our exit codes; " << result.describe();
  EXPECT_FALSE(result.err.empty()) << "no message";
  EXPECT_FALSE(find_mount(mount.path()).has_value()) << mount.path() << " is mounted";
  EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).empty(); })) << "a daemon is left";
}

}  // namespace pkgfs::test
