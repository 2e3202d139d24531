// SPDX-License-Identifier: MIT
// Risk: a build makes a mapped directory anew, and the mount shows the old one, nothing, or what isn't the package's.
#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class LiveRecreated : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    dir_.write("own/wasmer.toml", "[fs]\n\"/pub\" = \"out/dist\"\n\"/all\" = \".\"\n");
    write("old", "old");
    write("both", "old");
  }
  [[nodiscard]] fs::path own() const { return dir_.path() / "own"; }
  [[nodiscard]] fs::path dist() const { return own() / "out/dist"; }
  void write(const std::string& name, const std::string& text) const { dir_.write("own/out/dist/" + name, text); }

  /// What `path` has, and the kernel has it, too.
  static std::string shown(const fs::path& path) {
    std::string text;
    std::error_code failed;
    for (fs::directory_iterator at(path, failed), end; !failed && at != end; at.increment(failed)) {
      const std::string name = at->path().filename();
      text += name + "=" + (at->is_regular_file() ? read_text(at->path()) : "?") + " ";
    }
    return failed ? failed.message() : text;
  }
  /// `path` shows `text` soon, and goes on to do so.
  static void expect_shows(const fs::path& path, const std::string& text) {
    std::string seen;
    EXPECT_TRUE(eventually([&] {
      try {
        seen = shown(path);
      } catch (const std::exception& error) {
        seen = error.what();
      }
      return seen == text;
    })) << seen
        << " instead of " << text;
  }
  /// Remakes the directory in different ways, while the kernel has cached what it was before.
  void expect_followed(const MountedPackage& mount, const std::string& what, const std::function<void()>& remake) {
    SCOPED_TRACE(what);
    sleep_ms(3'000);  // now the kernel may keep what it is told
    (void)shown(mount / "pub");
    remake();
    write("new", what);
    expect_shows(mount / "pub", "new=" + what + " ");
    EXPECT_TRUE(fs::exists(mount / "all/out/dist/new"));
  }

  TempDir dir_;
};

TEST_F(LiveRecreated, AMappedDirectoryIsFollowed) {
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  expect_followed(mount, "removed and made", [&] {
    fs::remove_all(dist());
    fs::create_directories(dist());
  });
  expect_followed(mount, "moved away and made", [&] {
    fs::rename(dist(), own() / "dist.old");
    fs::create_directories(dist());
  });
  expect_followed(mount, "a directory above it", [&] {
    fs::rename(own() / "out", own() / "out.old");
    fs::create_directories(dist());
  });
  fs::remove_all(own() / "out");
  expect_shows(mount / "pub", "");
  write("late", "1");
  expect_shows(mount / "pub", "late=1 ");
}

TEST_F(LiveRecreated, ThePackageItselfIsFollowed) {
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  expect_followed(mount, "moved away and made", [&] { fs::rename(own(), dir_.path() / "own.old"); });
  expect_followed(mount, "removed and made", [&] { fs::remove_all(own()); });
  fs::remove_all(own());
  expect_shows(mount / "all", "");
  dir_.write("own/top", "1");
  expect_shows(mount / "all", "top=1 ");
}

TEST_F(LiveRecreated, WithoutAWayBackNothingElseShows) {
  dir_.write("secret/new", "of another package");
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(shown(mount / "pub").empty(), false);
  fs::remove_all(dist());
  fs::create_directory_symlink(dir_.path() / "secret", dist());
  sleep_ms(1'500);
  EXPECT_EQ(shown(mount / "pub").find("another"), std::string::npos) << "a link leads out";
  fs::remove(dist());
  dir_.write("own/out/dist", "a file");
  sleep_ms(1'500);
  EXPECT_EQ(shown(mount / "pub"), "");
  fs::remove_all(own());
  dir_.write("secret/out/dist/new", "of another package");
  fs::create_directory_symlink(dir_.path() / "secret", own());
  sleep_ms(1'500);
  EXPECT_EQ(shown(mount / "pub"), "") << "the package is a link now";
}

TEST_F(LiveRecreated, AMountThatCoversItsOwnDirectoryDoesNotWaitForItself) {
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  if (!run({"mount", "--bind", mount.path(), dist()}).ok()) {
    GTEST_SKIP() << "only root can mount the mount over its source";
  }
  sleep_ms(1'500);
  EXPECT_NE(run({"timeout", "5", "ls", mount / "pub"}).exit_code, 124);
  EXPECT_TRUE(run({"umount", dist()}).ok());
  expect_shows(mount / "pub", "both=old old=old ");
}

TEST_F(LiveRecreated, AChangeOfTheManifestIsLogged) {
  const std::string script = R"SH(
    "$0" mount --foreground "$1" "$2" 2>"$2.log" &
    trap 'umount "$2"; wait' EXIT
    for i in $(seq 100); do mountpoint -q "$2" && break; sleep 0.1; done
    ls "$2/pub" >/dev/null
    cp "$1/wasmer.toml" "$1/same" && mv "$1/same" "$1/wasmer.toml"
    sleep 0.3
    cp "$1/wasmer.toml" "$2.toml"
    : >"$1/wasmer.toml"
    sleep 0.3
    cp "$2.toml" "$1/wasmer.toml"
    sleep 0.3
    test "$(grep -c 'wasmer.toml" has changed' "$2.log")" = 0 || exit 2
    # Then nothing watches the directory until it is asked for.
    [ "$3" = 0 ] || { echo "$3" >/proc/sys/vm/drop_caches; sleep 0.5; }
    echo '"/more" = "out"' >>"$1/wasmer.toml"
    for i in $(seq 50); do
      grep -q 'wasmer.toml" has changed' "$2.log" && break
      sleep 0.1
      ls "$2/pub" >/dev/null  # other tests drop the kernel's caches
    done
    grep -q 'wasmer.toml" has changed' "$2.log" || exit 3
    touch "$1/wasmer.toml" && ls "$2/pub" >/dev/null && sleep 0.3
    cat "$2.log" >&2
    test "$(grep -c 'wasmer.toml" has changed' "$2.log")" = 1
  )SH";
  fs::create_directories(dir_.path() / "mnt");
  const std::string manifest = read_text(own() / "wasmer.toml");
  for (const std::string dropped : {"0", "2"}) {
    dir_.write("own/wasmer.toml", manifest);
    const ProcessResult result =
        run({"bash", "-c", script, kPkgfs, own().string(), (dir_.path() / "mnt").string(), dropped});
    EXPECT_TRUE(result.ok()) << result.describe();
  }
}

}  // namespace
}  // namespace pkgfs::test
