// SPDX-License-Identifier: MIT
#include "fuse/content_pusher.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

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
/// Directories that are brought before the next one is read.
constexpr unsigned kMostAhead = 16;
/// A walk that comes back from deeper than this isn't foreseen.
constexpr int kMostLevels = 16;
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
  busy_ = true;
  head_.fetch_add(1);
  head_.notify_one();
}

void ContentPusher::work() {
  ::prctl(PR_SET_TIMERSLACK, 1000UL);  // NOLINT(cppcoreguidelines-pro-type-vararg): its interface; for kListingStep
  std::uint32_t tail = 0;
  while (!stopping_) {
    const std::uint32_t head = head_.load(std::memory_order_acquire);
    if (tail == head) {
      busy_ = false;
      if (head_ == head) {
        head_.wait(head);
      }
      busy_ = true;
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
  unsigned ahead = std::exchange(region.ahead, 0U);
  if (is_new || ahead > 0) {
    gain_ = std::min(2 * gain_, kMostCredit);
    credit_.store(gain_, std::memory_order_relaxed);
  }
  if (is_new) {
    region.window = kFirstWindow;
    ahead = last_directory_ != 0 && next_directory(last_directory_) == place->directory ? 1 : 0;
  } else if (at > region.begin && at <= region.end && (ahead > 0 || ++region.inside < kRaces)) {
    region.last = at;  // asked for while it was on its way, or left out
  } else if (at > region.end && at <= region.end + kGap && region.window > 0) {
    region.window = std::min(2 * region.window, kMostWindow);
  } else if (++region.jumps > kJumps) {
    const bool goes_on = at > region.last && at <= region.last + kGap;
    region.window = goes_on ? kFirstWindow : 0;
  } else {
    region.window = kFirstWindow;
  }
  if (is_new || ahead > 0) {
    last_directory_ = place->directory;
  }
  const bool was_brought = at <= region.end && at > region.begin && region.last == at;
  bool all = was_brought;
  region.last = at;
  if (!was_brought && region.window > 0) {
    region.inside = 0;
    region.begin = at - 1;
    const Pushed pushed = push_files(place->directory, at, region.window, 0, false);
    region.end = pushed.position;
    all = pushed.all;
  }
  if (ahead > 0 && all) {
    push_next_directories(place->directory, std::min(2 * ahead, kMostAhead));
  }
}

void ContentPusher::push_next_directories(vfs::Inode directory, unsigned count) {
  std::uint64_t budget = kMostWindow;
  for (unsigned number = 1; number <= count && !stopping_; ++number) {
    directory = next_directory(directory);
    if (directory == 0 || regions_.contains(directory)) {
      return;
    }
    const bool is_last = number == count;
    const Pushed pushed = push_files(directory, 0, std::min(budget, kFirstWindow), 0, is_last);
    if (pushed.first == 0 && pushed.all) {
      continue;  // no file that could be brought: it costs nothing, but can't tell anything either
    }
    Region region{.end = pushed.position, .window = kFirstWindow};
    if (is_last || !pushed.all) {
      region.ahead = count;
    }
    regions_.emplace(directory, region);
    if (!pushed.all) {
      return;
    }
    budget -= pushed.bytes;
  }
}

vfs::Inode ContentPusher::first_directory(vfs::Inode parent, std::uint64_t from) {
  vfs::Inode found = 0;
  (void)fs_.read_dir(parent, from, [&](const vfs::DirEntry& entry) {
    found = entry.attributes.type == vfs::FileType::kDirectory ? entry.inode : 0;
    return found == 0;
  });
  return found;
}

vfs::Inode ContentPusher::next_directory(vfs::Inode directory) {
  vfs::Inode next = first_directory(directory, 0);
  for (int levels = 0; next == 0 && levels < kMostLevels; ++levels) {
    const Result<vfs::Place> place = fs_.place(directory);
    if (!place) {
      return 0;  // the root
    }
    next = first_directory(place->directory, place->next);
    directory = place->directory;
  }
  return next;
}

void ContentPusher::handle_listing(vfs::Inode directory) {
  if (credit_.load(std::memory_order_relaxed) <= 0 || regions_.contains(directory)) {
    return;
  }
  credit_.fetch_sub(1, std::memory_order_relaxed);
  const Pushed pushed = push_files(directory, 0, kFirstWindow, kListingSteps, false);
  Region& region = regions_[directory];
  region.end = pushed.position;
  region.window = kFirstWindow;
}

ContentPusher::Pushed ContentPusher::push_files(vfs::Inode directory, std::uint64_t from, std::uint64_t window,
                                                int patience, bool without_first) {
  Pushed pushed{.position = from};
  bool stopped = false;
  const auto visit = [&](const vfs::DirEntry& entry) {
    const bool fits = entry.attributes.type == vfs::FileType::kFile && entry.inode != 0 && entry.attributes.size > 0 &&
                      entry.attributes.size <= kMostOfFile;
    const bool is_first = fits && pushed.first == 0;
    if (fits && !(is_first && without_first)) {
      stopped = pushed.bytes + entry.attributes.size > window || stopping_ || memory_is_short();
      if (stopped) {
        return false;
      }
      int error = push_file(entry);
      for (; error == ENOENT && patience > 0 && !stopping_; --patience) {
        std::this_thread::sleep_for(kListingStep);
        error = push_file(entry);
      }
      if (error != 0) {
        stopped = true;
        return false;  // the kernel doesn't know these files, or has no memory
      }
      patience = 0;
      pushed.bytes += entry.attributes.size;
    }
    pushed.first = is_first ? entry.next : pushed.first;
    pushed.position = entry.next;
    return true;
  };
  pushed.all = fs_.read_dir(directory, from, visit).has_value() && !stopped;
  return pushed;
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
