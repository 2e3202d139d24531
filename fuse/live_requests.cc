// SPDX-License-Identifier: MIT
#include "fuse/live_requests.h"

#include <cerrno>
#include <exception>
#include <memory>
#include <utility>

#include "core/vfs/live_changes.h"
#include "fuse/call.h"

namespace pkgfs::fuse {
namespace {

/// How often a look-up is tried again if the file was replaced before it could be opened.
constexpr int kAttempts = 16;

}  // namespace

Result<vfs::Entry> look_up(fuse_req_t req, vfs::Inode dir, const char* name) {
  vfs::FileSystem& tree = Call::fs(req);
  Result<vfs::Entry> found = tree.lookup(dir, name);
  if (!Call::live_files(req).was_refused(caller_of(req))) {
    return found;
  }
  for (int i = 0; i < kAttempts && found && found->attributes.live && found->attributes.type == vfs::FileType::kFile;
       ++i) {
    Result<std::unique_ptr<vfs::OpenFile>> file = tree.open(found->inode);
    if (file) {
      if (const Result<vfs::Attributes> now = (*file)->attributes_at_open(); now) {
        found->attributes = *now;
        Call::changes(req).hold(found->inode);
        Call::pinned_files(req).pin(caller_of(req), found->inode, std::move(*file));
      }
      break;
    }
    if (file.error() != ESTALE) {
      break;  // the open will say so
    }
    tree.forget(found->inode, 1);
    found = tree.lookup(dir, name);
  }
  return found;
}

bool leads_to(vfs::FileSystem& tree, vfs::Inode dir, std::string_view name, vfs::Inode inode) noexcept {
  try {
    const Result<vfs::Entry> now = tree.lookup(dir, name);
    if (now) {
      tree.forget(now->inode, 1);
    }
    return now && now->inode == inode;
  } catch (const std::exception&) {
    return false;  // no memory
  }
}

bool has_old_content(fuse_req_t req, fuse_ino_t ino) {
  LiveIds* const ids = Call::live_ids(req);
  return ids != nullptr && ids->has_old_content(ino);
}

LiveHandle* open_again(fuse_req_t req, fuse_ino_t ino, std::uint64_t number) {
  LiveHandles& handles = Call::live_handles(req);
  if (!handles.was_opened(number, ino)) {
    throw StaleNode{};
  }
  const vfs::Inode inode = Call::any_inode(req, ino);
  Result<std::unique_ptr<vfs::OpenFile>> opened = Call::fs(req).open(inode);
  if (!opened) {
    throw StaleNode{opened.error() == ENOENT || opened.error() == ENOTDIR ? ESTALE : opened.error()};
  }
  auto handle = std::make_unique<LiveHandle>(LiveHandle{.file = *std::move(opened), .inode = inode});
  Call::live_files(req).opened(inode, handle->file);
  LiveHandle* const used = handles.add_again(number, handle);
  if (handle != nullptr) {  // another thread was faster
    Call::live_files(req).closed(inode, *handle->file);
  }
  return used;
}

}  // namespace pkgfs::fuse
