// SPDX-License-Identifier: MIT
#include "fuse/adapter.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <vector>

#include "core/base/log.h"
#include "fuse/attributes.h"
#include "fuse/content_pusher.h"
#include "fuse/cpu_latency.h"
#include "fuse/newer_libfuse.h"
#include "fuse/servers.h"

namespace pkgfs::fuse {

using vfs::Attributes;
using vfs::DirEntry;
using vfs::Entry;
using vfs::FileType;
using vfs::OpenFile;

namespace {

/// Package content never changes: the kernel may keep what it was told.
constexpr double kForever = 100.0 * 365 * 24 * 3600;
/// Positions 0 and 1 of a directory are "." and "..".
constexpr off_t kDotEntries = 2;
constexpr std::size_t kStatisticsSlack = 2048;

/// What the kernel has for an open file.
struct Handle {
  std::unique_ptr<OpenFile> file;
  bool counted = false;  // by Passthrough
};

/// Where the answer to `req` is put together: the kernel's own memory where there is some, else one buffer a thread;
/// nothing is allocated once that has grown.
std::span<char> reply_buffer(fuse_req_t req, std::size_t size) {
  if (const std::span<char> memory = answer_memory(req); memory.size() >= size && size > 0) {
    return memory.first(size);
  }
  thread_local std::vector<char> buffer;
  if (buffer.size() < size) {
    buffer.resize(size);
  }
  return {buffer.data(), size};
}

}  // namespace

/// The operations as libfuse calls them. Each answers its request exactly once: by a fuse_reply_* or by the errno that
/// it returns to `guard`.
struct Operations {
  static Adapter& adapter(fuse_req_t req) {
    [[maybe_unused]] static const thread_local bool kSafe = never_cancelled();
    return *static_cast<Adapter*>(fuse_req_userdata(req));
  }
  static vfs::FileSystem& fs(fuse_req_t req) { return adapter(req).fs_; }

  /// Answers with the errno that `body` returns, unless that is 0: then it has answered itself.
  template <typename Body>
  static void guard(fuse_req_t req, Request kind, Body&& body) noexcept {
    Adapter& self = adapter(req);  // the request is gone after its answer
    answer(req, kind, self, std::forward<Body>(body));
    if (self.options_.cpu_latency != nullptr) {
      self.options_.cpu_latency->request_came();
    }
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
    } catch (const std::bad_alloc&) {
      error = ENOMEM;
    } catch (const std::exception& e) {
      log::warn("{}: {}", name_of(kind), e.what());
    }
    if (error != 0) {
      measure.failed(error);
      fuse_reply_err(req, error);
    }
  }

  static vfs::Inode inode(fuse_req_t req, fuse_ino_t ino) { return ino == FUSE_ROOT_ID ? fs(req).root() : ino; }

  static struct stat to_stat(fuse_req_t req, const Attributes& attributes) {
    const AdapterOptions& options = adapter(req).options_;
    return fuse::to_stat(attributes, {options.uid, options.gid, options.file_mask, options.directory_mask});
  }

  static double timeout(fuse_req_t req, const Attributes& attributes) {
    return attributes.live ? adapter(req).options_.live_timeout : kForever;
  }

  static fuse_entry_param to_entry(fuse_req_t req, vfs::Inode node, const Attributes& attributes) {
    fuse_entry_param param{};
    param.ino = node;
    param.attr = to_stat(req, attributes);
    param.attr_timeout = param.entry_timeout = timeout(req, attributes);
    return param;
  }

  static void init(void* user_data, fuse_conn_info* conn) {
    const unsigned wanted = FUSE_CAP_READDIRPLUS | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_PARALLEL_DIROPS |
                            FUSE_CAP_ASYNC_READ | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_IOCTL_DIR |
                            io_uring_capabilities();
    // Every listing is worth its attributes: the kernel would guess otherwise (READDIRPLUS_AUTO).
    conn->want = conn->capable & wanted;
    auto& self = *static_cast<Adapter*>(user_data);
    const bool may_skip = self.options_.skip_open && self.fs_.is_immutable();
    self.skip_open_ = may_skip && (conn->capable & FUSE_CAP_NO_OPEN_SUPPORT) != 0;
    self.skip_opendir_ = may_skip && (conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT) != 0;
    // Without open there is nothing to pass through.
    self.passthrough_ = self.options_.passthrough && !self.skip_open_ && self.backing_.ask(*conn);
    self.ready_ = true;
  }

