// SPDX-License-Identifier: MIT
#include "fuse/content_pusher.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>

#include "core/base/log.h"
#include "fuse/memory_pressure.h"

namespace pkgfs::fuse {
namespace {

constexpr std::uint64_t kMostOfFile = 64U << 10U;
constexpr std::uint64_t kFirstWindow = 128U << 10U;
constexpr std::uint64_t kMostWindow = 1U << 20U;
/// Files that a reader may pass over and still be reading on.
constexpr std::uint64_t kGap = 4;
/// Jumps after which a directory counts as read at random.
constexpr unsigned kJumps = 3;
/// Listed directories that are brought at most before one of them must be seen to be read.
constexpr int kMostCredit = 16;
/// Files that are asked for although they were brought: more of them, and the kernel has dropped the others, too.
constexpr unsigned kRaces = 8;
/// Directories whose reading is remembered; more than anybody reads at a time.
constexpr std::size_t kRegions = 4096;
constexpr std::uint64_t kCheckEvery = 4U << 20U;
constexpr auto kPause = std::chrono::seconds(1);
/// The kernel knows the entries of a listing only once its reader has taken it.
constexpr auto kListingStep = std::chrono::microseconds(20);
constexpr int kListingSteps = 10;

// An event is an inode (below 2^62) and what happened to it.
constexpr std::uint64_t kListed = 1;
constexpr std::uint64_t kEventBits = 1;

}  // namespace

ContentPusher::~ContentPusher() {
  if (!stop(std::chrono::seconds(5))) {
    std::_Exit(EXIT_FAILURE);  // it uses this object
  }
}

void ContentPusher::start(fuse_session* session) {
  session_ = session;
  buffer_.resize(kMostOfFile);
  thread_ = std::thread([this] { work(); });
}

bool ContentPusher::stop(std::chrono::milliseconds limit) {
  if (!thread_.joinable()) {
    return true;
  }
  stopping_ = true;
  post(0);
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!ended_) {
    if (std::chrono::steady_clock::now() >= deadline) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  thread_.join();
  return true;
}

void ContentPusher::file_was_read(vfs::Inode file, std::uint64_t size) {
  if (size <= kMostOfFile) {
    post(file << kEventBits);
  }
}

void ContentPusher::directory_was_listed(vfs::Inode directory) {
  if (credit_.load(std::memory_order_relaxed) > 0) {
    post((directory << kEventBits) | kListed);
  }
}

void ContentPusher::post(std::uint64_t event) {
  // When there are too many, the oldest is overwritten: it was a hint.
  const std::uint32_t at = claimed_.fetch_add(1, std::memory_order_relaxed);
  events_.at(at % kEvents).store(event, std::memory_order_relaxed);
  head_.fetch_add(1, std::memory_order_release);
  head_.notify_one();
}

void ContentPusher::work() {
  ::prctl(PR_SET_TIMERSLACK, 1000UL);  // NOLINT(cppcoreguidelines-pro-type-vararg): its interface; for kListingStep
  std::uint32_t tail = 0;
  while (!stopping_) {
    const std::uint32_t head = head_.load(std::memory_order_acquire);
    if (tail == head) {
      head_.wait(head);
      continue;
    }
    tail = head - tail > kEvents ? head - kEvents : tail;
    const std::uint64_t event = events_.at(tail % kEvents).exchange(0, std::memory_order_relaxed);
    ++tail;
    if (event == 0 || std::chrono::steady_clock::now() < pause_until_) {
      continue;
    }
    const vfs::Inode inode = event >> kEventBits;
    if ((event & kListed) != 0) {
      handle_listing(inode);
    } else {
      handle_read(inode);
    }
  }
  ended_ = true;
}

void ContentPusher::handle_read(vfs::Inode file) {
  const Result<vfs::Place> place = fs_.place(file);
  if (!place) {
    return;
  }
  if (regions_.size() >= kRegions) {
    regions_.clear();
  }
  const auto [found, is_new] = regions_.try_emplace(place->directory);
  Region& region = found->second;
  const std::uint64_t at = place->next;
  if (is_new) {
    gain_ = std::min(2 * gain_, kMostCredit);
    credit_.store(gain_, std::memory_order_relaxed);
    region.window = kFirstWindow;
  } else if (at > region.begin && at <= region.end && ++region.inside < kRaces) {
    region.last = at;
    return;  // asked for while it was on its way
  } else if (at > region.end && at <= region.end + kGap && region.window > 0) {
    region.window = std::min(2 * region.window, kMostWindow);
  } else if (++region.jumps > kJumps) {
    const bool goes_on = at > region.last && at <= region.last + kGap;
    region.window = goes_on ? kFirstWindow : 0;
  } else {
    region.window = kFirstWindow;
  }
  region.last = at;
  region.inside = 0;
  if (region.window > 0) {
    region.begin = at - 1;
    region.end = push(place->directory, at, region.window, false);
  }
}

void ContentPusher::handle_listing(vfs::Inode directory) {
  if (credit_.load(std::memory_order_relaxed) <= 0 || regions_.contains(directory)) {
    return;
  }
  credit_.fetch_sub(1, std::memory_order_relaxed);
  const std::uint64_t end = push(directory, 0, kFirstWindow, true);
  Region& region = regions_[directory];
  region.end = end;
  region.window = kFirstWindow;
}

std::uint64_t ContentPusher::push(vfs::Inode directory, std::uint64_t from, std::uint64_t window, bool just_listed) {
  std::uint64_t position = from;
  int patience = just_listed ? kListingSteps : 0;
  std::uint64_t used = 0;
  const auto visit = [&](const vfs::DirEntry& entry) {
    const bool fits = entry.attributes.type == vfs::FileType::kFile && entry.inode != 0 && entry.attributes.size > 0 &&
                      entry.attributes.size <= kMostOfFile;
    if (fits) {
      if (used + entry.attributes.size > window || stopping_ || memory_is_short()) {
        return false;
      }
      int error = push_file(entry);
      for (; error == ENOENT && patience > 0 && !stopping_; --patience) {
        std::this_thread::sleep_for(kListingStep);
        error = push_file(entry);
      }
      if (error != 0) {
        return false;  // the kernel doesn't know these files, or has no memory
      }
      patience = 0;
      used += entry.attributes.size;
    }
    position = entry.next;
    return true;
  };
  (void)fs_.read_dir(directory, from, visit);
  return position;
}

int ContentPusher::push_file(const vfs::DirEntry& entry) {
  const Result<vfs::Extent> extent = fs_.extent(entry.inode);
  if (!extent) {
    return extent.error();
  }
  const auto bytes = std::span(buffer_).first(static_cast<std::size_t>(extent->length));
  if (const Result<void> read = extent->source->read(extent->offset, bytes); !read) {
    return read.error();  // whoever reads the file is told
  }
  fuse_bufvec content = FUSE_BUFVEC_INIT(bytes.size());
  content.buf[0].mem = bytes.data();
  const int result = fuse_lowlevel_notify_store(session_, entry.inode, 0, &content, fuse_buf_copy_flags{});
  if (result == 0) {
    statistics_.add_pushed(bytes.size());
    since_check_ += bytes.size();
  }
  return -result;
}

bool ContentPusher::memory_is_short() {
  if (since_check_ < kCheckEvery) {
    return false;
  }
  since_check_ = 0;
  if (!is_memory_short()) {
    return false;
  }
  log::debug("memory is short: no files are read ahead for a while");
  pause_until_ = std::chrono::steady_clock::now() + kPause;
  since_check_ = kCheckEvery;
  return true;
}

}  // namespace pkgfs::fuse
