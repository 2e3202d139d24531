// SPDX-License-Identifier: MIT
// Risk: tools that copy listed attributes (cp -a, rsync -X, overlay copy-up) copy those of pkgfs, or scripts can't find
// out which package a file comes from.
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <optional>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

std::optional<std::string> attribute(const std::string& path, const std::string& name) {
  std::array<char, 1024> value{};
  const ssize_t size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
  if (size < 0) {
    return std::nullopt;
  }
  return std::string(value.data(), static_cast<std::size_t>(size));
}

class Attributes : public MountedTest {};

TEST_F(Attributes, SayWhereAFileComesFrom) {
  MountedPackage mount(kPkgfs, "acme/app@2.0.0", {"--no-commands", "--registry", registry("chain-v3")});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  std::set<std::string> packages;
  int files = 0;
  for (const auto& [path, entry] : list_tree(mount.path())) {
    if (entry.type != "file") {
      continue;
    }
    ++files;
    const std::string full = mount.path().string() + path;
    const auto package = attribute(full, "user.pkgfs.package");
    ASSERT_TRUE(package.has_value()) << path;
    packages.insert(*package);
    EXPECT_TRUE(attribute(full, "user.pkgfs.volume").has_value()) << path;
    const auto inside = attribute(full, "user.pkgfs.path");
    ASSERT_TRUE(inside.has_value()) << path;
    EXPECT_TRUE(inside->starts_with("/")) << *inside;
    EXPECT_EQ(attribute(full, "user.pkgfs.sha256"), entry.sha256) << path << ": version 3 stores it";
  }
  EXPECT_GT(files, 0);
  EXPECT_EQ(packages, (std::set<std::string>{"acme/app@2.0.0", "acme/base@0.3.0", "acme/lib@1.0.0"}));
}

TEST_F(Attributes, AreNotListed) {
  MountedPackage mount(kPkgfs, single("symlinks-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  std::array<char, 1024> names{};
  for (const std::string& path :
       {mount.path().string(), mount / "data", mount / "data/real.txt", mount / "data/link.txt"}) {
    EXPECT_EQ(::llistxattr(path.c_str(), names.data(), names.size()), 0) << path;
    EXPECT_EQ(::llistxattr(path.c_str(), nullptr, 0), 0) << path;
  }
}

TEST_F(Attributes, UnknownAndForeignNamesAreEnodata) {
  MountedPackage mount(kPkgfs, single("basic-v1"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  std::string file;
  for (const auto& [path, entry] : list_tree(mount.path())) {
    file = entry.type == "file" ? mount.path().string() + path : file;
  }
  ASSERT_FALSE(file.empty());
  for (const char* name : {"user.pkgfs.nonsense", "user.other", "security.capability", "system.posix_acl_access"}) {
    EXPECT_FALSE(attribute(file, name).has_value()) << name;
    EXPECT_TRUE(errno == ENODATA || errno == EOPNOTSUPP) << name << ": " << errno;
  }
  EXPECT_FALSE(attribute(file, "user.pkgfs.sha256").has_value()) << "version 1 stores no hash";
  EXPECT_EQ(errno, ENODATA);
}

TEST_F(Attributes, ShortBufferIsErangeAndSizeCanBeAsked) {
  MountedPackage mount(kPkgfs, single("symlinks-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string file = mount / "data/real.txt";
  const ssize_t size = ::getxattr(file.c_str(), "user.pkgfs.package", nullptr, 0);
  EXPECT_EQ(size, static_cast<ssize_t>(std::string("acme/symlinks@1.2.3").size()));
  std::array<char, 4> small{};
  EXPECT_EQ(::getxattr(file.c_str(), "user.pkgfs.package", small.data(), small.size()), -1);
  EXPECT_EQ(errno, ERANGE);
}

}  // namespace
}  // namespace pkgfs::test
