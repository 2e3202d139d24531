// SPDX-License-Identifier: MIT
#include "core/lazy/access_recorder.h"

#include <algorithm>
#include <new>
#include <utility>

namespace pkgfs {
namespace {

constexpr std::uint64_t kBits = 64;

void add_block(AccessProfile::Ranges& ranges, std::uint64_t block) {
  if (!ranges.empty() && ranges.back().end() == block) {
    ++ranges.back().count;
  } else {
    ranges.push_back({block, 1});
  }
}

}  // namespace

AccessRecorder::AccessRecorder(std::uint64_t size, AccessProfile before)
    : blocks_(SparseFile::blocks_of(0, size).count),
      before_([&] {
        before.size = size;
        return std::move(before);
      }()),
      noted_(new std::atomic<std::uint64_t>[blocks_ / kBits + 1]()) {}

void AccessRecorder::note_new(BlockRange needed) try {
  const MutexLock lock(mutex_);
  Ranges& ranges = is_reading_ ? read_ : opening_;
  const std::uint64_t end = std::min(needed.end(), blocks_);
  for (std::uint64_t block = needed.first; block < end; ++block) {
    if (is_noted(block)) {
      continue;
    }
    if (count_ == AccessProfile::kMostBlocks) {
      is_full_.store(true, std::memory_order_relaxed);
      return;
    }
    add_block(ranges, block);
    ++count_;
    noted_[block / kBits].fetch_or(std::uint64_t{1} << (block % kBits), std::memory_order_relaxed);
    if (is_reading_ && !changed_) {
      changed_ = Clock::now();
    }
  }
} catch (const std::bad_alloc&) {
  is_full_.store(true, std::memory_order_relaxed);  // a read doesn't fail because of its record
}

void AccessRecorder::begin_reading() {
  const MutexLock lock(mutex_);
  if (!std::exchange(is_reading_, true)) {
    count_ = 0;
    is_full_.store(false, std::memory_order_relaxed);
  }
}

std::optional<AccessProfile> AccessRecorder::take_changed() {
  const MutexLock lock(mutex_);
  if (!changed_) {
    return std::nullopt;
  }
  changed_.reset();
  AccessProfile profile{.size = before_.size, .opening = opening_, .mounts = {}};
  profile.mounts.front() = read_;
  std::uint64_t left = AccessProfile::kMostBlocks - count_;
  for (std::size_t age = 1; age < AccessProfile::kMounts; ++age) {
    Ranges& kept = profile.mounts.at(age);
    for (const BlockRange& range : before_.mounts.at(age - 1)) {
      for (std::uint64_t block = range.first; block < range.end() && left > 0; ++block) {
        if (!is_noted(block)) {
          add_block(kept, block);
          --left;
        }
      }
    }
  }
  return profile;
}

std::optional<AccessRecorder::Clock::time_point> AccessRecorder::due() const {
  const MutexLock lock(mutex_);
  return changed_ ? std::optional(*changed_ + kSaveAfter) : std::nullopt;
}

}  // namespace pkgfs
