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
/// The memory from which the kernel takes the reply to `req`, so that it need not be copied there; empty if the request
/// came through the device. The data of the request, such as a name, lie in the same memory.
[[nodiscard]] std::span<char> answer_memory(fuse_req_t req);
/// Ends libfuse's io_uring threads of a session, after fuse_session_exit; once a session. As long as they hold the
/// device, the kernel waits for replies. False: one is still answering after `limit`, and only the end of the process
/// helps.
[[nodiscard]] bool end_io_uring(fuse_session* session, std::chrono::milliseconds limit);
/// Makes the calling thread safe from pthread_cancel, with which libfuse ends its io_uring threads: it must not hit a
/// thread that is answering a request. True.
bool never_cancelled();

/// The capability to tell the kernel that it must look up an entry anew, while what is mounted below the entry stays.
/// It needs Linux 6.2. libfuse has a function for it, but with other parameters in each version.
[[nodiscard]] bool can_expire(const fuse_conn_info& conn);
/// Tells it so. Only with that capability: an older kernel detaches what is mounted below the entry.
void expire_entry(fuse_session* session, std::uint64_t parent, std::string_view name);

/// Host files that the kernel reads itself instead of sending READ requests (libfuse 3.17, Linux 6.9, root).
/// Thread-safe.
///
/// The kernel allows only one mode and one host file for an inode at a time, and fails other opens. So as long as an
/// inode is open, further opens use the same host file; an open that can't do so bypasses the page cache.
class Passthrough {
 public:
  /// Requests the feature from the kernel, during INIT. False: there is no such feature.
  [[nodiscard]] bool ask(fuse_conn_info& conn);
  /// Prepares the reply `info` to `req`, which opens `inode`: the host file with this descriptor, or -1 for any other
  /// file. True: the open was counted, so that `closed` or `open_not_delivered` must follow.
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
