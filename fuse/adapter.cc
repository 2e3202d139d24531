// SPDX-License-Identifier: MIT
#include "fuse/adapter.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <span>
#include <string>

#include "core/base/lost_pages.h"
#include "core/base/read_section.h"
#include "fuse/attributes.h"
#include "fuse/call.h"
#include "fuse/directory_operations.h"
#include "fuse/file_operations.h"
#include "fuse/live_operations.h"
#include "fuse/served_operations.h"
#include "fuse/statistics_ioctl.h"

namespace pkgfs::fuse {

using vfs::Attributes;
using vfs::Entry;

namespace {

/// By how much the value of `user.pkgfs.stats` may grow between the question for its size and its reading.
constexpr std::size_t kStatisticsSlack = 2048;

/// How many requests for read-ahead the kernel sends before it has the reply to one of them. Other readers wait when
/// so many wait for a disk that doesn't answer; the kernel's default is 12. Fewer than the server threads of a mount
/// (ServerOptions::most_threads), so that some are left for other requests.
constexpr unsigned kMostInBackground = 48;

bool is_dots(std::string_view name) { return name == "." || name == ".."; }

/// The kernel looks up "." of a node that only a file handle names, and ".." to find the way to it. No tree has entries
/// of these names.
Result<Entry> lookup_dots(vfs::FileSystem& fs, vfs::Inode node, std::string_view name) {
  if (name == "..") {
    const Result<vfs::Place> place = fs.place(node);
    if (!place) {
      return fail(place.error());
    }
    node = place->directory;
  }
  const Result<Attributes> attributes = fs.metadata(node);
  return attributes ? Result<Entry>(Entry{node, *attributes}) : fail(attributes.error());
}

void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Call::guard(req, Request::kLookup, [&] {
    const vfs::Inode dir = Call::inode(req, parent);
    Result<Entry> found = Call::fs(req).lookup(dir, name);
    if (!found && is_dots(name)) {
      found = lookup_dots(Call::fs(req), dir, name);
    }
    if (!found && found.error() != ENOENT) {
      return found.error();
    }
    fuse_entry_param param{};  // inode 0: the kernel may keep that there is no such entry
    if (found) {
      param = Call::to_entry(req, found->inode, found->attributes);
      if (found->inode == FUSE_ROOT_ID) {
        param.generation = 0;  // the kernel's own for the root, which it knows before it asks
      }
    } else {
      const Result<Attributes> where = Call::fs(req).metadata(dir);
      param.entry_timeout = where ? Call::timeout(req, *where) : 0.0;
    }
    vfs::FileSystem& tree = Call::fs(req);  // the request is gone after the reply
    if (fuse_reply_entry(req, &param) != 0 && found) {
      tree.forget(found->inode, 1);  // the look-up was interrupted: the kernel took no reference
    }
    return 0;
  });
}

void forget(fuse_req_t req, fuse_ino_t ino, std::uint64_t count) {
  const Statistics::Measure measure(Call::statistics(req), Request::kForget);
  Call::fs(req).forget(Call::inode(req, ino), count);
  fuse_reply_none(req);
}

void forget_multi(fuse_req_t req, std::size_t count, fuse_forget_data* forgets) {
  const Statistics::Measure measure(Call::statistics(req), Request::kForget);
  for (const fuse_forget_data& one : std::span(forgets, count)) {
    Call::fs(req).forget(Call::inode(req, one.ino), one.nlookup);
  }
  fuse_reply_none(req);
}

void getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info* /*fi*/) {
  Call::guard(req, Request::kGetattr, [&] {
    const Result<Attributes> attributes = Call::fs(req).metadata(Call::inode(req, ino));
    if (!attributes) {
      return attributes.error();
    }
    const struct stat status = Call::to_stat(req, *attributes);
    fuse_reply_attr(req, &status, Call::timeout(req, *attributes));
    return 0;
  });
}

