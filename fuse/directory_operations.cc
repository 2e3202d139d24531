// SPDX-License-Identifier: MIT
#include "fuse/directory_operations.h"

#include <array>
#include <span>
#include <vector>

#include "core/vfs/file_system.h"
#include "core/vfs/served_file_system.h"
#include "fuse/call.h"
#include "fuse/content_prefetcher.h"

namespace pkgfs::fuse {
namespace {

using vfs::Attributes;
using vfs::DirEntry;

/// Positions 0 and 1 of a directory are "." and "..".
constexpr off_t kDotEntries = 2;

/// The node ids that the kernel gets references to by one reply, where these are counted (LiveIds, CountingFileSystem).
class Told {
 public:
  Told(LiveIds* ids, vfs::CountingFileSystem* counting)
      : ids_(ids), counting_(counting), nodes_(is_used() ? &room() : nullptr) {}
  /// If the kernel hasn't got the reply, takes the references back.
  ~Told() {
    if (!is_used()) {
      return;
    }
    for (const fuse_ino_t node : *nodes_) {
      if (ids_ != nullptr) {
        ids_->forget(node, 1);
      } else {
        counting_->forget(node, 1);
      }
    }
    nodes_->clear();
  }
  Told(const Told&) = delete;
  Told& operator=(const Told&) = delete;

  /// False: nothing is counted, node ids are inodes, and this does nothing.
  [[nodiscard]] bool is_used() const { return ids_ != nullptr || counting_ != nullptr; }
  fuse_ino_t tell(fuse_ino_t dir, const DirEntry& entry) {
    nodes_->push_back(0);
    if (ids_ == nullptr) {
      counting_->hold(entry.inode);
      return nodes_->back() = entry.inode;
    }
    nodes_->back() = ids_->tell(dir, entry.name, {.inode = entry.inode, .attributes = entry.attributes});
    return nodes_->back();
  }
  void delivered() {
    if (is_used()) {
      nodes_->clear();
    }
  }

 private:
  /// Memory of this thread: it allocates only while that grows.
  static std::vector<fuse_ino_t>& room() {
    thread_local std::vector<fuse_ino_t> nodes;
    return nodes;
  }

  LiveIds* ids_;
  vfs::CountingFileSystem* counting_;
  std::vector<fuse_ino_t>* nodes_;  // null: nothing is counted
};

/// Appends one entry. Returns the size that it needs; nothing was appended if `space` is smaller.
std::size_t add(fuse_req_t req, std::span<char> space, const DirEntry& entry, off_t next, bool plus, fuse_ino_t dir,
                Told& told) {
  // libfuse needs a NUL behind the name, which comes from a mapped file.
  std::array<char, 256> name{};
  entry.name.copy(name.data(), name.size() - 1);
  if (plus) {
    // With inode 0, the kernel takes no attributes. It looks the name up when it needs the mode.
    vfs::Inode node = entry.attributes.may_be_program ? 0 : entry.inode;
    if (told.is_used() && node != 0) {
      const std::size_t needed = fuse_add_direntry_plus(req, nullptr, 0, name.data(), nullptr, next);
      if (needed > space.size()) {
        return needed;
      }
      node = told.tell(dir, entry);
    }
    const fuse_entry_param param = Call::to_entry(req, node, entry.attributes);
    return fuse_add_direntry_plus(req, space.data(), space.size(), name.data(), &param, next);
  }
  const struct stat status = Call::to_stat(req, entry.attributes);
  return fuse_add_direntry(req, space.data(), space.size(), name.data(), &status, next);
}

/// False: no reply, because the directory of a vfs::ServedFileSystem isn't open.
bool list(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, bool plus) {
  bool must_wait = false;
  Call::guard(req, plus ? Request::kReaddirplus : Request::kReaddir, [&] {
    const vfs::Inode dir = Call::any_inode(req, ino);
    vfs::FileSystem& fs = Call::fs(req);  // before `counting`: it may begin to count just now
    Told told(Call::live_ids(req), Call::counting(req));
    const std::span<char> buffer = Call::reply_buffer(req, size);
    const bool from_the_start = offset == 0;
    std::size_t used = 0;
    const auto put = [&](const DirEntry& entry, off_t next) {
      const std::size_t needed = add(req, buffer.subspan(used), entry, next, plus, ino, told);
      if (needed > buffer.size() - used) {
        return false;
      }
      used += needed;
      return true;
    };
    // With inode 0, as here, the kernel takes no reference.
    DirEntry dot{.name = ".", .attributes = {.type = vfs::FileType::kDirectory}};
    if (offset == 0) {
      const Result<Attributes> self = fs.metadata(dir);
      dot.attributes.number = self ? self->number : 0;
      if (put(dot, 1)) {
        offset = 1;
      }
    }
    if (offset == 1) {
      dot.name = "..";
      dot.attributes.number = fs.parent_number(dir).value_or(0);
      if (put(dot, kDotEntries)) {
        offset = kDotEntries;
      }
    }
    if (offset >= kDotEntries) {
      const auto visit = [&](const DirEntry& entry) {
        return put(entry, static_cast<off_t>(entry.next) + kDotEntries);
      };
      const Result<void> listed = fs.read_dir(dir, static_cast<std::uint64_t>(offset - kDotEntries), visit);
      if (!listed) {
        must_wait = listed.error() == vfs::ServedFileSystem::kMustWait;
        return must_wait ? 0 : listed.error();
      }
    }
    // The request is gone after the reply.
    ContentPrefetcher* const prefetcher = plus && from_the_start ? Call::options(req).prefetcher : nullptr;
    if (fuse_reply_buf(req, buffer.data(), used) == 0) {
      told.delivered();
    }
    if (prefetcher != nullptr) {
      prefetcher->directory_was_listed(dir);
    }
    return 0;
  });
  return !must_wait;
}

}  // namespace

void DirectoryOperations::opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Call::guard(req, Request::kOpendir, [&] {
    if (Call::skips_opendir(req)) {
      return ENOSYS;
    }
    if (const Result<Attributes> attributes = Call::fs(req).metadata(Call::inode(req, ino)); !attributes) {
      return attributes.error();
    }
    fi->cache_readdir = fi->keep_cache = 1;
    fuse_reply_open(req, fi);
    return 0;
  });
}

void DirectoryOperations::readdir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
                                  fuse_file_info* /*fi*/) {
  (void)list(req, ino, size, offset, false);
}

void DirectoryOperations::readdirplus(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
                                      fuse_file_info* /*fi*/) {
  (void)list(req, ino, size, offset, true);
}

bool DirectoryOperations::try_readdir(fuse_req_t req, std::uint64_t ino, std::size_t size, off_t offset) {
  return list(req, ino, size, offset, false);
}

bool DirectoryOperations::try_readdirplus(fuse_req_t req, std::uint64_t ino, std::size_t size, off_t offset) {
  return list(req, ino, size, offset, true);
}

void DirectoryOperations::releasedir(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* /*fi*/) {
  const Statistics::Measure measure(Call::statistics(req), Request::kReleasedir);
  fuse_reply_err(req, 0);
}

}  // namespace pkgfs::fuse
