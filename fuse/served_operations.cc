// SPDX-License-Identifier: MIT
#include "fuse/served_operations.h"

#include <cerrno>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "core/vfs/served_file_system.h"
#include "fuse/call.h"
#include "fuse/directory_operations.h"
#include "fuse/servers.h"
#include "fuse/waiting_lookups.h"

namespace pkgfs::fuse {
namespace {

constexpr int kMustWait = vfs::ServedFileSystem::kMustWait;
constexpr std::string_view kErrorAttribute = "user.pkgfs.error";

fuse_lowlevel_ops usual{};  // the table that `put_into` has changed

/// A request that has to wait so often fails: packages are closed as fast as they are opened.
constexpr unsigned kMostRounds = 16;

/// A request that another thread answers later.
struct Later {
  fuse_req_t req;
  std::uint64_t number;                      // that the kernel gave it
  std::shared_ptr<RequestStore::Kept> kept;  // until it is answered
  unsigned rounds = 0;

  /// Only in a server thread. Throws std::bad_alloc.
  static Later of(fuse_req_t req) {
    return {.req = req,
            .number = Servers::current_request(),
            .kept = std::make_shared<RequestStore::Kept>(Servers::keep_request())};
  }
  /// Calls `answer` once `name` in `dir`, or the tree of `dir`, is there. False: it has waited too often.
  [[nodiscard]] bool wait(vfs::Inode dir, const std::string& name, const std::function<void(const Later&)>& answer) {
    if (rounds++ == kMostRounds) {
      return false;
    }
    Call::waiting_lookups(req).add(req, number, *Call::served(req), dir, name,
                                   [later = *this, answer] { answer(later); });
    return true;
  }
};

/// Replies to a look-up, and returns 0; or returns the errno of the reply, or kMustWait.
int answer_lookup(fuse_req_t req, vfs::Inode dir, std::string_view name) {
  vfs::ServedFileSystem& fs = *Call::served(req);  // the request is gone after the reply
  const Result<vfs::Entry> found = fs.lookup(dir, name);
  if (!found && found.error() != ENOENT) {
    return found.error();
  }
  fuse_entry_param param{};  // inode 0: the kernel may keep that there is no such entry
  if (found) {
    param = Call::to_entry(req, found->inode, found->attributes);
  } else {
    const Result<vfs::Attributes> where = fs.metadata(dir);
    param.entry_timeout = where ? Call::timeout(req, *where) : 0.0;
  }
  if (fuse_reply_entry(req, &param) != 0 && found) {
    fs.forget(found->inode, 1);  // the look-up was interrupted: the kernel took no reference
  }
  return 0;
}

/// Answers a look-up in a thread that isn't a server thread.
void look_up_again(Later later, vfs::Inode dir, const std::string& name) {
  int error = EIO;
  try {
    error = answer_lookup(later.req, dir, name);
    if (error == kMustWait &&
        later.wait(dir, name, [dir, name](const Later& next) { look_up_again(next, dir, name); })) {
      return;
    }
    error = error == kMustWait ? EIO : error;
  } catch (const std::bad_alloc&) {
    error = ENOMEM;
  }
  if (error != 0) {
    fuse_reply_err(later.req, error);
  }
}

/// Puts off a request for something in a tree that a daemon before had open, until the tree is open again. Then a
/// server thread begins with it anew. The thread that has opened the tree doesn't answer it: other searches need that
/// thread, and a read may wait for a disk. And if the request crashes the daemon, its server thread can be named.
/// Returns true if there was a reply, or will be one. `obstacle`: of the file system.
bool put_off(fuse_req_t req, vfs::Inode inode, int obstacle) {
  int error = obstacle;
  if (obstacle == kMustWait) {
    try {
      std::function<void()> begin_anew = Servers::put_aside();
      if (begin_anew) {
        Call::waiting_lookups(req).add(req, Servers::current_request(), *Call::served(req), inode, {},
                                       [req, begin_anew = std::move(begin_anew)] {
                                         fuse_reply_none(req);
                                         begin_anew();
                                       });
        return true;
      }
      error = EIO;
    } catch (const std::bad_alloc&) {
      error = ENOMEM;
    }
  }
  fuse_reply_err(req, error);
  return true;
}

/// Whether a request for `ino` was put off, or failed: its tree isn't open.
bool must_wait(fuse_req_t req, fuse_ino_t ino) {
  const vfs::Inode inode = Call::inode(req, ino);
  const int obstacle = Call::served(req)->obstacle(inode);
  return obstacle != 0 && put_off(req, inode, obstacle);
}

/// The same for what is in `ino`, which may be the root of the tree.
bool must_wait_below(fuse_req_t req, fuse_ino_t ino) {
  const vfs::Inode inode = Call::inode(req, ino);
  const int obstacle = Call::served(req)->obstacle_below(inode);
  return obstacle != 0 && put_off(req, inode, obstacle);
}

void look_up_served(fuse_req_t req, fuse_ino_t parent, const char* name) {
  if (must_wait_below(req, parent)) {
    return;
  }
  Call::guard(req, Request::kLookup, [&] {
    const vfs::Inode dir = Call::inode(req, parent);
    const int error = answer_lookup(req, dir, name);
    if (error != kMustWait) {
      return error;
    }
    look_up_again(Later::of(req), dir, name);
    return 0;
  });
}

using List = bool (*)(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset);

template <List list>
void list_later(Later later, fuse_ino_t ino, std::size_t size, off_t offset) {
  const auto again = [ino, size, offset](const Later& next) {
    if (!list(next.req, ino, size, offset)) {
      list_later<list>(next, ino, size, offset);
    }
  };
  try {
    if (!later.wait(Call::inode(later.req, ino), {}, again)) {
      fuse_reply_err(later.req, EIO);
    }
  } catch (const std::bad_alloc&) {
    fuse_reply_err(later.req, ENOMEM);
  }
}

template <List list>
void list_when_open(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* /*info*/) {
  if (must_wait_below(req, ino) || list(req, ino, size, offset)) {
    return;
  }
  try {
    list_later<list>(Later::of(req), ino, size, offset);
  } catch (const std::bad_alloc&) {
    fuse_reply_err(req, ENOMEM);
  }
}

void getattr_served(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  if (!must_wait(req, ino)) {
    usual.getattr(req, ino, info);
  }
}

void readlink_served(fuse_req_t req, fuse_ino_t ino) {
  if (!must_wait(req, ino)) {
    usual.readlink(req, ino);
  }
}

void open_served(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  if (!must_wait(req, ino)) {
    usual.open(req, ino, info);
  }
}

void opendir_served(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  if (!must_wait(req, ino)) {
    usual.opendir(req, ino, info);
  }
}

void read_served(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* info) {
  if (!must_wait(req, ino)) {
    usual.read(req, ino, size, offset, info);
  }
}

void getxattr_served(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) {
  if (name == kErrorAttribute) {
    Call::guard(req, Request::kGetxattr,
                [&] { return Call::reply_attribute(req, Call::served(req)->problem(Call::inode(req, ino)), size); });
    return;
  }
  if (!must_wait(req, ino)) {
    usual.getxattr(req, ino, name, size);
  }
}

}  // namespace

void ServedOperations::put_into(fuse_lowlevel_ops& table) {
  usual = table;
  table.lookup = look_up_served;
  table.getattr = getattr_served;
  table.readlink = readlink_served;
  table.open = open_served;
  table.opendir = opendir_served;
  table.read = read_served;
  table.readdir = list_when_open<DirectoryOperations::try_readdir>;
  table.readdirplus = list_when_open<DirectoryOperations::try_readdirplus>;
  table.getxattr = getxattr_served;
}

}  // namespace pkgfs::fuse
