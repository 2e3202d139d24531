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
  void opened(std::uint64_t node, std::shared_ptr<const vfs::OpenFile> file) PKGFS_EXCLUDES(mutex_);
  void closed(std::uint64_t node, const vfs::OpenFile& file) PKGFS_EXCLUDES(mutex_);
  /// The attributes of an open file of `node` with this number (Attributes::number). ENOENT: none is open. Asks the
  /// host with no lock held, and keeps the file meanwhile: a network file system may hang.
  [[nodiscard]] Result<vfs::Attributes> attributes(std::uint64_t node, std::uint64_t number) const
      PKGFS_EXCLUDES(mutex_);

  /// Whether a request of this thread may be answered with ESTALE. The kernel then looks the path up anew and sends the
  /// request again, but only once. So the answer is false for that second request, which must be answered as well as
  /// possible. The second request may never come, for example if the path is gone. So a refusal is forgotten after two
  /// seconds.
  [[nodiscard]] bool may_refuse(pid_t thread);
  /// An open of this thread was answered, not refused. Other requests don't count: the kernel sends some of them
  /// between the refused open and the second one.
  void answered(pid_t thread);

 private:
  static constexpr std::size_t kThreads = 256;

  /// The thread that was refused, and the time in milliseconds. 0: none.
  using Refusal = std::uint64_t;
  [[nodiscard]] std::atomic<Refusal>& refusal_of(pid_t thread) {
    return refused_.at(static_cast<std::size_t>(thread) % kThreads);
  }

  mutable Mutex mutex_;
  std::unordered_multimap<std::uint64_t, std::shared_ptr<const vfs::OpenFile>> open_ PKGFS_GUARDED_BY(mutex_);
  std::array<std::atomic<Refusal>, kThreads> refused_{};  // by thread id; a collision costs one refusal
};

}  // namespace pkgfs::fuse
