// SPDX-License-Identifier: MIT
// Risk: pkgfs mounts a package, or unmounts, at another place than the user named.
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <vector>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class Mountpoint : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    fs::copy_file(single("basic-v3"), package_);
  }

  /// Unmounts all mounts that the test made, at any place.
  void TearDown() override { const MountGuard guard(directory_.path(), package_); }

  [[nodiscard]] ProcessResult pkgfs(Arguments arguments) const {
    arguments.insert(arguments.begin(), kPkgfs);
    return run(arguments, {.timeout = seconds(15), .directory = directory_.path()});
  }

  TempDir directory_;
  const std::string package_ = directory_.path() / "basic.webc";  // a word that no other daemon has
};

TEST_F(Mountpoint, NothingIsNoMountpoint) {
  for (const Arguments& arguments : {Arguments{"mount", package_, ""}, Arguments{"unmount", ""}}) {
    const ProcessResult result = pkgfs(arguments);
    EXPECT_EQ(result.exit_code, 2) << result.describe();
    EXPECT_NE(result.err.find("\"\""), std::string::npos) << result.describe();
  }
}

TEST_F(Mountpoint, TheRootIsRefused) {
  if (::geteuid() != 0 || !have_program("unshare")) {
    GTEST_SKIP() << "needs root and unshare: a failure must not hide the whole system";
  }
  for (const char* root : {"/", "//", "/..", "/tmp/.."}) {
    const ProcessResult result =
        run({"unshare", "-m", kPkgfs, "mount", package_, root}, {.timeout = seconds(15), .directory = "/"});
    EXPECT_EQ(result.exit_code, 2) << root << ": " << result.describe();
    EXPECT_NE(result.err.find("can't be used"), std::string::npos) << result.describe();
  }
}

TEST_F(Mountpoint, DotDotAfterALinkIsWhereTheKernelFindsIt) {
  const fs::path there = directory_.path() / "x/y/m";
  fs::create_directories(directory_.path() / "x/y/z");
  fs::create_directories(there);
  fs::create_directories(directory_.path() / "m");
  fs::create_symlink("x/y/z", directory_.path() / "a");
  const MountGuard guard(there);
  const MountGuard wrong(directory_.path() / "m");
  const ProcessResult mounted = pkgfs({"mount", package_, "a/../m"});
  ASSERT_TRUE(mounted.ok()) << mounted.describe();
  EXPECT_TRUE(find_mount(there).has_value());
  EXPECT_FALSE(find_mount(directory_.path() / "m").has_value());
  const ProcessResult unmounted = pkgfs({"unmount", "./a/../m//"});
  EXPECT_TRUE(unmounted.ok()) << unmounted.describe();
  EXPECT_FALSE(find_mount(there).has_value());
}

TEST_F(Mountpoint, DotAndDotDotAtTheEndAreFollowed) {
  fs::create_directories(directory_.path() / "x/y/z");
  fs::create_symlink("x/y/z", directory_.path() / "a");
  const std::vector<std::pair<std::string, std::string>> names{
      {"a/..", "x/y"}, {"a/.", "x/y/z"}, {"a", "x/y/z"}, {"x/y/z/../.", "x/y"}};
  for (const auto& [name, place] : names) {
    const MountGuard guard(directory_.path() / place);
    const ProcessResult mounted = pkgfs({"mount", package_, name});
    ASSERT_TRUE(mounted.ok()) << name << ": " << mounted.describe();
    EXPECT_TRUE(find_mount(directory_.path() / place).has_value()) << name;
    EXPECT_TRUE(pkgfs({"unmount", place}).ok()) << name;
  }
}

TEST_F(Mountpoint, LinksInACircleAreAnError) {
  fs::create_symlink("b", directory_.path() / "a");
  fs::create_symlink("a", directory_.path() / "b");
  const ProcessResult result = pkgfs({"mount", package_, "a"});
  EXPECT_GT(result.exit_code, 0) << result.describe();
  EXPECT_NE(result.err.find("Too many levels of symbolic links"), std::string::npos) << result.describe();
}

TEST_F(Mountpoint, FileSystemsOfTheKernelAreRefused) {
  for (const char* place : {"/proc/self/task", "/sys/kernel"}) {
    const MountGuard guard(place, place);
    const ProcessResult result = pkgfs({"mount", package_, place});
    EXPECT_EQ(result.exit_code, 2) << result.describe();
    EXPECT_NE(result.err.find(place), std::string::npos) << result.describe();
  }
}

TEST_F(Mountpoint, UnnamedPackagesAreListedByTheirWholePath) {
  fs::copy_file(single("id-none-v3"), directory_.path() / "p.webc");
  fs::create_directories(directory_.path() / "mnt");
  fs::create_directories(directory_.path() / "sub");
  const MountGuard guard(directory_.path() / "mnt");
  const ProcessResult mounted = pkgfs({"mount", "sub/../p.webc", "mnt"});
  ASSERT_TRUE(mounted.ok()) << mounted.describe();
  const std::string line = (directory_.path() / "p.webc").string() + " on " + (directory_.path() / "mnt").string();
  const ProcessResult mounts = pkgfs({"mounts"});
  EXPECT_NE(("\n" + mounts.out).find("\n" + line + " "), std::string::npos) << mounts.describe();
  EXPECT_TRUE(pkgfs({"unmount", "mnt"}).ok());
}

