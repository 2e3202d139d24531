// SPDX-License-Identifier: MIT
// Risk: a mount that never becomes ready can't be stopped, or leaves a process or a dead mount behind.
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

/// In a namespace of its own, mounts as a user that needs fusermount3, with a stand-in for that program, and interrupts
/// the mount. $1: a directory, $2: what the stand-in does to mount, $3: the program, $4: the package, $5: the signal.
constexpr const char* kScript = R"sh(
set -eu -m   # -m: what runs in the background doesn't ignore SIGINT
real=$(command -v fusermount3)
mount -t tmpfs none "$1"
mkdir "$1/mnt"
mknod -m 666 "$1/fuse" c 10 229
cp "$real" "$1/real"
chmod 4755 "$1/real"
printf '#!/bin/sh\ncase "$*" in -u*) exec %s "$@" ;; esac\n%s\n' "$1/real" "$2" > "$1/fake"
chmod 755 "$1" "$1/fake"
chown 65534:65534 "$1" "$1/mnt"
mount --bind "$1/fuse" /dev/fuse
mount --bind "$1/fake" "$real"
export HOME="$1" WASMER_DIR="$1" DIR="$1"
setpriv --reuid=65534 --regid=65534 --clear-groups "$3" mount "$4" "$1/mnt" &
pid=$!
for _ in $(seq 500); do [ -e "$1/started" ] && break; sleep 0.01; done
kill -s "$5" "$pid"
code=0
wait "$pid" || code=$?
echo "started $(ls "$1" | grep -c started), exit $code, mounts $(grep -c " $1/mnt " /proc/self/mountinfo)"
)sh";

class InterruptedStart : public MountedTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (!IsSkipped() && (::geteuid() != 0 || !have_program("unshare") || !have_program("fusermount3"))) {
      GTEST_SKIP() << "needs root, unshare and fusermount3";
    }
  }

  /// Expects that nothing is left.
  static void expect_cancelled(const std::string& fusermount) {
    TempDir directory;
    fs::permissions(directory.path(), fs::perms::others_exec, fs::perm_options::add);
    const ProcessResult result = run({"unshare", "-m", "bash", "-c", kScript, "bash", directory.path(), fusermount,
                                      kPkgfs, single("basic-v3"), GetParam()},
                                     {.timeout = seconds(20)});
    EXPECT_EQ(result.out, "started 1, exit 130, mounts 0\n") << result.describe();
    EXPECT_NE(result.err.find("stopped by a signal before the mount answered"), std::string::npos) << result.describe();
    EXPECT_TRUE(processes_with(directory.path() / "mnt").empty());
    for (const pid_t pid : processes_with(directory.path() / "mnt")) {
      ::kill(pid, SIGKILL);
    }
  }
};

TEST_P(InterruptedStart, WhileFusermountHangs) { expect_cancelled("touch \"$DIR/started\"; exec sleep 1000"); }

TEST_P(InterruptedStart, WhenTheDaemonHangsWithTheMountMade) {
  // The daemon stands still from here on; the mount is made without it.
  expect_cancelled("kill -STOP $PPID; \"$DIR/real\" \"$@\"; touch \"$DIR/started\"");
}

INSTANTIATE_TEST_SUITE_P(Signals, InterruptedStart, ::testing::Values("INT", "TERM"),
                         [](const auto& signal) { return std::string(signal.param); });

}  // namespace
}  // namespace pkgfs::test
