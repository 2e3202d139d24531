// SPDX-License-Identifier: MIT
#include "fuse/newer_libfuse.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/base/files.h"

namespace pkgfs::fuse {

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)

std::string io_uring_missing() {
  constexpr const char* kSwitch = "/sys/module/fuse/parameters/enable_uring";
  constexpr std::size_t kMostText = 16;
  if (fuse_version() < FUSE_MAKE_VERSION(3, 18)) {
    return std::string("it needs libfuse 3.18; this is ") + fuse_pkgversion();
  }
  try {
    const auto text = read_small_file(kSwitch, kMostText);
    if (!text) {
      return "it needs Linux 6.14";
    }
    return text->starts_with('Y') ? "" : std::string("the kernel doesn't do it until told to: echo Y > ") + kSwitch;
  } catch (const Error& error) {
    return error.what();
  }
}

unsigned io_uring_capabilities() { return static_cast<unsigned>(FUSE_CAP_OVER_IO_URING); }

#else

std::string io_uring_missing() { return std::string("it needs libfuse 3.18; this is ") + fuse_pkgversion(); }

unsigned io_uring_capabilities() { return 0; }

#endif

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)

bool ask_for_passthrough(fuse_conn_info& conn) {
  const auto wanted = static_cast<unsigned>(FUSE_CAP_PASSTHROUGH);
  if ((conn.capable & wanted) == 0) {
    return false;
  }
  conn.want |= wanted;
  return true;
}

int open_passthrough(fuse_req_t req, int descriptor, fuse_file_info& info) {
  const int id = descriptor < 0 ? 0 : std::max(fuse_passthrough_open(req, descriptor), 0);
  if (id > 0) {
    info.backing_id = id;
    info.keep_cache = 0;  // pages of an earlier open without it would be in the way
  }
  return id;
}

void close_passthrough(fuse_req_t req, int id) {
  if (id > 0) {
    (void)fuse_passthrough_close(req, id);
  }
}

#else

bool ask_for_passthrough(fuse_conn_info& /*conn*/) { return false; }

int open_passthrough(fuse_req_t /*req*/, int /*descriptor*/, fuse_file_info& /*info*/) { return 0; }

void close_passthrough(fuse_req_t /*req*/, int /*id*/) {}

#endif

}  // namespace pkgfs::fuse
