// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>

#include "core/base/unique_fd.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace pkgfs::test {

/// A process that serves a FUSE mount of one file by hand, and that can be put into the state from which a guardian
/// must free it: one thread waits in the kernel, where no signal ends it, for a page that another thread of the process
/// was to fill.
class StuckDaemon {
 public:
  enum class Guarded { kNo, kYes };

  /// Forks; call it before any thread is started.
  explicit StuckDaemon(Guarded guarded);
  /// Frees the process from any wait in the kernel, and unmounts.
  ~StuckDaemon();
  StuckDaemon(const StuckDaemon&) = delete;
  StuckDaemon& operator=(const StuckDaemon&) = delete;

  /// Why it doesn't serve; empty when it does.
  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// 0: none.
  [[nodiscard]] pid_t guardian() const { return guardian_; }
  /// The number of the FUSE connection.
  [[nodiscard]] const std::string& connection() const { return connection_; }

  /// Starts a reader of the file, and returns when a thread of the daemon waits in the kernel. False: none does.
  [[nodiscard]] bool get_stuck();
  [[nodiscard]] bool reader_ends_within(std::chrono::milliseconds limit) const { return reader_->ends_within(limit); }
  /// Whether the process, every thread of it, ends within `limit`.
  [[nodiscard]] bool ends_within(std::chrono::milliseconds limit) const;
  /// Asks the daemon to end by itself.
  void end() { control_.reset(); }
  void kill(int signal) const;

 private:
  TempDir directory_;
  std::filesystem::path mountpoint_;
  pid_t pid_ = 0;
  pid_t guardian_ = 0;
  std::string connection_;
  std::string problem_;
  UniqueFd control_;
  std::unique_ptr<Process> reader_;
};

}  // namespace pkgfs::test
