// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/base/thread_annotations.h"

struct fuse_conn_info;
struct fuse_file_info;
struct fuse_session;
using fuse_req_t = struct fuse_req*;

namespace pkgfs::fuse {

// Features of libfuse newer than 3.14, the version of Debian 12. If pkgfs was built with an older libfuse, or the
// kernel lacks the feature, each function says "no" or does nothing.

/// Why requests can't come through io_uring here; empty if they can. It needs libfuse 3.18 and Linux 6.14 with the fuse
/// module's parameter `enable_uring`.
[[nodiscard]] std::string io_uring_missing();
/// The capabilities to request from the kernel for io_uring.
[[nodiscard]] unsigned io_uring_capabilities();
/// The memory from which the kernel takes the reply to `req`. A reply that is written there needs no copy. Empty if the
/// request came through the device. The data of the request, such as a name, lie in the same memory.
[[nodiscard]] std::span<char> answer_memory(fuse_req_t req);
/// Ends libfuse's io_uring threads of a session, after fuse_session_exit. Call it once for a session. As long as these
/// threads hold the device, the kernel waits for replies. False: one is still answering after `limit`, and only the end
/// of the process helps.
[[nodiscard]] bool end_io_uring(fuse_session* session, std::chrono::milliseconds limit);
/// Protects the calling thread from pthread_cancel, by which libfuse ends its io_uring threads. Otherwise it could hit
/// a thread that is answering a request. Always returns true.
bool never_cancelled();

/// Whether the kernel can be asked to forget nodes that no program uses (Linux 6.18).
[[nodiscard]] bool can_prune(const fuse_conn_info& conn);
/// Asks the kernel to forget those of `nodes` that no program uses. It sends FORGET for each. A node that it doesn't
/// know is no error. Call it only if `can_prune` is true.
void prune_nodes(fuse_session* session, std::span<const std::uint64_t> nodes);
/// Whether the kernel can expire an entry: it looks the entry up anew, and the mounts below the entry stay. This needs
/// Linux 6.2. pkgfs doesn't use libfuse's function for it, because its parameters depend on the version of libfuse.
[[nodiscard]] bool can_expire(const fuse_conn_info& conn);
/// Lets the kernel expire the entry `name` of `parent`. Call it only if `can_expire` is true: an older kernel detaches
/// the mounts below the entry.
void expire_entry(fuse_session* session, std::uint64_t parent, std::string_view name);

/// Host files that the kernel reads itself instead of sending READ requests (libfuse 3.17, Linux 6.9, root).
/// Thread-safe.
///
/// At one time, the kernel serves an inode either through the page cache or from one host file. An open that asks for
/// anything else fails. So all opens of an inode use what the first of them used, until the last one is closed. If the
/// host file was replaced meanwhile, a further open bypasses the page cache.
class Passthrough {
 public:
  /// Requests the feature from the kernel, during INIT. False: there is no such feature.
  [[nodiscard]] bool ask(fuse_conn_info& conn);
  /// Prepares `info`, the reply to `req`, which opens `inode`. `descriptor` is that of the host file, or -1 for any
  /// other file. True: the open was counted, so that `closed` or `open_not_delivered` must follow.
  [[nodiscard]] bool opened(fuse_req_t req, std::uint64_t inode, int descriptor, fuse_file_info& info);
  /// Ends one open.
  void closed(fuse_req_t req, std::uint64_t inode);
  /// Ends one open whose reply the kernel didn't take. Needs no request: after the reply there is none.
  void open_not_delivered(std::uint64_t inode);

 private:
  struct Use {
    unsigned opens = 0;  // 0 after `open_not_delivered`: the next open closes the id
    int id = 0;          // the kernel's id of the host file; 0: through the page cache, as usual
    dev_t device = 0;
    ino_t number = 0;
  };
  Mutex mutex_;
  std::unordered_map<std::uint64_t, Use> uses_ PKGFS_GUARDED_BY(mutex_);
};

}  // namespace pkgfs::fuse
