// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/vfs/file_system.h"
#include "fuse/newer_libfuse.h"
#include "fuse/statistics.h"
#include "fuse/usage.h"

struct fuse_lowlevel_ops;

namespace pkgfs::fuse {

class ContentPusher;
class CpuLatency;

struct AdapterOptions {
  uid_t uid = 0;  // shown as the owner of everything
  gid_t gid = 0;
  std::uint16_t file_mask = 0;       // permission bits taken away from files
  std::uint16_t directory_mask = 0;  // and from directories
  double live_timeout = 1.0;         // seconds that the kernel may keep what it knows of live entries
  /// Let the kernel open without asking, where the tree is immutable. A kernel that can't is asked as usual.
  bool skip_open = true;
  /// Let the kernel read whole host files by itself, where it and libfuse can.
  bool passthrough = true;
  /// Told what is listed and read; may be null. Must outlive the adapter.
  ContentPusher* pusher = nullptr;
  /// Told of requests once they are answered; may be null. Must outlive the adapter.
  CpuLatency* cpu_latency = nullptr;
  /// Asked at every statfs, by any thread; must not take long.
  std::function<Usage()> usage;
  /// What `user.pkgfs.stats` says beside the counts: members of a JSON object, each behind a comma.
  std::string about = {};
};

/// Translates the kernel's requests into calls of a FileSystem and the answers back; nothing else. Its inodes are the
/// kernel's node ids, but for the root. Read-only: what would change something answers EROFS. Thread-safe.
class Adapter {
 public:
  /// Both must outlive the adapter.
  Adapter(vfs::FileSystem& fs, Statistics& statistics, AdapterOptions options)
      : fs_(fs), statistics_(statistics), options_(std::move(options)) {}

  /// For fuse_session_new, with the adapter as user data.
  [[nodiscard]] static const fuse_lowlevel_ops& operations();
  /// Whether the kernel's INIT was answered: the mount works.
  [[nodiscard]] bool is_ready() const { return ready_; }
  [[nodiscard]] Statistics& statistics() const { return statistics_; }

 private:
  friend struct Operations;

  vfs::FileSystem& fs_;
  Statistics& statistics_;
  AdapterOptions options_;
  bool skip_open_ = false;     // files: the kernel was told so or is about to be
  bool skip_opendir_ = false;  // directories
  bool passthrough_ = false;   // the kernel was told so
  Passthrough backing_;
  bool ready_ = false;
};

}  // namespace pkgfs::fuse
