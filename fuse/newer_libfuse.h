// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>

struct fuse_conn_info;
struct fuse_file_info;
struct fuse_session;
using fuse_req_t = struct fuse_req*;

namespace pkgfs::fuse {

// What libfuse has since 3.14, the one of Debian 12. Each says "no" or does nothing where pkgfs was built with an older
// one, or where the kernel can't.

/// Why requests can't come through io_uring here (libfuse 3.18, kernel 6.14, and the kernel's module told to); empty
/// when they can.
[[nodiscard]] std::string io_uring_missing();
/// Capabilities to want for it.
[[nodiscard]] unsigned io_uring_capabilities();
/// The memory from which the kernel takes the answer to `req`, so that it needn't be copied there; empty where it comes
/// through the device. What the request carries (a name) lies there, too.
[[nodiscard]] std::span<char> answer_memory(fuse_req_t req);
/// Ends libfuse's threads of a session that uses io_uring, once fuse_session_exit was called. They hold the device: the
/// kernel goes on waiting for answers as long as they are there. False: one is still answering after `limit`, and only
/// the end of the process helps. Once a session.
[[nodiscard]] bool end_io_uring(fuse_session* session, std::chrono::milliseconds limit);
/// To be called by a thread that answers: libfuse cancels those of io_uring, which must not hit in the middle.
bool never_cancelled();

/// Whole host files that the kernel reads by itself (libfuse 3.17, kernel 6.9, root). Thread-safe.
///
/// All opens of an inode at a time must agree on one file (they share its id), or go without the kernel's page cache;
/// otherwise the kernel fails them. So one that isn't passed through keeps others from it.
class Passthrough {
 public:
  /// Asks the kernel for it; whether it will. In `init`.
  [[nodiscard]] bool ask(fuse_conn_info& conn);
  /// What `req` opens as `inode` is the host file `descriptor`, or none (-1): sets `info`. True: `closed` is to follow.
  [[nodiscard]] bool opened(fuse_req_t req, std::uint64_t inode, int descriptor, fuse_file_info& info);
  void closed(fuse_req_t req, std::uint64_t inode);
  /// Instead of `closed`, when the kernel didn't take the answer and there is no request any more.
  void forsaken(std::uint64_t inode);

 private:
  struct Use {
    unsigned opens = 0;  // 0: forsaken; its id is closed by the next open
    int id = 0;          // 0: through the page cache, as usual
    dev_t device = 0;
    ino_t number = 0;
  };
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, Use> uses_;
};

}  // namespace pkgfs::fuse
