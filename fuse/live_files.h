// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"

namespace pkgfs::fuse {

/// The live files that are open, and the threads that were sent back to look a path up again. Thread-safe.
class LiveFiles {
 public:
  void opened(std::uint64_t node, std::shared_ptr<vfs::OpenFile> file) PKGFS_EXCLUDES(mutex_);
  /// How many are open.
  [[nodiscard]] std::size_t count() const PKGFS_EXCLUDES(mutex_);
  void closed(std::uint64_t node, const vfs::OpenFile& file) PKGFS_EXCLUDES(mutex_);
  /// An open file of `node`; null: none is open. All of them are the same file of the host.
  [[nodiscard]] std::shared_ptr<vfs::OpenFile> find(std::uint64_t node) const PKGFS_EXCLUDES(mutex_);

  /// Whether an open of this thread may be answered with ESTALE; if so, notes the refusal. The kernel then looks the
  /// path up anew and sends the request again, but only once. So the answer is false for that second request, which
  /// must be answered as well as possible. The second request may never come, for example if the path is gone. So a
  /// refusal is forgotten after two seconds. False for a thread of another pid namespace (0), which can't be told from
  /// others; notes the refusal nevertheless.
  [[nodiscard]] bool may_refuse(pid_t thread);
  /// A request of this thread other than an open was answered with ESTALE.
  void refused(pid_t thread);
  /// Whether the kernel may be looking a path up anew for this thread.
  [[nodiscard]] bool was_refused(pid_t thread) const;
  /// An open of this thread was answered, not refused. Other requests don't count: the kernel sends some of them
  /// between the refused open and the second one.
  void answered(pid_t thread);

 private:
  static constexpr std::size_t kThreads = 256;

  /// The thread that was refused, the time in milliseconds, and in the lowest bits 1 for an open, 2 for another
  /// request. 0: none.
  using Refusal = std::uint64_t;
  static constexpr std::uint32_t kOpen = 1;
  static constexpr std::uint32_t kOther = 2;
  [[nodiscard]] static Refusal refusal(pid_t thread, std::uint32_t kind);
  /// Whether `last` is a refusal of that thread that still counts.
  [[nodiscard]] static bool counts(Refusal last, pid_t thread);
  [[nodiscard]] static std::size_t slot(pid_t thread) { return static_cast<std::size_t>(thread) % kThreads; }

  mutable Mutex mutex_;
  std::unordered_multimap<std::uint64_t, std::shared_ptr<vfs::OpenFile>> open_ PKGFS_GUARDED_BY(mutex_);
  std::array<std::atomic<Refusal>, kThreads> refused_{};  // by thread id; a collision costs one refusal
};

}  // namespace pkgfs::fuse
