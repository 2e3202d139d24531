// SPDX-License-Identifier: MIT
#include "fuse/live_operations.h"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/vfs/live_changes.h"
#include "fuse/call.h"
#include "fuse/directory_operations.h"
#include "fuse/live_files.h"
#include "fuse/live_handles.h"
#include "fuse/live_ids.h"
#include "fuse/live_requests.h"
#include "fuse/pinned_files.h"

namespace pkgfs::fuse {
namespace {

using vfs::Attributes;
using vfs::LiveChanges;
using vfs::Trust;

/// How long the kernel keeps what it is told anew if it changes. A bound, because some changes are never reported, such
/// as a file system that is mounted inside the directory.
constexpr double kUntilTold = 60;

double seconds(fuse_req_t req, Trust trust) {
  const double allowed = Call::options(req).live_timeout;
  switch (trust) {
    case Trust::kNone:
      return 0;
    case Trust::kShort:
      return allowed;
    case Trust::kWatched:
      return allowed > 0 ? std::max(allowed, kUntilTold) : 0;
  }
  return 0;
}

/// For how long the kernel may keep that there is no entry. If another daemon goes on with the mount, it doesn't know
/// of these names, and so can't tell the kernel that the host has one since.
Trust limited(fuse_req_t req, Trust trust) {
  return Call::live_ids(req) == nullptr ? trust : std::min(trust, Trust::kShort);
}

bool may_refuse(fuse_req_t req) { return Call::live_files(req).may_refuse(caller_of(req)); }

void answered(fuse_req_t req) { Call::live_files(req).answered(caller_of(req)); }

/// Makes the kernel look the path up anew. Not an error that a program sees, so it isn't counted as one.
int look_up_again(fuse_req_t req) {
  fuse_reply_err(req, ESTALE);
  return 0;
}

void reply_absent(fuse_req_t req, vfs::Inode dir, const std::string& name, LiveChanges::ChangeCount before) {
  fuse_entry_param param{};  // inode 0: the kernel may keep that there is no such entry
  LiveChanges& changes = Call::changes(req);
  if (const Result<Attributes> where = Call::fs(req).metadata(dir); where) {
    param.entry_timeout =
        where->live ? seconds(req, limited(req, changes.told_absent(dir, *where, name))) : Call::timeout(req, *where);
  }
  fuse_reply_entry(req, &param);
  changes.replied(before, dir, name, 0);
}

void reply_attributes(fuse_req_t req, vfs::Inode inode, const Attributes& attributes, LiveChanges::ChangeCount before) {
  LiveChanges& changes = Call::changes(req);
  const struct stat status = Call::to_stat(req, attributes);
  const double timeout =
      attributes.live ? seconds(req, changes.told_attributes(inode, attributes)) : Call::timeout(req, attributes);
  fuse_reply_attr(req, &status, timeout);
  changes.replied(before, 0, {}, inode);
}

void forget_one(fuse_req_t req, fuse_ino_t ino, std::uint64_t count) {
  if (LiveIds* const ids = Call::live_ids(req); ids != nullptr) {
    ids->forget(ino, count);
  } else {
    Call::fs(req).forget(Call::inode(req, ino), count);
  }
}

/// Answers a listing by `reply`, and finds the changes that came meanwhile.
template <typename Reply>
void list(fuse_req_t req, fuse_ino_t ino, Request kind, const Reply& reply) {
  LiveChanges& changes = Call::changes(req);  // the request is gone after the reply
  vfs::Inode inode = 0;
  std::optional<LiveChanges::ChangeCount> before;
  try {
    inode = Call::any_inode(req, ino);
    before = changes.begin_listing(inode);
  } catch (const StaleNode& stale) {
    Call::guard(req, kind, [&stale] { return stale.error; });
    return;
  } catch (const std::bad_alloc&) {
    Call::guard(req, kind, [] { return ENOMEM; });
    return;
  }
  reply();
  changes.listed(*before, inode);
}

}  // namespace

void LiveOperations::put_into(fuse_lowlevel_ops& table) {
  table.lookup = lookup;
  table.forget = forget;
  table.forget_multi = forget_multi;
  table.getattr = getattr;
  table.open = open;
  table.read = read;
  table.release = release;
  table.opendir = opendir;
  table.readdir = readdir;
  table.readdirplus = readdirplus;
}

void LiveOperations::lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Call::guard(req, Request::kLookup, [&] {
    const vfs::Inode dir = Call::any_inode(req, parent);
    LiveChanges& changes = Call::changes(req);
    vfs::FileSystem& tree = Call::fs(req);  // the request is gone after the reply
    const LiveChanges::ChangeCount before = changes.begin(dir);
    const Result<vfs::Entry> found = look_up(req, dir, name);
    if (!found) {
      if (found.error() != ENOENT) {
        return found.error();
      }
      reply_absent(req, dir, name, before);
      return 0;
    }
    LiveIds* const ids = Call::live_ids(req);
    const std::uint64_t node = ids == nullptr ? found->inode : ids->tell(parent, name, *found);
    fuse_entry_param param = Call::to_entry(req, node, found->attributes);
    const bool live = found->attributes.live;
    if (live) {
      const LiveChanges::EntryTrust trust = changes.told_entry(dir, *found);
      param.entry_timeout = seconds(req, trust.entry);
      param.attr_timeout = seconds(req, trust.attributes);
    }
    // The reply may overwrite the name.
    const bool is_link = found->attributes.type == vfs::FileType::kSymlink;
    const bool may_be_replaced = live && changes.tree_is_replaceable();
    const std::string kept = is_link || may_be_replaced ? name : "";
    if (may_be_replaced) {
      changes.hold(dir);  // the kernel may forget it when it has the reply
    }
    if (fuse_reply_entry(req, &param) != 0) {  // the look-up was interrupted: the kernel took no reference
      ids == nullptr ? tree.forget(found->inode, 1) : ids->forget(node, 1);
    }
    if (live) {
      const bool leads_elsewhere =
          may_be_replaced && changes.tree_was_replaced_since(before) && !leads_to(tree, dir, kept, found->inode);
      changes.replied(before, dir, is_link || leads_elsewhere ? kept : std::string_view(), found->inode);
    }
    if (may_be_replaced) {
      tree.forget(dir, 1);
    }
    return 0;
  });
}

