// SPDX-License-Identifier: MIT
#include "fuse/content_pusher.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "core/base/log.h"
#include "core/vfs/walk.h"
#include "fuse/memory_pressure.h"


namespace pkgfs::fuse {
namespace {

constexpr std::uint64_t kMostOfFile = 64U << 10U;
constexpr std::uint64_t kFirstWindow = 128U << 10U;
constexpr std::uint64_t kMostWindow = 1U << 20U;
/// Files that a reader may pass over and still be reading on.
constexpr std::uint64_t kGap = 4;
/// Files between which readers of one directory are taken to go together.
constexpr std::uint64_t kFar = 64;
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
/// Files in a row that the kernel doesn't know, before reads of others aren't looked at for a while; at most so many.
constexpr unsigned kInVain = 4;
constexpr unsigned kMostIgnored = 256;
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

void ContentPusher::start(fuse_session* session, OwnMount own_mount) {
  session_ = session;
  own_mount_ = std::move(own_mount);
  buffer_.resize(kMostOfFile);
  thread_ = std::thread([this] { work(); });
  started_ = true;
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
  started_ = false;
  busy_ = false;
  return true;
}

void ContentPusher::file_was_read(vfs::Inode file, std::uint64_t size) {
  if (size > kMostOfFile) {
    return;
  }
  if (const unsigned ignored = ignored_.load(std::memory_order_relaxed); ignored > 0) {
    ignored_.store(ignored - 1, std::memory_order_relaxed);
    return;
  }
  post(file << kEventBits);
}

void ContentPusher::directory_was_listed(vfs::Inode directory) {
  if (directory == listing_.load(std::memory_order_relaxed)) {
    return;  // by ourselves
  }
  ignored_.store(0, std::memory_order_relaxed);
  by_name_.store(false, std::memory_order_relaxed);
  if (credit_.load(std::memory_order_relaxed) > 0) {
    post((directory << kEventBits) | kListed);
  }
}

void ContentPusher::post(std::uint64_t event) {
  if (!started_.load(std::memory_order_relaxed)) {
    return;
  }
  busy_ = true;
  hints_.post(event);
}

void ContentPusher::work() {
  ::prctl(PR_SET_TIMERSLACK, 1000UL);  // NOLINT(cppcoreguidelines-pro-type-vararg): its interface; for kListingStep
  try {
    while (!stopping_) {
      if (take()) {
        handle_readings();
        continue;
      }
      busy_ = false;
      if (hints_.is_empty()) {
        hints_.wait();
      }
      busy_ = true;
    }
  } catch (const std::exception& error) {
    started_ = false;
    log::warn("no files are read ahead any more: {}", error.what());
  }
  own_mount_.reset();
  busy_ = false;
  ended_ = true;
}

void ContentPusher::handle_readings() {
  // The newest first: of several readers, those who were noticed last are where something can still be brought.
  while (!readings_.empty() && !stopping_) {
    const Reading reading = readings_.back();
    readings_.pop_back();
    if (regions_.size() >= kRegions) {
      std::erase_if(regions_, [this](const auto& entry) { return entry.first != last_directory_; });
    }
    if (reading.listed) {
      handle_listing(reading.directory);
    } else {
      bring(reading);
    }
  }
  if (own_mount_) {
    own_mount_->leave();
  }
}

bool ContentPusher::take() {
  return hints_.take([this](std::uint64_t event) {
    if (stopping_ || std::chrono::steady_clock::now() < pause_until_) {
      return;
    }
    const vfs::Inode inode = event >> kEventBits;
    if ((event & kListed) == 0) {
      note_read(inode);
    } else if (std::ranges::find(readings_, inode, &Reading::directory) == readings_.end()) {
      readings_.push_back({.directory = inode, .listed = true});
    }
  });
}

void ContentPusher::note_read(vfs::Inode file) {
  const Result<vfs::Place> place = fs_.place(file);
  if (!place) {
    return;
  }
  const vfs::Inode directory = place->directory;
  const auto [found, is_new] = regions_.try_emplace(directory);
  Region& region = found->second;
  unsigned ahead = std::exchange(region.ahead, 0U);
  if (is_new) {
    region = {.begin = place->next - 1, .end = place->next, .read = place->next, .window = kFirstWindow};
    ahead = walks_to(directory) ? 1 : 0;
  } else {
    region.inside -= std::min(region.inside, ahead > 0 ? 1U : 0U);  // it was left out
    note_position(region, place->next);
  }
  region.walk = std::max(region.walk, ahead);
  if (is_new || ahead > 0) {
    gain_ = std::min(2 * gain_, kMostCredit);
    credit_.store(gain_, std::memory_order_relaxed);
    last_directory_ = directory;
  }
  const auto same = std::ranges::find(readings_, directory, &Reading::directory);
  if (same != readings_.end()) {
    ahead = std::max(ahead, same->ahead);
    readings_.erase(same);
  }
  readings_.push_back({.directory = directory, .ahead = ahead});
}

bool ContentPusher::walks_to(vfs::Inode directory) {
  const auto last = regions_.find(last_directory_);
  if (last == regions_.end() || vfs::next_directory(fs_, last_directory_) != directory) {
    return false;
  }
  std::uint64_t left = 0;  // files that were neither read nor brought there
  (void)fs_.read_dir(last_directory_, std::max(last->second.read, last->second.end), [&](const vfs::DirEntry& entry) {
    left += entry.attributes.type == vfs::FileType::kFile ? 1 : 0;
    return left <= kGap;
  });
  return left <= kGap;
}

void ContentPusher::note_position(Region& region, std::uint64_t at) {
  const bool is_near = at + kGap > region.begin && at <= std::max(region.end, region.read) + kGap;
  const bool is_inside = is_near && at <= region.end;
  if (is_inside && ++region.inside < kRaces) {
    region.in_order = true;  // asked for while it was on its way, or by the second of several readers
  } else if (is_near && !is_inside && region.window > 0) {
    region.in_order = true;
    if (at <= std::max(region.end, region.read) + 1) {  // who leaves files out, reads less than is brought
      region.window = std::min(2 * region.window, kMostWindow);
    }
  } else {
    const bool goes_on = at > region.read && at <= region.read + kGap;
    ++region.jumps;
    region.window = region.jumps <= kJumps || goes_on ? kFirstWindow : 0;
    region.begin = at - 1;
    region.end = at;
    region.read = at;
    region.inside = 0;
  }
  region.read = std::max(region.read, at);
}

void ContentPusher::bring(const Reading& reading) {
  const auto found = regions_.find(reading.directory);
  if (found == regions_.end()) {
    return;
  }
  Region& region = found->second;
  bool all = region.end > region.read;
  if (region.end <= region.read + kGap && region.window > 0) {
    const std::uint64_t from = std::max(region.end, region.read);
    const std::uint64_t begin = region.begin;
    const Pushed pushed = push_files(reading.directory, from, region.window,
                                     {.lead = lead_, .list = region.in_order || reading.ahead > 0});
    if (region.begin == begin) {  // else a reader has jumped elsewhere meanwhile
      region.inside = pushed.position > from ? 0 : region.inside;
      region.end = std::max(region.end, pushed.position);
    }
    all = pushed.all;
    if (pushed.bytes > 0 && region.read >= pushed.position) {
      lead_ = std::min(2 * lead_ + kGap, kFar);  // they were faster
    } else if (region.read <= from) {
      lead_ = lead_ * 3 / 4;
    }
  }
  if (region.walk > 0 && all) {
    push_next_directories(reading.directory, std::min(2 * std::exchange(region.walk, 0U), kMostAhead));
  }
}

void ContentPusher::push_next_directories(vfs::Inode directory, unsigned count) {
  std::uint64_t budget = kMostWindow;
  for (unsigned number = 1; number <= count && !stopping_; ++number) {
    directory = vfs::next_directory(fs_, directory);
    if (directory == 0) {
      return;
    }
    if (regions_.contains(directory)) {
      continue;
    }
    const bool is_last = number == count;
    const Pushed pushed = push_files(directory, 0, std::min(budget, kFirstWindow),
                                     {.without_first = is_last, .list = by_name_.load(std::memory_order_relaxed)});
    if (pushed.first == 0 && pushed.all) {
      continue;  // no file that could be brought: it costs nothing, but can't tell anything either
    }
    Region& region = regions_[directory];  // of a reader, too, who has come meanwhile
    region.end = std::max(region.end, pushed.position);
    region.window = std::max(region.window, kFirstWindow);
    if (region.read == 0 && (is_last || !pushed.all)) {
      region.ahead = count;
    }
    if (!pushed.all) {
      return;
    }
    budget -= pushed.bytes;
  }
}

void ContentPusher::handle_listing(vfs::Inode directory) {
  if (credit_.load(std::memory_order_relaxed) <= 0 || regions_.contains(directory)) {
    return;
  }
  credit_.fetch_sub(1, std::memory_order_relaxed);
  const Pushed pushed = push_files(directory, 0, kFirstWindow, {.patience = kListingSteps});
  Region& region = regions_[directory];
  region.end = std::max(region.end, pushed.position);
  region.window = std::max(region.window, kFirstWindow);
}

ContentPusher::Pushed ContentPusher::push_files(vfs::Inode directory, std::uint64_t from, std::uint64_t window,
                                                Manner manner) {
  Pushed pushed{.position = from};
  bool stopped = false;
  std::uint64_t listed = 0;  // behind where a listing of ours began
  const auto visit = [&](const vfs::DirEntry& entry) {
    const bool fits = entry.attributes.type == vfs::FileType::kFile && entry.inode != 0 && entry.attributes.size > 0 &&
                      entry.attributes.size <= kMostOfFile;
    const bool is_first = fits && pushed.first == 0;
    if (fits && !(is_first && manner.without_first)) {
      (void)take();
      if (was_read(directory, entry.next) || manner.lead > 0) {
        manner.lead -= std::min<std::uint64_t>(manner.lead, 1);
        pushed.position = entry.next;
        return true;
      }
      stopped = pushed.bytes + entry.attributes.size > window || stopping_ || memory_is_short();
      if (stopped) {
        return false;
      }
      int error = push_file(entry);
      for (; error == ENOENT && manner.patience > 0 && !stopping_; --manner.patience) {
        std::this_thread::sleep_for(kListingStep);
        error = push_file(entry);
      }
      if (error == ENOENT && manner.list && listed != entry.next && list(directory, entry.next - 1)) {
        listed = entry.next;
        error = push_file(entry);
      }
      if (error != 0) {
        stopped = true;
        in_vain_ = error == ENOENT ? in_vain_ + 1 : 0;
        return false;  // the kernel doesn't know these files, or has no memory
      }
      manner.patience = 0;
      in_vain_ = 0;
      pushed.bytes += entry.attributes.size;
    }
    pushed.first = is_first ? entry.next : pushed.first;
    pushed.position = entry.next;
    return true;
  };
  pushed.all = fs_.read_dir(directory, from, visit).has_value() && !stopped;
  if (in_vain_ > kInVain) {
    ignored_.store(std::min(in_vain_, kMostIgnored), std::memory_order_relaxed);
  }
  return pushed;
}

bool ContentPusher::was_read(vfs::Inode directory, std::uint64_t at) const {
  const auto found = regions_.find(directory);
  return found != regions_.end() && at <= found->second.read && found->second.read <= at + kFar;
}

bool ContentPusher::list(vfs::Inode directory, std::uint64_t from) {
  if (!own_mount_) {
    return false;
  }
  const std::string path = vfs::path_of(fs_, directory);
  if (path.empty()) {
    return false;
  }
  listing_.store(directory, std::memory_order_relaxed);
  by_name_.store(true, std::memory_order_relaxed);
  const int error = own_mount_->list(path, from);
  if (error == EPERM || error == ENOSYS) {
    log::debug("no files are read ahead in directories that nobody lists: {}", std::generic_category().message(error));
    own_mount_.reset();
  }
  return error == 0;
}

int ContentPusher::push_file(const vfs::DirEntry& entry) {
  const Result<vfs::Extent> extent = fs_.extent(entry.inode);
  if (!extent) {
    return extent.error();
  }
  fuse_bufvec nothing = FUSE_BUFVEC_INIT(0);
  if (const int known =
          in_vain_ == 0 ? 0 : fuse_lowlevel_notify_store(session_, entry.inode, 0, &nothing, fuse_buf_copy_flags{});
      known != 0) {
    return -known;
  }
  if (stopping_) {
    return EINTR;
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
