// SPDX-License-Identifier: MIT
// Risk: root can't upgrade the mounts of users, or a user makes root wait for ever, or signal another process.
#include <filesystem>
#include <string>

#include "tests/mounted/mounted.h"
#include "tests/mounted/other_user.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// A user mounts a package for itself alone, and root runs the code in the last argument. $1: a directory, $2: the
/// program, $3: the package.
const std::string kUsersMount = kOtherUser + R"sh(
directory=$1 program=$2 package=$3
mkdir "$directory/new"
cp "$program" "$(dirname "$program")/pkgfs-keeper" "$directory/new"
said() { user "$program" stats --json "$directory/mnt" | grep -o "\"$1\": *[0-9]*" | grep -o '[0-9]*$'; }
kept() { for i in $(seq 500); do [ "$(said keeper)" -gt 0 ] && return; sleep 0.01; done; return 1; }
user "$program" mount --offline "$package" "$directory/mnt"
trap 'user "$program" unmount "$directory/mnt"' EXIT
kept
eval "$4"
)sh";

class UpgradeOfUser : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (!has_other_user()) {
      GTEST_SKIP() << "needs root, unshare, setpriv and fusermount3";
    }
    fs::permissions(packages_.path(), fs::perms(0755));
    PackageBuilder("acme/app@1.0.0").mount("/", "data").file("data", "version", "1\n").write(package());
  }
  [[nodiscard]] fs::path package() const { return packages_.path() / "app.webc"; }
  [[nodiscard]] ProcessResult run_as_root(const std::string& code) const {
    return run({"unshare", "-m", "bash", "-c", kUsersMount, "bash", dir_.path(), kPkgfs, package(), code},
               {.timeout = std::chrono::seconds(60)});
  }

  TempDir dir_;
  TempDir packages_;
};

TEST_F(UpgradeOfUser, RootReplacesADaemonOfAMountThatOnlyTheUserSees) {
  const ProcessResult result = run_as_root(R"sh(
    before=$(said pid)
    if ls "$directory/mnt" 2>/dev/null; then exit 1; fi
    "$directory/new/pkgfs" upgrade-mounts "$directory/mnt"
    kept
    [ "$(said pid)" != "$before" ]
    [ "$(said generation)" = 2 ]
    readlink "/proc/$(said pid)/exe"
    awk '/^Uid:/ { print $2, $3 }' "/proc/$(said pid)/status"
    user cat "$directory/mnt/version"
    "$directory/new/pkgfs" upgrade-mounts "$directory/mnt"
  )sh");
  EXPECT_TRUE(result.ok()) << result.describe();
  const std::string mount = "acme/app@1.0.0 on " + (dir_.path() / "mnt").string();
  EXPECT_EQ(result.out, mount + " runs this program now\n" + (dir_.path() / "new/pkgfs").string() +
                            "\n65534 65534\n1\n" + mount + " runs this program already\n");
}

/// The user may own what listens where a keeper would.
TEST_F(UpgradeOfUser, TheProcessThatAsksHasOnlyTheRightsOfTheUser) {
  const ProcessResult result = run_as_root(R"sh(
    user "$program" unmount "$directory/mnt"
    user "$program" mount --offline --keeper=off "$package" "$directory/mnt"
    connection=$(awk -v at="$directory/mnt" '$5 == at { split($3, device, ":"); print device[2] }' /proc/self/mountinfo)
    user timeout 20 /usr/bin/python3 -I -S -c 'import socket, struct, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind("\0pkgfs-keeper-" + sys.argv[1])
listener.listen(1)
print("listens", flush=True)
asks, _ = listener.accept()
print("users", *struct.unpack("3i", asks.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1:])' "$connection" \
      >"$directory/said" &
    for i in $(seq 500); do grep -q listens "$directory/said" && break; sleep 0.01; done
    "$directory/new/pkgfs" upgrade-mounts "$directory/mnt" || echo "code $?"
    wait
    cat "$directory/said"
  )sh");
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_EQ(result.out, "code 10\nlistens\nusers 65534 65534\n") << result.describe();
}

TEST_F(UpgradeOfUser, RootSaysWhyADaemonStays) {
  const ProcessResult result = run_as_root(R"sh(
    keeper=$(said keeper)
    trap 'kill -CONT "$keeper"; user "$program" unmount "$directory/mnt"' EXIT
    kill -STOP "$keeper"
    code=0
    "$directory/new/pkgfs" upgrade-mounts "$directory/mnt" || code=$?
    echo "code $code"
    user cat "$directory/mnt/version"
  )sh");
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_EQ(result.out, "code 10\n1\n");
  EXPECT_NE(result.err.find("keeps its daemon"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("its keeper doesn't answer"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace pkgfs::test
