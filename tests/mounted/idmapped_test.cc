// SPDX-License-Identifier: MIT
// Risk: a pod with a user namespace can't have a package, because the kernel refuses to show the mount with the owners
// of that namespace, or it shows wrong ones.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "core/base/unique_fd.h"
#include "tests/mounted/keeper.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

constexpr int kFirstId = 100'000;  // which user and group 0 of a package are in the namespace

/// A user namespace without a process. Invalid if this machine allows none.
UniqueFd user_namespace() {
  int ready[2] = {};
  if (::pipe2(ready, O_CLOEXEC) != 0) {
    return {};
  }
  const pid_t child = ::fork();
  if (child == 0) {
    const char made = ::unshare(CLONE_NEWUSER) == 0 ? 'y' : 'n';
    (void)!::write(ready[1], &made, 1);
    ::pause();
    ::_exit(0);
  }
  char made = 'n';
  (void)!::read(ready[0], &made, 1);
  const std::string process = "/proc/" + std::to_string(child);
  UniqueFd found;
  if (made == 'y') {
    for (const char* map : {"/uid_map", "/gid_map"}) {
      std::ofstream(process + map) << "0 " << kFirstId << " 1000\n";
    }
    found = UniqueFd(::open((process + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  return found;
}

/// Another mount of the same file system, as a container engine makes it for a pod with a user namespace.
class MappedCopy {
 public:
  explicit MappedCopy(const fs::path& mountpoint) {
    fs::create_directory(path());
    const UniqueFd users = user_namespace();
    const UniqueFd tree(::open_tree(AT_FDCWD, mountpoint.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_IDMAP;
    attributes.userns_fd = static_cast<std::uint64_t>(users.get());
    if (!users || !tree || ::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) != 0 ||
        ::move_mount(tree.get(), "", AT_FDCWD, path().c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
      error_ = errno;
    }
  }
  ~MappedCopy() {
    if (error_ == 0) {
      ::umount2(path().c_str(), MNT_DETACH);
    }
  }
  MappedCopy(const MappedCopy&) = delete;
  MappedCopy& operator=(const MappedCopy&) = delete;

  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] fs::path path() const { return dir_.path() / "copy"; }

 private:
  TempDir dir_;
  int error_ = 0;
};

class Idmapped : public KeeperTest {
 protected:
  void SetUp() override {
    KeeperTest::SetUp();
    if (!IsSkipped() && ::geteuid() != 0) {
      GTEST_SKIP() << "only root can make idmapped mounts";
    }
    if (!IsSkipped() && !user_namespace()) {
      GTEST_SKIP() << "there are no user namespaces";
    }
  }

  /// Expects that everything below `root` belongs to user and group `id`.
  static void expect_owner(const fs::path& root, unsigned id) {
    int seen = 0;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      struct stat status{};
      ASSERT_EQ(::lstat(entry.path().c_str(), &status), 0) << entry.path();
      EXPECT_EQ(status.st_uid, id) << entry.path();
      EXPECT_EQ(status.st_gid, id) << entry.path();
      ++seen;
    }
    EXPECT_GT(seen, 1);
  }
  [[nodiscard]] static bool user_reads(int user, const fs::path& file) {
    const std::string id = std::to_string(user);
    return run({"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups", "cat", file.string()}).ok();
  }
};

TEST_F(Idmapped, AMountOfADaemonShowsTheOwnersOfThePod) {
  if (every_mount_has("--io-uring=on")) {
    GTEST_SKIP() << "libfuse's answer to the first request doesn't allow it";
  }
  const MountedPackage mount(kPkgfs, single("basic-v3"), {"--offline", "--fmask=077", "--dmask=022"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const MappedCopy copy(mount.path());
  if (copy.error() == EINVAL && run({"sh", "-c", "printf '6.12\\n%s\\n' \"$(uname -r)\" | sort -VC"}).exit_code != 0) {
    GTEST_SKIP() << "it needs Linux 6.12";
  }
  ASSERT_EQ(copy.error(), 0);
  for (const fs::path& above : {mount.path().parent_path(), copy.path().parent_path()}) {
    fs::permissions(above, fs::perms(0711));
  }
  for (int daemon = 0; daemon < 2; ++daemon) {
    expect_owner(copy.path(), kFirstId);
    expect_owner(mount.path(), 0);
    EXPECT_EQ(difference(list_tree(mount.path()), list_tree(copy.path())), "");
    fs::path file;
    for (const auto& entry : fs::recursive_directory_iterator(mount.path())) {
      file = entry.is_regular_file() ? fs::relative(entry.path(), mount.path()) : file;
    }
    EXPECT_TRUE(user_reads(kFirstId, copy.path() / file));
    EXPECT_FALSE(user_reads(kFirstId, mount.path() / file)) << "only there does the file belong to this user";
    EXPECT_FALSE(user_reads(kFirstId + 1, copy.path() / file));
    if (daemon == 0) {
      replace_daemon(mount.path());
    }
  }
}

TEST_F(Idmapped, AMountOfTheKernelShowsTheOwnersOfThePod) {
  if (run({"sh", "-c", "modprobe -q erofs 2> /dev/null; grep -qw erofs /proc/filesystems"}).exit_code != 0) {
    GTEST_SKIP() << "the kernel has no EROFS";
  }
  const TempDir cache;
  const MountedPackage mount(kPkgfs, single("basic-v3"),
                             {"--engine=erofs", "--offline", "--cache-dir", (cache.path() / "cache").string()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const MappedCopy copy(mount.path());
  ASSERT_EQ(copy.error(), 0);
  expect_owner(copy.path(), kFirstId);
  expect_owner(mount.path(), 0);
  EXPECT_EQ(difference(list_tree(mount.path()), list_tree(copy.path())), "");
}

}  // namespace
}  // namespace pkgfs::test
