// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "core/vfs/file_system.h"
#include "core/vfs/generations.h"
#include "core/vfs/served_file_system.h"
#include "fuse/live_files.h"
#include "fuse/live_handles.h"
#include "fuse/live_ids.h"
#include "fuse/live_journal.h"
#include "fuse/newer_libfuse.h"
#include "fuse/pinned_files.h"
#include "fuse/statistics.h"
#include "fuse/usage.h"
#include "fuse/waiting_lookups.h"
#include "fuse/waiting_reads.h"

struct fuse_conn_info;
struct fuse_lowlevel_ops;
struct fuse_session;

namespace pkgfs::fuse {

class ContentPrefetcher;
class CpuLatency;

struct AdapterOptions {
  uid_t uid = 0;  // shown as the owner of every entry
  gid_t gid = 0;
  std::uint16_t file_mask = 0;       // permission bits taken away from files
  std::uint16_t directory_mask = 0;  // and from directories
  double live_timeout = 1.0;  // seconds for which the kernel may cache a live entry if its changes aren't reported
  /// If the tree is immutable, let the kernel open files and directories without a request. Kernels that can't do that
  /// send requests as usual.
  bool skip_open = true;
  /// Give the kernel no file handles that mean something to this process only: another daemon may go on with the mount.
  /// Only for trees without live directories.
  bool without_handles = false;
  /// The mount is the lower layer of an overlay, which asks for an attribute of every entry that it looks up. The first
  /// such request gets ENOSYS, after which the kernel asks for no attribute of this mount any more. So the attributes
  /// `user.pkgfs.*` are gone, too; statistics_ioctl.h has the statistics.
  bool below_overlay = false;
  /// Let the kernel read whole host files itself, if it and libfuse can.
  bool passthrough = true;
  /// Gets a hint for every listing and read; may be null. Must outlive the adapter.
  ContentPrefetcher* prefetcher = nullptr;
  /// Is told of requests once they are answered; may be null. Must outlive the adapter.
  CpuLatency* cpu_latency = nullptr;
  /// Answers `statfs`. Called by any thread, at every request; must not take long.
  std::function<Usage()> usage;
  /// Makes the value of the attribute `user.pkgfs.stats` of the root, at most 60 KiB of text. Called by any thread.
  /// Without it there is no such attribute.
  std::function<std::string()> stats = {};
};

/// Translates the kernel's requests into calls of a FileSystem, and the results into replies. The kernel's node ids are
/// the inodes of the file system, except for the root. If the inodes are the same in every mount of the tree, a file
/// handle stays valid in a later mount (open_by_handle_at(2), NFS). For such a handle, the kernel looks up "." and ".."
/// of an inode that it has forgotten. Read-only: requests that would change something fail with EROFS. Thread-safe.
class Adapter {
 public:
  /// Both must outlive the adapter.
  Adapter(vfs::FileSystem& fs, Statistics& statistics, AdapterOptions options)
      : fs_(&fs), changes_(fs.changes()), statistics_(statistics), options_(std::move(options)) {}

  /// Answers from `generations` from now on, whose generation 0 is the tree of before: the kernel's node ids stay the
  /// same. Requests that are being answered may still use that tree. `generations` must outlive the adapter. Only for
  /// an immutable tree. Any thread may call it.
  void use_generations(vfs::Generations& generations);
  /// The file system is `served`. Call it before `operations`.
  void use_served(vfs::ServedFileSystem& served);
  /// Whether look-ups may wait for the network.
  [[nodiscard]] bool is_served() const { return served_ != nullptr; }
  /// The operations for fuse_session_new. The user data must be the adapter.
  [[nodiscard]] const fuse_lowlevel_ops& operations() const;
  /// Notes in `journal`, which must outlive the adapter, what the kernel knows of live directories, and goes on from
  /// what an earlier daemon has noted there. Call it before the first request. `is_alone`: that daemon has ended; else
  /// call `is_alone_now` when it has. Throws std::bad_alloc.
  void use_journal(LiveJournal& journal, bool is_alone);
  void is_alone_now() { use_places(true); }
  /// Null: node ids are inodes.
  [[nodiscard]] LiveIds* live_ids() { return live_ids_.get(); }
  /// Sets the session from which the requests come. Call it before the first request.
  void attach(fuse_session* session) { session_ = session; }
  /// Whether the kernel's INIT request was answered: the mount works.
  [[nodiscard]] bool is_ready() const { return ready_; }
  /// Whether the kernel can look up an entry anew on request (newer_libfuse.h). False until it is ready.
  [[nodiscard]] bool can_expire() const { return can_expire_; }
  /// Whether the kernel forgets nodes on request (the same). False until it is ready.
  [[nodiscard]] bool can_prune() const { return can_prune_; }
  [[nodiscard]] Statistics& statistics() const { return statistics_; }
  /// The requests that wait for a server.
  [[nodiscard]] WaitingReads& waiting_reads() { return waiting_reads_; }
  /// The requests that wait for a package of a served directory.
  [[nodiscard]] WaitingLookups& waiting_lookups() { return waiting_lookups_; }
  /// Replies EINTR to the request with this number of the kernel, if it waits in one of the two. False: it doesn't.
  [[nodiscard]] bool interrupt(std::uint64_t number) {
    return waiting_reads_.interrupt(number) || waiting_lookups_.interrupt(number);
  }
  /// WaitingReads::stop and WaitingLookups::stop.
  [[nodiscard]] bool stop_waiting(std::chrono::milliseconds limit) {
    waiting_reads_.stop();
    return waiting_lookups_.stop(limit);
  }

 private:
  friend struct Call;  // call.h

  /// Answers INIT: agrees with the kernel on the features of FUSE that the mount uses. Here the file system is asked
  /// whether it is immutable.
  static void init(void* user_data, fuse_conn_info* conn);
  void use_places(bool use);
  /// Makes the kernel drop what it has cached of the content of `file`.
  void drop_pages(std::uint64_t file);

  [[nodiscard]] vfs::FileSystem& fs() const { return *fs_.load(std::memory_order_acquire); }

  std::atomic<vfs::FileSystem*> fs_;
  std::atomic<vfs::CountingFileSystem*> counting_{nullptr};  // `fs_`, if it counts references
  vfs::ServedFileSystem* served_ = nullptr;                  // `fs_`, if it is that
  vfs::LiveChanges* changes_;                                // null: nothing is live
  Statistics& statistics_;
  AdapterOptions options_;
  // Set by `init`, before any other request.
  bool skip_open_ = false;     // `open` is answered with ENOSYS, so that the kernel opens files itself
  bool skip_opendir_ = false;  // the same for directories
  bool passthrough_ = false;   // the kernel reads host files itself
  bool can_expire_ = false;
  bool can_prune_ = false;
  Passthrough backing_;
  LiveFiles live_files_;
  std::unique_ptr<LiveIds> live_ids_;  // null: node ids are inodes
  LiveHandles live_handles_;
  PinnedFiles pinned_files_{*fs_};
  WaitingReads waiting_reads_{statistics_, [this](fuse_ino_t file) { drop_pages(file); }};
  WaitingLookups waiting_lookups_;
  fuse_session* session_ = nullptr;
  std::uint32_t generation_ = 0;  // of all inodes but the root: tells the inodes of two trees apart
  bool ready_ = false;
};

}  // namespace pkgfs::fuse
