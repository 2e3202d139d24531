// SPDX-License-Identifier: MIT
#include "fuse/served_operations.h"

#include <cerrno>
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

using GetXattr = void (*)(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size);
GetXattr usual_getxattr = nullptr;  // of the table that `put_into` has changed

/// A request that has to wait so often fails: packages are closed as fast as they are opened.
constexpr unsigned kMostRounds = 16;

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
void look_up_again(fuse_req_t req, std::uint64_t number, vfs::Inode dir, const std::string& name, unsigned round) {
  int error = EIO;
  try {
    error = answer_lookup(req, dir, name);
    if (error == kMustWait && round < kMostRounds) {
      Call::waiting_lookups(req).add(req, number, *Call::served(req), dir, name, [req, number, dir, name, round] {
        look_up_again(req, number, dir, name, round + 1);
      });
      return;
    }
    error = error == kMustWait ? EIO : error;
  } catch (const std::bad_alloc&) {
    error = ENOMEM;
  }
  if (error != 0) {
    fuse_reply_err(req, error);
  }
}

void look_up_served(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Call::guard(req, Request::kLookup, [&] {
    const vfs::Inode dir = Call::inode(req, parent);
    const int error = answer_lookup(req, dir, name);
    if (error != kMustWait) {
      return error;
    }
    look_up_again(req, Servers::current_request(), dir, name, 0);
    return 0;
  });
}

using List = bool (*)(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset);

template <List list>
void list_again(fuse_req_t req, std::uint64_t number, fuse_ino_t ino, std::size_t size, off_t offset, unsigned round) {
  if (list(req, ino, size, offset)) {
    return;
  }
  if (round == kMostRounds) {
    fuse_reply_err(req, EIO);
    return;
  }
  try {
    Call::waiting_lookups(req).add(
        req, number, *Call::served(req), Call::inode(req, ino), {},
        [req, number, ino, size, offset, round] { list_again<list>(req, number, ino, size, offset, round + 1); });
  } catch (const std::bad_alloc&) {
    fuse_reply_err(req, ENOMEM);
  }
}

template <List list>
void list_when_open(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* /*info*/) {
  list_again<list>(req, Servers::current_request(), ino, size, offset, 0);
}

void get_served_attribute(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) {
  if (name != kErrorAttribute) {
    usual_getxattr(req, ino, name, size);
    return;
  }
  Call::guard(req, Request::kGetxattr,
              [&] { return Call::reply_attribute(req, Call::served(req)->problem(Call::inode(req, ino)), size); });
}

}  // namespace

void ServedOperations::put_into(fuse_lowlevel_ops& table) {
  usual_getxattr = table.getxattr;
  table.lookup = look_up_served;
  table.readdir = list_when_open<DirectoryOperations::try_readdir>;
  table.readdirplus = list_when_open<DirectoryOperations::try_readdirplus>;
  table.getxattr = get_served_attribute;
}

}  // namespace pkgfs::fuse
