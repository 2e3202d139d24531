// SPDX-License-Identifier: MIT
#include "fuse/usage.h"

namespace pkgfs::fuse {
namespace {

/// Entries between two looks at the clock.
constexpr std::size_t kBatch = 256;

}  // namespace

Usage UsageCounter::get() {
  if (!done_) {
    const std::unique_lock lock(walk_, std::try_to_lock);
    if (lock.owns_lock() && !done_) {
      if (!begun_) {
        begin();
      }
      const auto deadline = std::chrono::steady_clock::now() + patience_;
      do {
        if (pending_.empty()) {
          done_ = true;
          break;
        }
        read_some();
      } while (std::chrono::steady_clock::now() < deadline);
    }
  }
  return {.bytes = bytes_, .inodes = inodes_};
}

void UsageCounter::begin() {
  begun_ = true;
  const Result<vfs::Attributes> root = fs_.metadata(fs_.root());
  if (root && !root->live) {
    inodes_ = 1;
    pending_.push_back({.inode = fs_.root()});
  }
}

/// Counts the next entries of the directory on top; what can't be read isn't counted. No inode is given back: where
/// nothing is live, they aren't counted.
void UsageCounter::read_some() {
  Place& top = pending_.back();
  batch_.clear();
  const Result<void> listed = fs_.read_dir(top.inode, top.next, [&](const vfs::DirEntry& entry) {
    batch_.push_back(entry);
    return batch_.size() < kBatch;
  });
  if (!listed || batch_.empty()) {
    pending_.pop_back();
    return;
  }
  top.next = batch_.back().next;
  const vfs::Inode directory = top.inode;
  for (const vfs::DirEntry& entry : batch_) {
    vfs::Entry found{.inode = entry.inode, .attributes = entry.attributes};
    if (entry.inode == 0) {
      const Result<vfs::Entry> looked_up = fs_.lookup(directory, entry.name);
      if (!looked_up) {
        continue;
      }
      found = *looked_up;
    }
    ++inodes_;
    if (found.attributes.type == vfs::FileType::kDirectory) {
      pending_.push_back({.inode = found.inode});
    } else {
      bytes_ += found.attributes.size;
    }
  }
}

}  // namespace pkgfs::fuse
