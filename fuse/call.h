// SPDX-License-Identifier: MIT
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <cerrno>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core/base/log.h"
#include "core/vfs/file_system.h"
#include "fuse/adapter.h"
#include "fuse/attributes.h"
#include "fuse/cpu_latency.h"
#include "fuse/newer_libfuse.h"
#include "fuse/statistics.h"

namespace pkgfs::fuse {

/// Helpers of the adapter's operations: they find the adapter of a request, and prepare and send its reply. An
/// operation replies exactly once, by a fuse_reply_* function or by the errno that it returns to `guard`. After the
/// reply the request is gone, and none of these functions may be called with it.
///
/// All is inline: an operation of the hot path is one function without calls to these.
struct Call {
  static Adapter& adapter(fuse_req_t req) {
    [[maybe_unused]] static const thread_local bool kSafe = never_cancelled();
    return *static_cast<Adapter*>(fuse_req_userdata(req));
  }
  static vfs::FileSystem& fs(fuse_req_t req) { return adapter(req).fs(); }
  /// Null: references aren't counted.
  static vfs::CountingFileSystem* counting(fuse_req_t req) {
    return adapter(req).counting_.load(std::memory_order_relaxed);
  }
  static const AdapterOptions& options(fuse_req_t req) { return adapter(req).options_; }
  static Statistics& statistics(fuse_req_t req) { return adapter(req).statistics_; }
  static Passthrough& backing(fuse_req_t req) { return adapter(req).backing_; }
  /// Only for LiveOperations.
  static vfs::LiveChanges& changes(fuse_req_t req) { return *adapter(req).changes_; }
  static LiveFiles& live_files(fuse_req_t req) { return adapter(req).live_files_; }
  /// Null: node ids are inodes.
  static LiveIds* live_ids(fuse_req_t req) { return adapter(req).live_ids_.get(); }
  static LiveHandles& live_handles(fuse_req_t req) { return adapter(req).live_handles_; }
  static PinnedFiles& pinned_files(fuse_req_t req) { return adapter(req).pinned_files_; }
  /// Only for ServedOperations.
  static vfs::ServedFileSystem* served(fuse_req_t req) { return adapter(req).served_; }
  static WaitingLookups& waiting_lookups(fuse_req_t req) { return adapter(req).waiting_lookups_; }
  static WaitingReads& waiting_reads(fuse_req_t req) { return adapter(req).waiting_reads_; }
  static fuse_session* session(fuse_req_t req) { return adapter(req).session_; }
  static bool skips_open(fuse_req_t req) { return adapter(req).skip_open_; }
  static bool skips_opendir(fuse_req_t req) { return adapter(req).skip_opendir_; }
  static bool passes_through(fuse_req_t req) { return adapter(req).passthrough_; }

  /// Runs `body`, an operation, and replies with the errno that it returns; 0: it has replied itself. Exceptions become
  /// errors, too.
  template <typename Body>
  static void guard(fuse_req_t req, Request kind, Body&& body) noexcept {
    Adapter& self = adapter(req);
    answer(req, kind, self, std::forward<Body>(body));
    if (self.options_.cpu_latency != nullptr) {
      self.options_.cpu_latency->request_came();
    }
  }

  static vfs::Inode inode(fuse_req_t req, fuse_ino_t ino) { return ino == FUSE_ROOT_ID ? fs(req).root() : ino; }
  /// The same for an operation that trees with live directories use, too. Throws StaleNode.
  static vfs::Inode any_inode(fuse_req_t req, fuse_ino_t ino) {
    LiveIds* const ids = live_ids(req);
    return ids == nullptr ? inode(req, ino) : ids->inode(ino);
  }

  static struct stat to_stat(fuse_req_t req, const vfs::Attributes& attributes) {
    return to_stat(options(req), attributes);
  }

  /// The seconds for which the kernel may cache an entry and its attributes: `live_timeout` for a live entry, else 100
  /// years.
  static double timeout(fuse_req_t req, const vfs::Attributes& attributes) { return timeout(options(req), attributes); }

  static fuse_entry_param to_entry(fuse_req_t req, vfs::Inode node, const vfs::Attributes& attributes) {
    const Adapter& self = adapter(req);
    fuse_entry_param param{};
    param.ino = node;
    param.generation = self.generation_;
    param.attr = to_stat(self.options_, attributes);
    param.attr_timeout = param.entry_timeout = timeout(self.options_, attributes);
    return param;
  }

  /// Replies to getxattr(2) with room for `size` bytes. `value`: empty: there is no such attribute. Returns what
  /// `guard` expects.
  static int reply_attribute(fuse_req_t req, std::string_view value, std::size_t size) {
    if (value.empty()) {
      return ENODATA;
    }
    if (size == 0) {
      fuse_reply_xattr(req, value.size());
    } else if (size < value.size()) {
      return ERANGE;
    } else {
      fuse_reply_buf(req, value.data(), value.size());
    }
    return 0;
  }

  /// Memory of `size` bytes for a reply. It is the memory that io_uring has for the reply (`answer_memory`), if that
  /// suffices, else a buffer of this thread. Allocates only while that buffer grows.
  static std::span<char> reply_buffer(fuse_req_t req, std::size_t size) {
    if (const std::span<char> memory = answer_memory(req); memory.size() >= size && size > 0) {
      return memory.first(size);
    }
    thread_local std::unique_ptr<char[]> buffer;
    thread_local std::size_t capacity = 0;
    if (capacity < size) {
      // Not zeroed: the buffer takes no pages of memory until the reply is written, for example after a wait for a
      // disk.
      buffer = std::make_unique_for_overwrite<char[]>(size);
      capacity = size;
    }
    return {buffer.get(), size};
  }

 private:
  static struct stat to_stat(const AdapterOptions& shown, const vfs::Attributes& attributes) {
    return fuse::to_stat(attributes, {shown.uid, shown.gid, shown.file_mask, shown.directory_mask});
  }
  static double timeout(const AdapterOptions& options, const vfs::Attributes& attributes) {
    constexpr double kForever = 100.0 * 365 * 24 * 3600;
    return attributes.live ? options.live_timeout : kForever;
  }

  template <typename Body>
  static void answer(fuse_req_t req, Request kind, Adapter& self, Body&& body) noexcept {
    Statistics::Measure measure(self.statistics_, kind);
    int error = EIO;
    try {
      if constexpr (std::is_invocable_v<Body, Statistics::Measure&>) {
        error = body(measure);
      } else {
        error = body();
      }
    } catch (const StaleNode& stale) {
      error = stale.error;
    } catch (const std::bad_alloc&) {
      error = ENOMEM;
    } catch (const std::exception& e) {
      log::warn("{}: {}", name_of(kind), e);
    }
    if (error != 0) {
      measure.failed(error);
      fuse_reply_err(req, error);
    }
  }
};

}  // namespace pkgfs::fuse
