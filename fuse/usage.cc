// SPDX-License-Identifier: MIT
#include "fuse/usage.h"

namespace pkgfs::fuse {
namespace {

/// Entries between two looks at the clock.
constexpr std::size_t kWalkBatch = 256;

}  // namespace

Usage UsageCounter::get() {
  if (!done_ && mutex_.try_lock()) {
    const MutexLock lock(mutex_, std::adopt_lock);
    if (!begun_) {
      begin();
    }
    const auto deadline = std::chrono::steady_clock::now() + patience_;
    while (!done_) {
      done_ = !count_some();
      if (std::chrono::steady_clock::now() >= deadline) {
        break;
      }
    }
  }
  return {.bytes = bytes_, .inodes = inodes_};
}

void UsageCounter::begin() {
  begun_ = true;
  const Result<vfs::Attributes> root = fs_.metadata(fs_.root());
  if (root && !root->live) {
    inodes_ = 1;
    walk_.emplace(fs_, fs_.root(), vfs::WalkOptions{.batch = kWalkBatch});
  }
}

bool UsageCounter::count_some() {
  for (std::size_t i = 0; i < kWalkBatch; ++i) {
    if (!walk_ || !walk_->next()) {
      walk_.reset();
      return false;
    }
    const vfs::WalkStep& step = walk_->step();
    if (step.leaving || step.inode == 0) {
      continue;
    }
    ++inodes_;
    if (step.attributes.type != vfs::FileType::kDirectory) {
      bytes_ += step.attributes.size;
    }
  }
  return true;
}

}  // namespace pkgfs::fuse
