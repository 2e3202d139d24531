// SPDX-License-Identifier: MIT
// Risk: a walk through a large package makes the daemon grow until the kernel kills it, and leaves a dead mount.
#include <fstream>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/memory_group.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

constexpr long kMiB = 1L << 20U;
constexpr int kFullDirectories = 180;
constexpr int kFilesInEach = 1000;  // in each
constexpr int kFlat = 60'000;       // in one directory
constexpr long kLimit = 12 * kMiB;  // 240,000 nodes of 72 bytes would need 17 MB

class Memory : public MountedTest {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir;
    PackageBuilder builder("acme/huge@1.0.0");
    builder.mount("/data", "data").mount("/flat", "flat");
    const auto fill = [](webc::WriterNode& node, int count) {
      for (int file = 0; file < count; ++file) {
        node.children.push_back(
            {.name = "f" + std::to_string(file), .kind = webc::EntryKind::kFile, .content = std::to_string(file)});
      }
    };
    for (int directory = 0; directory < kFullDirectories; ++directory) {
      fill(builder.volume("data").children.emplace_back(webc::WriterNode{.name = "d" + std::to_string(directory)}),
           kFilesInEach);
    }
    fill(builder.volume("flat"), kFlat);
    builder.write(package());
  }
  static void TearDownTestSuite() {
    delete dir_;
    dir_ = nullptr;
  }
  static std::string package() { return dir_->path() / "huge.webc"; }

  static std::size_t count(const fs::path& path) {
    std::size_t entries = 0;
    for ([[maybe_unused]] const auto& entry : fs::recursive_directory_iterator(path)) {
      ++entries;
    }
    return entries;
  }
  static void expect_all_there(const MountedPackage& mount) {
    for (int pass = 0; pass < 2; ++pass) {
      EXPECT_EQ(count(mount.path()), static_cast<std::size_t>(2 + kFullDirectories * (kFilesInEach + 1) + kFlat));
    }
    for (int file = 7; file < kFlat; file += 977) {
      EXPECT_EQ(read_text(mount / ("flat/f" + std::to_string(file))), std::to_string(file));
    }
    for (int directory = 0; directory < kFullDirectories; ++directory) {
      EXPECT_EQ(read_text(mount / ("data/d" + std::to_string(directory) + "/f13")), "13");
    }
  }
  /// Anonymous memory of the daemon, in bytes.
  static long anonymous(const MountedPackage& mount) {
    std::ifstream status("/proc/" + std::to_string(mount.daemon()) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("RssAnon:")) {
        return std::atol(line.c_str() + 8) * 1024;
      }
    }
    return -1;
  }

  static TempDir* dir_;
};

TempDir* Memory::dir_ = nullptr;

TEST_F(Memory, StaysWithinTheBudget) {
  const MountedPackage mount(kPkgfs, package(), {"--memory=1M"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const long before = anonymous(mount);
  expect_all_there(mount);
  EXPECT_LT(anonymous(mount) - before, 6 * kMiB);
}

TEST_F(Memory, FollowsTheLimitOfTheControlGroup) {
  const MemoryGroup group(kLimit);
  if (!group.works()) {
    GTEST_SKIP() << "no memory control group can be made here";
  }
  const fs::path inside = dir_->path() / "inside";
  std::ofstream(inside) << "#!/bin/sh\necho $$ >" << (group.path() / "cgroup.procs").string() << " || exit 1\nexec "
                        << kPkgfs << " \"$@\"\n";
  fs::permissions(inside, fs::perms::owner_all);
  const MountedPackage mount(inside, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_NE(read_text(group.path() / "cgroup.procs").find(std::to_string(mount.daemon()) + "\n"), std::string::npos);
  expect_all_there(mount);
}

}  // namespace
}  // namespace pkgfs::test
