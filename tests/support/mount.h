// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace pkgfs::test {

/// Why nothing can be mounted here; empty when it can.
[[nodiscard]] std::string fuse_missing();

/// The mount at `mountpoint` as /proc/self/mounts has it (device, directory, type, options, …); nothing if there is
/// none.
struct MountLine {
  std::string source;
  std::string type;
  std::vector<std::string> options;

  [[nodiscard]] bool has(const std::string& option) const;
};
[[nodiscard]] std::optional<MountLine> find_mount(const std::filesystem::path& mountpoint);

/// Processes whose command line has `argument` as one of its words, without their children that have the same.
[[nodiscard]] std::vector<pid_t> processes_with(const std::string& argument);

/// What the kernel says of a process or one of its threads (/proc/PID or /proc/PID/task/TID), from its state on
/// (proc_pid_stat(5), field 3): "S 1 …". Empty when it is gone.
[[nodiscard]] std::string process_status(const std::filesystem::path& directory);

/// Whether a process has a thread that has not ended; a zombie has none.
[[nodiscard]] bool is_running(pid_t process);

/// A line of shell for a private mount namespace: unmounts, in that namespace, the mounts of other tests. A daemon runs
/// until the last copy of its mount is gone, so a copy in this namespace would keep it. A mount may end before its
/// turn, and its daemon may be stopped.
inline constexpr const char* kForgetOthers =
    "findmnt -rno TARGET -t fuse.pkgfs | while read -r m; do umount -l \"$(printf %b \"$m\")\" 2> /dev/null || true; "
    "done";

/// The same, as if libcrypto weren't installed.
inline constexpr const char* kHideLibcrypto =
    "mount --bind /dev/null \"$(/sbin/ldconfig -p | awk '$1 == \"libcrypto.so.3\" { print $NF; exit }')\"";

/// Unmounts what is mounted at `mountpoint` (lazily if necessary) and kills its daemon. For clean-up only.
void force_unmount(const std::filesystem::path& mountpoint);

/// Cleans up after a test that mounts by hand: calls `force_unmount` at the end of the scope. If the test gave the
/// mount point as a relative path, `word` is a word that only this daemon's command line has.
class MountGuard {
 public:
  explicit MountGuard(std::filesystem::path mountpoint, std::string word = {})
      : mountpoint_(std::move(mountpoint)), word_(std::move(word)) {}
  ~MountGuard();
  MountGuard(const MountGuard&) = delete;
  MountGuard& operator=(const MountGuard&) = delete;

 private:
  std::filesystem::path mountpoint_;
  std::string word_;
};

/// Whether PKGFS_TEST_MOUNT_OPTIONS has this option. A test whose expectations depend on the option asks this.
[[nodiscard]] bool every_mount_has(const std::string& option);

/// As the package of a MountedPackage: `pkgfs serve`, without the words of PKGFS_TEST_MOUNT_OPTIONS.
inline constexpr const char* kServed = "serve:";

/// `pkgfs mount` in the background on a directory of its own. The destructor unmounts, and fails the test when that
/// doesn't work or when the daemon doesn't end; nothing is left behind then either.
///
/// The words of the environment variable PKGFS_TEST_MOUNT_OPTIONS, separated by spaces, go before all other options, so
/// that every test can be run with --io-uring=on or the like.
class MountedPackage {
 public:
  /// `options` go before the package. Look at `ok()` before using it.
  MountedPackage(std::string binary, const std::string& package, const Arguments& options = {},
                 ProcessOptions process = {});
  ~MountedPackage();
  MountedPackage(const MountedPackage&) = delete;
  MountedPackage& operator=(const MountedPackage&) = delete;

  [[nodiscard]] bool ok() const { return result_.ok() && find_mount(path_).has_value(); }
  /// How `pkgfs mount` ended.
  [[nodiscard]] const ProcessResult& result() const { return result_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  /// The process that serves the mount. Throws std::runtime_error unless there is exactly one. It never returns -1,
  /// which kill(2) takes for all processes.
  [[nodiscard]] pid_t daemon() const;
  /// `pkgfs unmount`, then waits for the daemon's end.
  ProcessResult unmount();

 private:
  std::string binary_;
  TempDir parent_;
  std::filesystem::path path_;
  ProcessResult result_;
};

}  // namespace pkgfs::test