void readlink(fuse_req_t req, fuse_ino_t ino) {
  Call::guard(req, Request::kReadlink, [&] {
    const ReadSection reading;  // the text stays until it is copied
    const std::uint64_t before = lost_pages::events();
    const vfs::Inode inode = Call::any_inode(req, ino);
    const Result<std::string_view> text = Call::fs(req).read_link(inode);
    if (!text) {
      return text.error();
    }
    const std::span<char> buffer = Call::reply_buffer(req, text->size() + 1);  // libfuse needs a NUL behind the text
    text->copy(buffer.data(), text->size());
    buffer[text->size()] = '\0';
    if (lost_pages::check(std::as_bytes(std::span(*text)), before) != lost_pages::Outcome::kRight ||
        !Call::fs(req).is_intact(inode)) {
      return EIO;  // the text lies in the container, and was lost or overwritten
    }
    fuse_reply_readlink(req, buffer.data());
    return 0;
  });
}

void statfs(fuse_req_t req, fuse_ino_t /*ino*/) {
  Call::guard(req, Request::kStatfs, [&] {
    const AdapterOptions& options = Call::options(req);
    const Usage usage = options.usage ? options.usage() : Usage{};
    const struct statvfs status = to_statvfs(usage.bytes, usage.inodes);
    fuse_reply_statfs(req, &status);
    return 0;
  });
}

/// Whether overlayfs or fuse-overlayfs asks for a mark of its own. No package has one.
bool is_of_overlay(std::string_view name) {
  return name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.") ||
         name.starts_with("user.fuseoverlayfs.");
}

void getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) {
  Call::guard(req, Request::kGetxattr, [&] {
    if (Call::options(req).below_overlay && is_of_overlay(name)) {
      return ENOSYS;
    }
    std::string value;
    if (ino == FUSE_ROOT_ID && std::string_view(name) == kStatisticsAttribute) {
      value = Call::options(req).stats ? Call::options(req).stats() : std::string();
      if (size == 0 && !value.empty()) {
        value.append(kStatisticsSlack, ' ');
      }
    } else if (is_origin_attribute(name)) {
      const Result<vfs::Origin> origin = Call::fs(req).origin(Call::any_inode(req, ino));
      if (!origin) {
        return origin.error();
      }
      value = origin_attribute(*origin, name);
    }
    return Call::reply_attribute(req, value, size);
  });
}

/// Only the root has one. isatty(3), which Python calls for every file that it opens, causes such requests.
void ioctl(fuse_req_t req, fuse_ino_t ino, unsigned command, void* /*argument*/, fuse_file_info* /*info*/,
           unsigned /*flags*/, const void* /*in*/, std::size_t /*in_size*/, std::size_t out_size) {
  Call::guard(req, Request::kIoctl, [&] {
    const unsigned piece = _IOC_NR(command);
    if (ino != FUSE_ROOT_ID || piece >= kStatisticsPieces || command != statistics_ioctl(piece) ||
        out_size < kStatisticsPiece || !Call::options(req).stats) {
      return ENOTTY;
    }
    const std::string text = Call::options(req).stats();
    const std::string part = text.substr(std::min(piece * kStatisticsPiece, text.size()), kStatisticsPiece);
    fuse_reply_ioctl(req, static_cast<int>(part.size()), part.data(), part.size());
    return 0;
  });
}

/// The attributes are read by name and never listed: `cp -a`, rsync and overlayfs would copy them.
void listxattr(fuse_req_t req, fuse_ino_t /*ino*/, std::size_t size) {
  const Statistics::Measure measure(Call::statistics(req), Request::kListxattr);
  if (size == 0) {
    fuse_reply_xattr(req, 0);
  } else {
    fuse_reply_buf(req, nullptr, 0);
  }
}

/// Every operation that would change something. The mount is read-only, so that the kernel refuses most of them itself.
template <typename... Args>
void refuse(fuse_req_t req, Args... /*args*/) {
  Statistics::Measure measure(Call::statistics(req), Request::kOther);
  measure.failed(EROFS);
  fuse_reply_err(req, EROFS);
}

}  // namespace

void Adapter::use_journal(LiveJournal& journal, bool is_alone) {
  live_ids_ = std::make_unique<LiveIds>(fs(), journal);
  live_handles_.use(journal);
  use_places(is_alone);
}

void Adapter::use_generations(vfs::Generations& generations) {
  counting_ = &generations;  // first: an inode of a later generation needs it
  fs_ = &generations;
}

