// SPDX-License-Identifier: MIT
// Risk: a plain user can't serve packages, or shows them to other users.
#include <chrono>
#include <csignal>

#include "tests/mounted/mounted.h"
#include "tests/mounted/other_user.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// $1: a directory, $2: the program, $3: a registry.
const std::string kServesAsUser = kOtherUser + R"sh(
user "$2" serve --offline --registry "$3" "$1/mnt"
user cat "$1/mnt/acme/app@^1/data/version" "$1/mnt/acme/app/data/version"
user ls "$1/mnt/acme"
user "$2" mounts | grep -c " on $1/mnt "
ls "$1/mnt" > "$1/seen" 2>&1 || echo "root sees nothing"
user "$2" unmount "$1/mnt"
echo "mounts $(grep -c " $1/mnt " /proc/self/mountinfo)"
)sh";

class ServeUser : public MountedTest {};

TEST_F(ServeUser, SeesWhatTheUserServes) {
  if (!has_other_user()) {
    GTEST_SKIP() << "needs root, unshare, setpriv and fusermount3";
  }
  TempDir registry;
  PackageBuilder package("acme/app@1.0.0");
  package.mount("/data", "data").file("data", "version", "1.0.0\n");
  fs::create_directories(registry.path() / "acme/app");
  package.write(registry.path() / "acme/app/1.0.0.webc");
  TempDir directory;
  for (const TempDir* each : {&registry, &directory}) {
    fs::permissions(each->path(), fs::perms::others_read | fs::perms::others_exec, fs::perm_options::add);
  }
  const ProcessResult result =
      run({"unshare", "-m", "bash", "-c", kServesAsUser, "bash", directory.path(), kPkgfs, registry.path()},
          {.timeout = std::chrono::seconds(20)});
  EXPECT_EQ(result.out, "1.0.0\n1.0.0\napp\napp@1.0.0\napp@^1\n1\nroot sees nothing\nmounts 0\n") << result.describe();
  EXPECT_TRUE(eventually([&] { return processes_with(directory.path() / "mnt").empty(); }));
  for (const pid_t pid : processes_with(directory.path() / "mnt")) {
    ::kill(pid, SIGKILL);
  }
}

}  // namespace
}  // namespace pkgfs::test