void LiveOperations::forget(fuse_req_t req, fuse_ino_t ino, std::uint64_t count) {
  const Statistics::Measure measure(Call::statistics(req), Request::kForget);
  forget_one(req, ino, count);
  fuse_reply_none(req);
}

void LiveOperations::forget_multi(fuse_req_t req, std::size_t count, fuse_forget_data* forgets) {
  const Statistics::Measure measure(Call::statistics(req), Request::kForget);
  for (const fuse_forget_data& one : std::span(forgets, count)) {
    forget_one(req, one.ino, one.nlookup);
  }
  fuse_reply_none(req);
}

void LiveOperations::getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info* /*fi*/) {
  Call::guard(req, Request::kGetattr, [&] {
    const vfs::Inode inode = Call::any_inode(req, ino);
    LiveChanges& changes = Call::changes(req);
    const LiveChanges::ChangeCount before = changes.begin();
    const Result<Attributes> now = Call::fs(req).metadata(inode);
    if (now && (!now->live || !changes.was_replaced(inode, *now))) {
      reply_attributes(req, inode, *now, before);
      return 0;
    }
    // Another file, or none, has the name now. The inode stays what it is as long as a program has it open, or is about
    // to open it.
    std::shared_ptr<vfs::OpenFile> file = Call::live_files(req).find(inode);
    if (file == nullptr) {
      file = Call::pinned_files(req).find(caller_of(req), inode);
    }
    if (file != nullptr) {
      const Result<Attributes> open = file->attributes();
      if (!open) {
        return open.error();
      }
      const struct stat status = Call::to_stat(req, *open);
      fuse_reply_attr(req, &status, 0);
      return 0;
    }
    if (!now && now.error() != ESTALE) {
      return now.error();
    }
    if (now && now->type != vfs::FileType::kFile && changes.is_of_type(inode, now->type)) {
      // The kernel looks a path up anew only once. So a link that is replaced all the time is answered. That isn't
      // noted as told.
      const struct stat status = Call::to_stat(req, *now);
      fuse_reply_attr(req, &status, 0);
      return 0;
    }
    Call::live_files(req).refused(caller_of(req));
    return look_up_again(req);
  });
}