  static void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
    guard(req, Request::kLookup, [&] {
      const vfs::Inode dir = inode(req, parent);
      const Result<Entry> found = fs(req).lookup(dir, name);
      if (!found && found.error() != ENOENT) {
        return found.error();
      }
      fuse_entry_param param{};  // inode 0: known not to exist
      if (found) {
        param = to_entry(req, found->inode, found->attributes);
      } else {
        const Result<Attributes> where = fs(req).metadata(dir);
        param.entry_timeout = where ? timeout(req, *where) : 0.0;
      }
      vfs::FileSystem& tree = fs(req);  // the request is gone after its answer
      if (fuse_reply_entry(req, &param) != 0 && found) {
        tree.forget(found->inode, 1);  // interrupted: the kernel took no reference
      }
      return 0;
    });
  }

  static void forget(fuse_req_t req, fuse_ino_t ino, std::uint64_t count) {
    const Statistics::Measure measure(adapter(req).statistics_, Request::kForget);
    fs(req).forget(inode(req, ino), count);
    fuse_reply_none(req);
  }

  static void forget_multi(fuse_req_t req, std::size_t count, fuse_forget_data* forgets) {
    const Statistics::Measure measure(adapter(req).statistics_, Request::kForget);
    for (const fuse_forget_data& one : std::span(forgets, count)) {
      fs(req).forget(inode(req, one.ino), one.nlookup);
    }
    fuse_reply_none(req);
  }

  static void getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info* /*fi*/) {
    guard(req, Request::kGetattr, [&] {
      const Result<Attributes> attributes = fs(req).metadata(inode(req, ino));
      if (!attributes) {
        return attributes.error();
      }
      const struct stat status = to_stat(req, *attributes);
      fuse_reply_attr(req, &status, timeout(req, *attributes));
      return 0;
    });
  }

  static void readlink(fuse_req_t req, fuse_ino_t ino) {
    guard(req, Request::kReadlink, [&] {
      const Result<std::string_view> text = fs(req).read_link(inode(req, ino));
      if (!text) {
        return text.error();
      }
      const std::span<char> buffer = reply_buffer(req, text->size() + 1);  // libfuse wants a NUL behind it
      text->copy(buffer.data(), text->size());
      buffer[text->size()] = '\0';
      fuse_reply_readlink(req, buffer.data());
      return 0;
    });
  }

  static void open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
    guard(req, Request::kOpen, [&] {
      if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC) != 0) {
        return EROFS;
      }
      if (adapter(req).skip_open_) {
        return ENOSYS;  // to the kernel: this and all others are open, with the page cache kept
      }
      const Result<Attributes> attributes = fs(req).metadata(inode(req, ino));
      Result<std::unique_ptr<OpenFile>> file = fs(req).open(inode(req, ino));
      if (!attributes || !file) {
        return attributes ? file.error() : attributes.error();
      }
      fi->keep_cache = attributes->live ? 0 : 1;
      fi->noflush = 1;
      auto handle = std::make_unique<Handle>(Handle{std::move(*file)});
      if (adapter(req).passthrough_ && attributes->live) {
        handle->counted = adapter(req).backing_.opened(req, ino, handle->file->descriptor(), *fi);
      }
      Passthrough& backing = adapter(req).backing_;  // the request is gone after its answer
      Handle* const raw = handle.release();          // the kernel's until release()
      fi->fh = reinterpret_cast<std::uint64_t>(raw);
      if (fuse_reply_open(req, fi) != 0) {
        if (raw->counted) {
          backing.forsaken(ino);
        }
        delete raw;
      }
      return 0;
    });
  }

  /// Reads a file that was opened without asking us.
  static Result<std::size_t> read_extent(fuse_req_t req, fuse_ino_t ino, std::uint64_t offset, std::span<char> buffer) {
    const Result<vfs::Extent> extent = fs(req).extent(inode(req, ino));
    if (!extent) {
      return fail(extent.error());
    }
    if (offset >= extent->length) {
      return 0;
    }
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), extent->length - offset));
    const std::span<std::byte> out = std::as_writable_bytes(buffer.first(count));
    if (!extent->source->read_at_once(extent->offset + offset, out)) {
      Servers::about_to_wait();
      if (const Result<void> done = extent->source->read(extent->offset + offset, out); !done) {
        return fail(done.error());
      }
    }
    if (ContentPusher* const pusher = adapter(req).options_.pusher; pusher != nullptr && offset == 0) {
      pusher->file_was_read(inode(req, ino), extent->length);
    }
    return count;
  }

  static void read(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* fi) {
    guard(req, Request::kRead, [&](Statistics::Measure& measure) {
      const std::span<char> buffer = reply_buffer(req, size);
      const auto from = static_cast<std::uint64_t>(offset);
      const auto* const handle = reinterpret_cast<Handle*>(fi->fh);  // NOLINT(performance-no-int-to-ptr)
      const Result<std::size_t> count = handle == nullptr ? read_extent(req, ino, from, buffer)
                                                          : handle->file->read(from, std::as_writable_bytes(buffer));
      if (!count) {
        return count.error();
      }
      measure.bytes_read(*count);
      fuse_reply_buf(req, buffer.data(), *count);
      return 0;
    });
  }

  static void release(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
    const Statistics::Measure measure(adapter(req).statistics_, Request::kRelease);
    const std::unique_ptr<Handle> handle(reinterpret_cast<Handle*>(fi->fh));  // NOLINT(performance-no-int-to-ptr)
    if (handle != nullptr && handle->counted) {
      adapter(req).backing_.closed(req, ino);
    }
    fuse_reply_err(req, 0);
  }

  static void opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
    guard(req, Request::kOpendir, [&] {
      if (adapter(req).skip_opendir_) {
        return ENOSYS;
      }
      const Result<Attributes> attributes = fs(req).metadata(inode(req, ino));
      if (!attributes) {
        return attributes.error();
      }
      fi->cache_readdir = fi->keep_cache = attributes->live ? 0 : 1;
      fuse_reply_open(req, fi);
      return 0;
    });
  }

  /// Appends one entry; the size it needs if that is more than there is.
  static std::size_t add(fuse_req_t req, std::span<char> space, const DirEntry& entry, off_t next, bool plus) {
    // The name isn't NUL-terminated in the mapping; libfuse wants it so.
    std::array<char, 256> name{};
    entry.name.copy(name.data(), name.size() - 1);
    if (plus) {
      const fuse_entry_param param = to_entry(req, entry.inode, entry.attributes);
      return fuse_add_direntry_plus(req, space.data(), space.size(), name.data(), &param, next);
    }
    const struct stat status = to_stat(req, entry.attributes);
    return fuse_add_direntry(req, space.data(), space.size(), name.data(), &status, next);
  }

  static void list(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, bool plus) {
    guard(req, plus ? Request::kReaddirplus : Request::kReaddir, [&] {
      const vfs::Inode dir = inode(req, ino);
      const std::span<char> buffer = reply_buffer(req, size);
      const bool from_the_start = offset == 0;
      std::size_t used = 0;
      const auto put = [&](const DirEntry& entry, off_t next) {
        const std::size_t needed = add(req, buffer.subspan(used), entry, next, plus);
        if (needed > buffer.size() - used) {
          return false;
        }
        used += needed;
        return true;
      };
      // "." and "..": no references, as for every entry with inode 0.
      DirEntry dot{.name = ".", .attributes = {.type = FileType::kDirectory}};
      if (offset == 0) {
        const Result<Attributes> self = fs(req).metadata(dir);
        dot.attributes.number = self ? self->number : 0;
        if (put(dot, 1)) {
          offset = 1;
        }
      }
      if (offset == 1) {
        dot.name = "..";
        dot.attributes.number = fs(req).parent_number(dir).value_or(0);
        if (put(dot, kDotEntries)) {
          offset = kDotEntries;
        }
      }
      if (offset >= kDotEntries) {
        const auto visit = [&](const DirEntry& entry) {
          return put(entry, static_cast<off_t>(entry.next) + kDotEntries);
        };
        const Result<void> listed = fs(req).read_dir(dir, static_cast<std::uint64_t>(offset - kDotEntries), visit);
        if (!listed) {
          return listed.error();
        }
      }
      ContentPusher* const pusher = plus && from_the_start ? adapter(req).options_.pusher : nullptr;  // `req` goes
      fuse_reply_buf(req, buffer.data(), used);
      if (pusher != nullptr) {
        pusher->directory_was_listed(dir);
      }
      return 0;
    });
  }

  static void readdir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* /*fi*/) {
    list(req, ino, size, offset, false);
  }

  static void readdirplus(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* /*fi*/) {
    list(req, ino, size, offset, true);
  }

  static void releasedir(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* /*fi*/) {
    const Statistics::Measure measure(adapter(req).statistics_, Request::kReleasedir);
    fuse_reply_err(req, 0);
  }

  static void statfs(fuse_req_t req, fuse_ino_t /*ino*/) {
    guard(req, Request::kStatfs, [&] {
      const AdapterOptions& options = adapter(req).options_;
      const Usage usage = options.usage ? options.usage() : Usage{};
      const struct statvfs status = to_statvfs(usage.bytes, usage.inodes);
      fuse_reply_statfs(req, &status);
      return 0;
    });
  }

  static void getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) {
    guard(req, Request::kGetxattr, [&] {
      std::string value;
      if (ino == FUSE_ROOT_ID && std::string_view(name) == kStatisticsAttribute) {
        value = adapter(req).statistics_.to_json();
        value.insert(value.size() - 1, adapter(req).options_.about);
        if (size == 0) {
          value.append(kStatisticsSlack, ' ');  // it may have grown when it is fetched
        }
      } else if (is_origin_attribute(name)) {
        const Result<vfs::Origin> origin = fs(req).origin(inode(req, ino));
        if (!origin) {
          return origin.error();
        }
        value = origin_attribute(*origin, name);
      }
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
    });
  }

  /// Nothing of ours knows any; libc's isatty() asks of every file that Python opens.
  static void ioctl(fuse_req_t req, fuse_ino_t /*ino*/, unsigned /*command*/, void* /*argument*/,
                    fuse_file_info* /*info*/, unsigned /*flags*/, const void* /*in*/, std::size_t /*in_size*/,
                    std::size_t /*out_size*/) {
    guard(req, Request::kIoctl, [] { return ENOTTY; });
  }

  /// Ours are read by name and never listed: `cp -a`, rsync and overlayfs would copy them.
  static void listxattr(fuse_req_t req, fuse_ino_t /*ino*/, std::size_t size) {
    const Statistics::Measure measure(adapter(req).statistics_, Request::kListxattr);
    if (size == 0) {
      fuse_reply_xattr(req, 0);
    } else {
      fuse_reply_buf(req, nullptr, 0);
    }
  }

  /// Every operation that would change something. The mount is read-only, so that the kernel refuses most by itself.
  template <typename... Args>
  static void refuse(fuse_req_t req, Args... /*args*/) {
    Statistics::Measure measure(adapter(req).statistics_, Request::kOther);
    measure.failed(EROFS);
    fuse_reply_err(req, EROFS);
  }
};

