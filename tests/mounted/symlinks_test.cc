// SPDX-License-Identifier: MIT
// Risk: a link in a package leads out of the mount, or a link inside it doesn't work (docs/rules/filesystem.md, 9.4).
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class Symlinks : public MountedTest {
 protected:
  /// All links of a tree with their targets.
  static std::map<std::string, std::string> links(const fs::path& root) {
    std::map<std::string, std::string> found;
    for (const auto& [path, entry] : list_tree(root)) {
      if (entry.type == "symlink") {
        found.emplace(path, entry.target);
        EXPECT_EQ(entry.length, entry.target.size()) << path;
      }
    }
    return found;
  }

  static std::string bad(const std::string& name) { return fixtures() / "bad" / (name + ".webc"); }
};

TEST_F(Symlinks, RelativeOnesWorkAsStored) {
  MountedPackage mount(kPkgfs, single("symlinks-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount / "data/link.txt"), read_text(mount / "data/real.txt"));
  EXPECT_EQ(read_text(mount / "data/chain"), read_text(mount / "data/real.txt"));
  EXPECT_EQ(read_text(mount / "data/d/up"), read_text(mount / "data/real.txt"));
  EXPECT_EQ(read_text(mount / "data/dlink/inner.txt"), read_text(mount / "data/d/inner.txt"));
  struct stat status{};
  EXPECT_EQ(::stat((mount / "data/loop1").c_str(), &status), -1);
  EXPECT_EQ(errno, ELOOP);
  EXPECT_EQ(::stat((mount / "data/broken").c_str(), &status), -1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(::open((mount / "data/link.txt").c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC), -1);
  EXPECT_EQ(errno, ELOOP);
}

TEST_F(Symlinks, AbsoluteTargetIsShownInsideTheMount) {
  MountedPackage mount(kPkgfs, bad("v3-symlink-abs"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const auto found = links(mount.path());
  ASSERT_FALSE(found.empty());
  for (const auto& [path, target] : found) {
    EXPECT_FALSE(target.starts_with("/")) << path << " -> " << target;
    EXPECT_TRUE(target.ends_with("etc/passwd")) << target;
    const fs::path resolved = (fs::path(path).parent_path() / target).lexically_normal();
    EXPECT_FALSE(fs::path(path).parent_path().relative_path().empty() && target.starts_with("..")) << target;
    EXPECT_TRUE(resolved.string().starts_with("/")) << resolved;
    EXPECT_EQ(::open((mount.path().string() + path).c_str(), O_RDONLY | O_CLOEXEC), -1) << "it led to the host's file";
  }
}

TEST_F(Symlinks, ClimbingTargetIsClampedToTheVolume) {
  MountedPackage mount(kPkgfs, bad("v3-symlink-escape"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const auto found = links(mount.path());
  ASSERT_FALSE(found.empty());
  for (const auto& [path, target] : found) {
    // Walking from the link, the target never goes above the mount's root.
    int depth = 0;
    for (const fs::path& part : fs::path(path).parent_path().relative_path()) {
      depth += part.empty() ? 0 : 1;
    }
    for (const fs::path& part : fs::path(target)) {
      depth += part == ".." ? -1 : 1;
      EXPECT_GE(depth, 0) << path << " -> " << target;
    }
  }
}

TEST_F(Symlinks, RawLinksShowTheStoredText) {
  MountedPackage absolute(kPkgfs, bad("v3-symlink-abs"), {"--no-commands", "--raw-links"});
  ASSERT_TRUE(absolute.ok()) << absolute.result().describe();
  for (const auto& [path, target] : links(absolute.path())) {
    EXPECT_EQ(target, "/etc/passwd");
  }
  MountedPackage climbing(kPkgfs, bad("v3-symlink-escape"), {"--no-commands", "-o", "raw_links"});
  ASSERT_TRUE(climbing.ok()) << climbing.result().describe();
  for (const auto& [path, target] : links(climbing.path())) {
    EXPECT_EQ(target, "../../x");
  }
}

}  // namespace
}  // namespace pkgfs::test