void LiveOperations::open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Call::guard(req, Request::kOpen, [&] {
    if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC) != 0) {
      return EROFS;
    }
    const vfs::Inode inode = Call::any_inode(req, ino);
    LiveChanges& changes = Call::changes(req);
    const LiveChanges::ChangeCount before = changes.begin();
    LiveFiles& files = Call::live_files(req);
    std::shared_ptr<vfs::OpenFile> file = Call::pinned_files(req).take(caller_of(req), inode);
    bool is_second = file != nullptr;  // the kernel has looked the path up anew
    const bool keeps = !is_second && Call::options(req).live_timeout > 0;
    bool is_kept = false;
    if (keeps) {
      file = changes.kept_file(inode, before);
      is_kept = file != nullptr;
    }
    if (file == nullptr) {
      const bool is_watched = keeps && changes.is_path_watched(inode);
      Result<std::unique_ptr<vfs::OpenFile>> opened = Call::fs(req).open(inode);
      if (opened) {
        file = std::move(*opened);
        if (is_watched) {
          changes.keep_file(inode, before, file, files.count());
        }
      } else if (may_refuse(req)) {
        return look_up_again(req);  // it may be another file or a directory now
      } else if (caller_of(req) != 0) {
        file = files.find(inode);  // opened through another descriptor of it (/proc/self/fd)
        is_second = true;
      }
      if (file == nullptr) {
        return opened.error();
      }
    }
    const Result<Attributes> now = is_kept ? file->attributes() : file->attributes_at_open();
    fi->keep_cache = 1;  // what isn't live never changes
    if (now) {
      const bool as_told = changes.is_as_told(inode, *now);
      if (!as_told && !is_second && may_refuse(req)) {
        return look_up_again(req);
      }
      const bool is_old = has_old_content(req, ino);
      fi->keep_cache = changes.may_keep(inode, *now) && as_told && !is_old ? 1 : 0;
      if (!as_told && Call::session(req) != nullptr) {
        // The file changes faster than paths are looked up. The kernel asks for the size before it reads; with a
        // negative offset it takes no lock that this request may hold.
        (void)fuse_lowlevel_notify_inval_inode(Call::session(req), ino, -1, 0);
      }
    } else if (now.error() != ENOTSUP) {
      return now.error();
    }
    answered(req);
    fi->noflush = 1;
    Call::pinned_files(req).end_old();
    auto handle = std::make_unique<LiveHandle>(LiveHandle{.file = std::move(file), .inode = inode});
    Passthrough& backing = Call::backing(req);  // the request is gone after the reply
    LiveHandles& handles = Call::live_handles(req);
    const std::shared_ptr<vfs::OpenFile> opened = handle->file;
    LiveHandle* const raw = handle.get();
    files.opened(inode, opened);
    try {
      raw->counted = Call::passes_through(req) && now && backing.opened(req, ino, opened->descriptor(), *fi);
      fi->fh = handles.add(handle, ino);
    } catch (const std::bad_alloc&) {
      if (raw->counted) {
        backing.open_not_delivered(ino);
      }
      files.closed(inode, *opened);
      throw;
    }
    const std::uint64_t number = fi->fh;
    if (fuse_reply_open(req, fi) != 0) {
      if (raw->counted) {
        backing.open_not_delivered(ino);
      }
      files.closed(inode, *opened);
      (void)handles.take(number);
    }
    return 0;
  });
}

void LiveOperations::read(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* fi) {
  Call::guard(req, Request::kRead, [&](Statistics::Measure& measure) {
    const std::span<char> buffer = Call::reply_buffer(req, size);
    const LiveHandle* handle = Call::live_handles(req).find(fi->fh);
    if (handle == nullptr) {
      handle = open_again(req, ino, fi->fh);
    }
    Call::changes(req).reading(handle->inode);
    const Result<std::size_t> count =
        handle->file->read(static_cast<std::uint64_t>(offset), std::as_writable_bytes(buffer));
    if (!count) {
      return count.error();
    }
    measure.bytes_read(*count);
    fuse_reply_buf(req, buffer.data(), *count);
    return 0;
  });
}

void LiveOperations::release(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  const Statistics::Measure measure(Call::statistics(req), Request::kRelease);
  const std::unique_ptr<LiveHandle> handle = Call::live_handles(req).take(fi->fh);
  if (handle != nullptr) {  // else an earlier daemon had opened it, and it wasn't read since
    Call::live_files(req).closed(handle->inode, *handle->file);
  }
  Call::pinned_files(req).end_old();
  if (handle != nullptr && handle->counted) {
    Call::backing(req).closed(req, ino);
  }
  fuse_reply_err(req, 0);
}

void LiveOperations::opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Call::guard(req, Request::kOpendir, [&] {
    const vfs::Inode inode = Call::any_inode(req, ino);
    LiveChanges& changes = Call::changes(req);
    (void)changes.begin(inode);
    const Result<Attributes> now = Call::fs(req).metadata(inode);
    const bool as_told = now && (!now->live || changes.is_as_told(inode, *now));
    if (!as_told && may_refuse(req)) {
      return look_up_again(req);
    }
    if (!now || now->type != vfs::FileType::kDirectory) {
      return now ? ENOTDIR : now.error();
    }
    answered(req);
    fi->cache_readdir = fi->keep_cache = 1;
    if (now->live) {
      fi->cache_readdir = changes.is_watched(inode) ? 1 : 0;
      const bool is_old = has_old_content(req, ino);
      fi->keep_cache = changes.may_keep(inode, *now) && as_told && !is_old ? 1 : 0;
    }
    fuse_reply_open(req, fi);
    return 0;
  });
}

void LiveOperations::readdir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* fi) {
  list(req, ino, Request::kReaddir, [&] { DirectoryOperations::readdir(req, ino, size, offset, fi); });
}

void LiveOperations::readdirplus(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* fi) {
  list(req, ino, Request::kReaddirplus, [&] { DirectoryOperations::readdirplus(req, ino, size, offset, fi); });
}

}  // namespace pkgfs::fuse