const fuse_lowlevel_ops& Adapter::operations() {
  static const fuse_lowlevel_ops table = [] {
    fuse_lowlevel_ops ops{};
    ops.init = Operations::init;
    ops.lookup = Operations::lookup;
    ops.forget = Operations::forget;
    ops.forget_multi = Operations::forget_multi;
    ops.getattr = Operations::getattr;
    ops.readlink = Operations::readlink;
    ops.open = Operations::open;
    ops.read = Operations::read;
    ops.release = Operations::release;
    ops.opendir = Operations::opendir;
    ops.readdir = Operations::readdir;
    ops.readdirplus = Operations::readdirplus;
    ops.releasedir = Operations::releasedir;
    ops.statfs = Operations::statfs;
    ops.getxattr = Operations::getxattr;
    ops.listxattr = Operations::listxattr;
    ops.ioctl = Operations::ioctl;
    ops.setattr = Operations::refuse;
    ops.mknod = Operations::refuse;
    ops.mkdir = Operations::refuse;
    ops.unlink = Operations::refuse;
    ops.rmdir = Operations::refuse;
    ops.symlink = Operations::refuse;
    ops.rename = Operations::refuse;
    ops.link = Operations::refuse;
    ops.write = Operations::refuse;
    ops.create = Operations::refuse;
    ops.setxattr = Operations::refuse;
    ops.removexattr = Operations::refuse;
    ops.fallocate = Operations::refuse;
    return ops;
  }();
  return table;
}

}  // namespace pkgfs::fuse
