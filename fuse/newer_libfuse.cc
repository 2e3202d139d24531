// SPDX-License-Identifier: MIT
#include "fuse/newer_libfuse.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <future>
#include <memory>
#include <thread>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/limits.h"

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

std::span<char> answer_memory(fuse_req_t req) {
  char* memory = nullptr;
  std::size_t size = 0;
  if (!fuse_req_is_uring(req) || fuse_req_get_payload(req, &memory, &size, nullptr) != 0) {
    return {};
  }
  return {memory, size};
}

bool end_io_uring(fuse_session* session, std::chrono::milliseconds limit) {
  // Only the end of libfuse's own loop ends them; it has nothing else to do after fuse_session_exit.
  auto done = std::make_shared<std::promise<void>>();
  std::future<void> ended = done->get_future();
  std::thread([session, done] {
    (void)fuse_session_loop(session);
    done->set_value();
  }).detach();
  return ended.wait_for(limit) == std::future_status::ready;
}

bool never_cancelled() { return ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr) == 0; }

#else

std::string io_uring_missing() { return std::string("it needs libfuse 3.18; this is ") + fuse_pkgversion(); }

unsigned io_uring_capabilities() { return 0; }

std::span<char> answer_memory(fuse_req_t /*req*/) { return {}; }

bool end_io_uring(fuse_session* /*session*/, std::chrono::milliseconds /*limit*/) { return true; }

bool never_cancelled() { return true; }

#endif

bool can_expire(const fuse_conn_info& conn) {
  constexpr unsigned kMinor = 38;  // of the protocol
  return conn.proto_major > FUSE_KERNEL_VERSION ||
         (conn.proto_major == FUSE_KERNEL_VERSION && conn.proto_minor >= kMinor);
}

bool can_prune(const fuse_conn_info& conn) {
  constexpr unsigned kMinor = 45;  // of the protocol
  return conn.proto_major > FUSE_KERNEL_VERSION ||
         (conn.proto_major == FUSE_KERNEL_VERSION && conn.proto_minor >= kMinor);
}

void prune_nodes(fuse_session* session, std::span<const std::uint64_t> nodes) {
  constexpr int kPrune = 9;  // FUSE_NOTIFY_PRUNE, which the headers of Debian 12 don't have
  constexpr std::size_t kMost = 512;
  for (; !nodes.empty(); nodes = nodes.subspan(std::min(nodes.size(), kMost))) {
    const auto some = nodes.first(std::min(nodes.size(), kMost));
    struct {
      fuse_out_header header;
      std::uint32_t count;
      std::uint32_t padding;
      std::uint64_t spare;
    } message{};
    message.header.len = static_cast<std::uint32_t>(sizeof(message) + some.size_bytes());
    message.header.error = kPrune;
    message.count = static_cast<std::uint32_t>(some.size());
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): writev(2) only reads
    const std::array<iovec, 2> parts{
        {{&message, sizeof(message)}, {const_cast<std::uint64_t*>(some.data()), some.size_bytes()}}};
    (void)::writev(fuse_session_fd(session), parts.data(), static_cast<int>(parts.size()));
  }
}

void expire_entry(fuse_session* session, std::uint64_t parent, std::string_view name) {
  struct {
    fuse_out_header header;
    std::uint64_t parent;
    std::uint32_t name_bytes;
    std::uint32_t flags;  // older headers have none
  } message{};
  static_assert(sizeof(message) == sizeof(fuse_out_header) + sizeof(fuse_notify_inval_entry_out));
  constexpr std::uint32_t kExpireOnly = 1;
  std::array<char, limits::kNameBytes + 1> text{};  // with a NUL
  const std::size_t size = name.copy(text.data(), text.size() - 1);
  message.header.len = static_cast<std::uint32_t>(sizeof(message) + size + 1);
  message.header.error = FUSE_NOTIFY_INVAL_ENTRY;
  message.parent = parent;
  message.name_bytes = static_cast<std::uint32_t>(size);
  message.flags = kExpireOnly;
  const std::array<iovec, 2> parts{{{&message, sizeof(message)}, {text.data(), size + 1}}};
  (void)::writev(fuse_session_fd(session), parts.data(), static_cast<int>(parts.size()));
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)

bool Passthrough::ask(fuse_conn_info& conn) {
  const auto wanted = static_cast<unsigned>(FUSE_CAP_PASSTHROUGH);
  if ((conn.capable & wanted) == 0) {
    return false;
  }
  conn.want |= wanted;
  return true;
}

bool Passthrough::opened(fuse_req_t req, std::uint64_t inode, int descriptor, fuse_file_info& info) {
  struct stat status{};
  const bool is_file = descriptor >= 0 && ::fstat(descriptor, &status) == 0;
  const MutexLock lock(mutex_);
  Use& use = uses_[inode];
  if (use.opens == 0) {
    if (use.id > 0) {
      (void)fuse_passthrough_close(req, use.id);
    }
    use.id = is_file ? std::max(fuse_passthrough_open(req, descriptor), 0) : 0;
    use.device = status.st_dev;
    use.number = status.st_ino;
  } else if (use.id > 0 && (!is_file || use.device != status.st_dev || use.number != status.st_ino)) {
    info.direct_io = 1;  // the file was replaced while the old one is still open
    info.keep_cache = 0;
    return false;
  }
  ++use.opens;
  if (use.id > 0) {
    info.backing_id = use.id;
    info.keep_cache = 0;  // pages of an earlier open without it would be in the way
  }
  return true;
}

void Passthrough::closed(fuse_req_t req, std::uint64_t inode) {
  const MutexLock lock(mutex_);
  const auto found = uses_.find(inode);
  if (found == uses_.end() || (found->second.opens > 0 && --found->second.opens > 0)) {
    return;
  }
  if (found->second.id > 0) {
    (void)fuse_passthrough_close(req, found->second.id);
  }
  uses_.erase(found);
}

void Passthrough::open_not_delivered(std::uint64_t inode) {
  const MutexLock lock(mutex_);
  if (const auto found = uses_.find(inode); found != uses_.end() && found->second.opens > 0) {
    --found->second.opens;
  }
}

#else

bool Passthrough::ask(fuse_conn_info& /*conn*/) { return false; }

bool Passthrough::opened(fuse_req_t /*req*/, std::uint64_t /*inode*/, int /*descriptor*/, fuse_file_info& /*info*/) {
  return false;
}

void Passthrough::closed(fuse_req_t /*req*/, std::uint64_t /*inode*/) {}

void Passthrough::open_not_delivered(std::uint64_t /*inode*/) {}

#endif

}  // namespace pkgfs::fuse