/// A directory package that shows itself, all of it or a part.
class OwnSource : public Mountpoint {
 protected:
  [[nodiscard]] fs::path live(const std::string& guest, const std::string& host) const {
    directory_.write("own/wasmer.toml", "[fs]\n\"" + guest + "\" = \"" + host + "\"\n");
    directory_.write("own/pub/file", "x");
    fs::create_directories(directory_.path() / "own/pub/mnt");
    return directory_.path() / "own";
  }

  void refuse(const std::string& where, const std::string& shown) const {
    const MountGuard guard(where);
    const ProcessResult result = pkgfs({"mount", "own", where});
    EXPECT_EQ(result.exit_code, 2) << where << ": " << result.describe();
    EXPECT_NE(result.err.find("\"" + where + "\""), std::string::npos) << result.describe();
    EXPECT_NE(result.err.find("\"" + shown + "\""), std::string::npos) << result.describe();
    EXPECT_FALSE(find_mount(fs::canonical(where)).has_value()) << where;
  }

  /// Lists the whole mount. If that doesn't end, aborts the connection, so that the test continues: a daemon that waits
  /// for itself can't even be killed.
  static void expect_find_ends(const MountedPackage& mount) {
    Process find({"find", mount.path()}, {.timeout = seconds(5)});
    const bool ended = find.ends_within(seconds(10));
    EXPECT_TRUE(ended) << "the daemon waits for itself";
    if (!ended) {
      ::umount2(mount.path().c_str(), MNT_FORCE);
    }
    EXPECT_EQ(find.wait().exit_code, 0) << find.wait().describe();
  }
};

TEST_F(OwnSource, MountpointInsideIsRefused) {
  const fs::path own = live("/", ".");
  fs::create_symlink("own/pub/mnt", directory_.path() / "link");
  refuse(own / "pub/mnt", own);
  refuse(own, own);
  refuse(directory_.path() / "link", own);
}

TEST_F(OwnSource, OnlyWhatIsShownMatters) {
  const fs::path own = live("/pub", "pub");
  fs::create_directories(own / "mnt");
  refuse(own / "pub/mnt", own / "pub");
  const MountGuard guard(own / "mnt");
  const ProcessResult beside = pkgfs({"mount", "own", own / "mnt"});
  EXPECT_TRUE(beside.ok()) << beside.describe();
  EXPECT_EQ(read_text(own / "mnt/pub/file"), "x");
}

TEST_F(OwnSource, MountThatAppearsInsideItselfIsNotEntered) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can bind";
  }
  const fs::path own = live("/", ".");
  MountedPackage mount(kPkgfs, own, {"-o", "live_timeout=0"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  expect_find_ends(mount);
  ASSERT_TRUE(fs::is_directory(mount / "pub/mnt"));
  const MountGuard bound(own / "pub/mnt");
  ASSERT_EQ(::mount(mount.path().c_str(), (own / "pub/mnt").c_str(), nullptr, MS_BIND, nullptr), 0);
  expect_find_ends(mount);
  EXPECT_EQ(read_text(mount / "pub/file"), "x");
  EXPECT_FALSE(fs::exists(mount / "pub/mnt"));
  ::umount2((own / "pub/mnt").c_str(), MNT_DETACH);
  EXPECT_TRUE(fs::is_directory(mount / "pub/mnt")) << "as before";
}

TEST_F(Mountpoint, OfSeveralAtTheSameTimeOneMounts) {
  const fs::path where = directory_.path() / "mnt";
  fs::create_directory(where);
  const MountGuard guard(where);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<Process>> crew;
    for (int i = 0; i < 6; ++i) {
      crew.push_back(std::make_unique<Process>(Arguments{kPkgfs, "mount", package_, where}));
    }
    int mounted = 0;
    for (const auto& process : crew) {
      const ProcessResult& result = process->wait();
      mounted += result.ok() ? 1 : 0;
      EXPECT_TRUE(result.ok() || result.exit_code == 9) << result.describe();
    }
    EXPECT_EQ(mounted, 1);
    ASSERT_TRUE(pkgfs({"unmount", where}).ok());
    EXPECT_FALSE(find_mount(where).has_value()) << "one lay above another";
    EXPECT_TRUE(eventually([&] { return processes_with(where).empty(); }));
  }
}

TEST_F(Mountpoint, ClosedStreamsDoNotMatter) {
  const fs::path where = directory_.path() / "mnt";
  fs::create_directory(where);
  const MountGuard guard(where);
  for (const char* streams : {"<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"}) {
    SCOPED_TRACE(streams);
    const ProcessResult result =
        shell(kPkgfs + " mount " + package_ + " " + where.string() + " " + streams, {.timeout = seconds(5)});
    EXPECT_TRUE(result.ok()) << result.describe();
    EXPECT_TRUE(fs::is_directory(where / "data"));
    EXPECT_TRUE(pkgfs({"unmount", where}).ok());
  }
  EXPECT_EQ(shell(kPkgfs + " tree " + package_ + " >&-").exit_code, 1) << "what can't be printed is an error";
}

}  // namespace
}  // namespace pkgfs::test
