// SPDX-License-Identifier: MIT
// Risk: the daemon prefetches wrong bytes, prefetches files that no reader wants, or keeps the mount in use.
#include <sys/stat.h>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

class Pushing : public MountedTest {
 protected:
  static constexpr int kFiles = 60;

  Pushing() {
    PackageBuilder builder("acme/many@1.0.0");
    builder.mount("/", "data");
    for (int directory = 0; directory < 4; ++directory) {
      for (int i = 0; i < kFiles; ++i) {
        builder.file("data", name(directory, i), content(directory, i));
      }
    }
    builder.write(package());
  }

  [[nodiscard]] std::string package() const { return directory_.path() / "many.webc"; }
  static std::string name(int directory, int file) {
    return "d" + std::to_string(directory) + "/f" + std::to_string(100 + file);
  }
  static std::string content(int directory, int file) {
    std::string text;
    while (text.size() < 3000) {
      text += name(directory, file) + '\n';
    }
    return text;
  }
  static int requests(const MountedPackage& mount, const std::string& kind) {
    return statistics(mount).at("requests").at(kind).get<int>();
  }
  /// Reads files by name, in a directory that was never listed, and waits for the prefetch that this causes.
  static void read_first(const MountedPackage& mount, int directory) {
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(read_text(mount / name(directory, i)), content(directory, i));
      sleep_ms(5);  // a reader that never waits may be faster than the prefetch
    }
  }

  TempDir directory_;
};

TEST_F(Pushing, WhoReadsOnByNameGetsTheRestWithoutRequests) {
  if (nothing_is_pushed()) {
    GTEST_SKIP() << "nothing is pushed";
  }
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root may look at a mount's copy";
  }
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  read_first(mount, 1);
  ASSERT_TRUE(eventually([&] { return statistics(mount).at("files_pushed") >= kFiles - 10; }));
  const auto lookups = requests(mount, "lookup");
  const auto reads = requests(mount, "read");
  for (int i = 10; i < kFiles; ++i) {
    EXPECT_EQ(read_text(mount / name(1, i)), content(1, i));
  }
  EXPECT_EQ(requests(mount, "lookup"), lookups);
  EXPECT_LE(requests(mount, "read"), reads + 1);
}

TEST_F(Pushing, ASingleFileOfADirectoryBringsNothing) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  for (const int directory : {0, 2, 3, 1}) {
    EXPECT_EQ(read_text(mount / name(directory, 30)), content(directory, 30));
    sleep_ms(5);
  }
  EXPECT_EQ(statistics(mount).at("files_pushed"), 0U);
  EXPECT_EQ(requests(mount, "readdirplus"), 0);
}

TEST_F(Pushing, IsNeverInTheWayOfUnmounting) {
  for (int i = 0; i < 20; ++i) {
    MountedPackage mount(kPkgfs, package());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const pid_t daemon = mount.daemon();
    for (int file = 0; file < 4 + i; ++file) {
      EXPECT_EQ(read_text(mount / name(i % 4, file)), content(i % 4, file));
    }
    const ProcessResult unmounted = run({"umount", mount.path()});
    ASSERT_TRUE(unmounted.ok()) << unmounted.describe();
    EXPECT_TRUE(eventually([&] { return ::kill(daemon, 0) != 0 || processes_with(mount.path()).empty(); }))
        << "the daemon doesn't notice";
  }
}

TEST_F(Pushing, AnotherMountAtTheSamePlaceIsNotTouched) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const TempDir other;
  const std::string elsewhere = other.path() / "elsewhere";
  ASSERT_TRUE(std::filesystem::create_directory(elsewhere));
  ASSERT_TRUE(run({"mount", "--bind", mount.path(), elsewhere}).ok());
  ASSERT_TRUE(run({"mount", "-t", "tmpfs", "above", mount.path()}).ok());
  for (int i = 0; i < kFiles; ++i) {
    EXPECT_EQ(read_text(elsewhere + "/" + name(2, i)), content(2, i));
  }
  EXPECT_TRUE(run({"umount", mount.path()}).ok());
  EXPECT_TRUE(run({"umount", elsewhere}).ok());
}

}  // namespace
}  // namespace pkgfs::test