void Adapter::use_served(vfs::ServedFileSystem& served) {
  served_ = &served;
  counting_ = &served;
}

void Adapter::use_places(bool use) {
  if (live_ids_ != nullptr) {
    live_ids_->use_places(use);
    live_handles_.use_places(use);
  }
}

void Adapter::drop_pages(std::uint64_t file) {
  if (session_ != nullptr) {
    (void)fuse_lowlevel_notify_inval_inode(session_, file, 0, 0);
  }
}

void Adapter::init(void* user_data, fuse_conn_info* conn) {
  const unsigned wanted = FUSE_CAP_READDIRPLUS | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_PARALLEL_DIROPS |
                          FUSE_CAP_ASYNC_READ | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_IOCTL_DIR | io_uring_capabilities();
  // Without READDIRPLUS_AUTO, with which the kernel would guess when a listing needs attributes: it always gets them.
  conn->want = conn->capable & wanted;
  conn->max_background = kMostInBackground;
  auto& self = *static_cast<Adapter*>(user_data);
  if (const std::uint64_t fingerprint = self.fs().fingerprint(); fingerprint != 0) {
    conn->want |= conn->capable & FUSE_CAP_EXPORT_SUPPORT;
    self.generation_ = static_cast<std::uint32_t>(fingerprint ^ (fingerprint >> 32U)) | 1U;
  }
  const bool may_skip = self.options_.skip_open && self.fs().is_immutable();
  self.skip_open_ = may_skip && (conn->capable & FUSE_CAP_NO_OPEN_SUPPORT) != 0;
  self.skip_opendir_ = may_skip && (conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT) != 0;
  // A kernel that doesn't ask for `open` can't be given a file to read by itself.
  self.passthrough_ = self.options_.passthrough && !self.skip_open_ && self.backing_.ask(*conn);
  self.can_expire_ = fuse::can_expire(*conn);
  // NOLINTNEXTLINE(concurrency-mt-unsafe): no thread changes the environment
  self.can_prune_ = fuse::can_prune(*conn) && std::getenv("PKGFS_TEST_NO_PRUNE") == nullptr;
  self.ready_ = true;
}

const fuse_lowlevel_ops& Adapter::operations() const {
  static const fuse_lowlevel_ops table = [] {
    fuse_lowlevel_ops ops{};
    ops.init = Adapter::init;
    ops.lookup = fuse::lookup;
    ops.forget = fuse::forget;
    ops.forget_multi = fuse::forget_multi;
    ops.getattr = fuse::getattr;
    ops.readlink = fuse::readlink;
    ops.open = FileOperations::open;
    ops.read = FileOperations::read;
    ops.release = FileOperations::release;
    ops.opendir = DirectoryOperations::opendir;
    ops.readdir = DirectoryOperations::readdir;
    ops.readdirplus = DirectoryOperations::readdirplus;
    ops.releasedir = DirectoryOperations::releasedir;
    ops.statfs = fuse::statfs;
    ops.getxattr = fuse::getxattr;
    ops.listxattr = fuse::listxattr;
    ops.ioctl = fuse::ioctl;
    ops.setattr = fuse::refuse;
    ops.mknod = fuse::refuse;
    ops.mkdir = fuse::refuse;
    ops.unlink = fuse::refuse;
    ops.rmdir = fuse::refuse;
    ops.symlink = fuse::refuse;
    ops.rename = fuse::refuse;
    ops.link = fuse::refuse;
    ops.write = fuse::refuse;
    ops.create = fuse::refuse;
    ops.setxattr = fuse::refuse;
    ops.removexattr = fuse::refuse;
    ops.fallocate = fuse::refuse;
    return ops;
  }();
  static const fuse_lowlevel_ops live_table = [] {
    fuse_lowlevel_ops ops = table;
    LiveOperations::put_into(ops);
    return ops;
  }();
  static const fuse_lowlevel_ops served_table = [] {
    fuse_lowlevel_ops ops = table;
    ServedOperations::put_into(ops);
    return ops;
  }();
  if (served_ != nullptr) {
    return served_table;
  }
  return changes_ == nullptr ? table : live_table;
}

}  // namespace pkgfs::fuse
