// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <csignal>
#include <filesystem>
#include <set>
#include <string>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {

/// Tests of mounts whose daemon is killed. The end of a test fails if a daemon or keeper is left that a test has asked
/// for; it ends them.
class KeeperTest : public MountedTest {
 protected:
  /// What a mount says of the processes behind it.
  struct Serving {
    pid_t daemon = 0;
    pid_t keeper = 0;  // 0: there is none
    int generation = 0;
    std::string last_end;
    nlohmann::json all;  // empty: the mount doesn't answer
  };

  static void SetUpTestSuite();
  void TearDown() override;

  /// Asks the mount, for at most some seconds; this process never waits for it.
  Serving serving(const std::filesystem::path& mountpoint);
  /// Waits until the mount has a keeper, and fails the test if it gets none.
  Serving kept(const std::filesystem::path& mountpoint);
  /// Waits until pkgfs-keeperd holds the mount, and fails the test if it doesn't.
  Serving held(const std::filesystem::path& mountpoint);
  /// Sends the signal to the daemon, and waits until a successor answers with a keeper. Fails the test if none does.
  Serving replace_daemon(const std::filesystem::path& mountpoint, int signal = SIGKILL);
  /// Kills both before either can notice the end of the other.
  void kill_both(const std::filesystem::path& mountpoint);
  /// Whether the mount fails as one without a daemon, within `limit`.
  [[nodiscard]] static bool becomes_dead(const std::filesystem::path& mountpoint,
                                         std::chrono::milliseconds limit = std::chrono::seconds(5));
  /// Whether all processes that a test has asked for have ended.
  [[nodiscard]] bool all_ended() const;

  /// A package of `kFiles` small files in directories of a hundred, and a large one. Made once for all tests.
  static std::string package() { return shared_->path() / "many.webc"; }
  /// The same as a directory, made by `pkgfs extract`.
  static std::string source() { return shared_->path() / "source"; }
  static constexpr int kFiles = 2000;

 private:
  static TempDir* shared_;
  std::set<pid_t> seen_;
};

/// The entries of a mount as programs see them: one line each with path, type, inode number, mode, owner, length, time,
/// target and, of files, the hash of the content.
[[nodiscard]] std::string listing(const std::filesystem::path& root);

/// Reads a mount over and over in a process of its own, and compares each byte with `source`.
class ComparingReader {
 public:
  ComparingReader(const std::filesystem::path& mountpoint, const std::filesystem::path& source);
  /// Lets it end, and fails the test if it has seen an error or a wrong byte, or if it hangs.
  void expect_right();

 private:
  TempDir dir_;
  Process process_;
};

}  // namespace pkgfs::test
