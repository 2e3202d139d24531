// SPDX-License-Identifier: MIT
#pragma once

#include <string>

struct fuse_conn_info;
struct fuse_file_info;
using fuse_req_t = struct fuse_req*;

namespace pkgfs::fuse {

// What libfuse has since 3.14, the one of Debian 12. Each says "no" or does nothing where pkgfs was built with an older
// one, or where the kernel can't.

/// Why requests can't come through io_uring here (libfuse 3.18, kernel 6.14, and the kernel's module told to); empty
/// when they can.
[[nodiscard]] std::string io_uring_missing();
/// Capabilities to want for it.
[[nodiscard]] unsigned io_uring_capabilities();

/// Asks the kernel to read whole host files by itself (libfuse 3.17, kernel 6.9, root); whether it will. In `init`.
[[nodiscard]] bool ask_for_passthrough(fuse_conn_info& conn);
/// Has the kernel read what is opened by `req` from `descriptor`, by setting `info`. Returns an id for
/// `close_passthrough`, or 0 if the file's file system can't.
[[nodiscard]] int open_passthrough(fuse_req_t req, int descriptor, fuse_file_info& info);
void close_passthrough(fuse_req_t req, int id);

}  // namespace pkgfs::fuse
