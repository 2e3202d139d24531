// SPDX-License-Identifier: MIT
#include "fuse/content_prefetcher.h"

#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "core/base/log.h"
#include "core/vfs/walk.h"

namespace pkgfs::fuse {
namespace {

constexpr std::uint64_t kGap = ReadRegion::kGap;
constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kBatch = 32;
constexpr std::uint64_t kFirstWindow = ReadRegion::kFirstWindow;
/// Listed directories that are prefetched before one of them must be read.
constexpr int kMostCredit = 16;
/// Directories whose reading is remembered.
constexpr std::size_t kRegions = 4096;
/// Directories that are prefetched before the next one is read.
constexpr unsigned kMostAhead = 16;
/// After this many files in a row that the kernel didn't know, some of the following reads are ignored: as many as
/// there were such files, up to kMostIgnored.
constexpr unsigned kInVain = 4;
constexpr unsigned kMostIgnored = 256;
/// The kernel knows the entries of a listing only once the reader has taken the reply: how long and how often to wait.
constexpr auto kListingStep = std::chrono::microseconds(20);
constexpr int kListingSteps = 10;

// A hint is an inode (below 2^62) and what happened to it.
constexpr std::uint64_t kListed = 1;
constexpr unsigned kHintBits = 1;

}  // namespace

ContentPrefetcher::~ContentPrefetcher() {
  if (!stop(std::chrono::seconds(5))) {
    std::_Exit(EXIT_FAILURE);  // the thread uses this object: only the end of the process helps
  }
}

void ContentPrefetcher::start(std::unique_ptr<KernelCache> cache) {
  writer_.emplace(fs_, statistics_, std::move(cache));
  thread_ = std::thread([this] { work(); });
  started_ = true;
}

bool ContentPrefetcher::stop(std::chrono::milliseconds limit) {
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

void ContentPrefetcher::file_was_read(vfs::Inode file, std::uint64_t size) {
  if (size > PageCacheWriter::kMostOfFile) {
    return;
  }
  if (const unsigned ignored = ignored_.load(std::memory_order_relaxed); ignored > 0) {
    ignored_.store(ignored - 1, std::memory_order_relaxed);
    return;
  }
  post(file << kHintBits);
}

void ContentPrefetcher::directory_was_listed(vfs::Inode directory) {
  if (directory == listing_.load(std::memory_order_relaxed)) {
    return;  // by `list`
  }
  ignored_.store(0, std::memory_order_relaxed);
  by_name_.store(false, std::memory_order_relaxed);
  if (credit_.load(std::memory_order_relaxed) > 0) {
    post((directory << kHintBits) | kListed);
  }
}

void ContentPrefetcher::post(std::uint64_t event) {
  if (!started_.load(std::memory_order_relaxed)) {
    return;
  }
  busy_ = true;
  hints_.post(event);
}

void ContentPrefetcher::work() {
  ::prctl(PR_SET_TIMERSLACK, 1000UL);  // NOLINT(cppcoreguidelines-pro-type-vararg): its interface; for kListingStep
  try {
    while (!stopping_) {
      if (take_hints()) {
        handle_tasks();
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
    log::warn("no files are prefetched any more: {}", error);
  }
  writer_.reset();
  busy_ = false;
  ended_ = true;
}

void ContentPrefetcher::handle_tasks() {
  // The newest first: an older one's reader is probably past what could be prefetched for it.
  while (!tasks_.empty() && !stopping_) {
    const Task task = tasks_.back();
    tasks_.pop_back();
    if (regions_.size() >= kRegions) {
      std::erase_if(regions_, [this](const auto& entry) { return entry.first != last_directory_; });
    }
    if (task.listed) {
      handle_listing(task.directory);
    } else {
      handle_reading(task);
    }
  }
  writer_->end_listing();
}

bool ContentPrefetcher::take_hints() {
  return hints_.take([this](std::uint64_t event) {
    if (stopping_ || writer_->is_paused()) {
      return;
    }
    const vfs::Inode inode = event >> kHintBits;
    if ((event & kListed) == 0) {
      note_read(inode);
    } else if (std::ranges::find(tasks_, inode, &Task::directory) == tasks_.end()) {
      tasks_.push_back({.directory = inode, .listed = true});
    }
  });
}

void ContentPrefetcher::note_read(vfs::Inode file) {
  const Result<vfs::Place> place = fs_.place(file);
  if (!place) {
    return;
  }
  pages_left_ = page_cache_;
  const vfs::Inode directory = place->directory;
  const auto [found, is_new] = regions_.try_emplace(directory);
  ReadRegion& region = found->second;
  unsigned ahead = std::exchange(region.ahead, 0U);
  if (is_new) {
    region = ReadRegion::begun_at(place->next);
    ahead = walks_to(directory) ? 1 : 0;
  } else {
    region.inside -= std::min(region.inside, ahead > 0 ? 1U : 0U);  // the first file was left out
    region.note_read(place->next);
  }
  region.walk = std::max(region.walk, ahead);
  if (is_new || ahead > 0) {
    gain_ = std::min(2 * gain_, kMostCredit);
    credit_.store(gain_, std::memory_order_relaxed);
    last_directory_ = directory;
  }
  const auto same = std::ranges::find(tasks_, directory, &Task::directory);
  if (same != tasks_.end()) {
    ahead = std::max(ahead, same->ahead);
    tasks_.erase(same);
  }
  tasks_.push_back({.directory = directory, .ahead = ahead});
}

bool ContentPrefetcher::walks_to(vfs::Inode directory) {
  const auto last = regions_.find(last_directory_);
  if (last == regions_.end() || vfs::next_directory(fs_, last_directory_) != directory) {
    return false;
  }
  std::uint64_t left = 0;  // files that were neither read nor prefetched there
  (void)fs_.read_dir(last_directory_, std::max(last->second.read, last->second.end), [&](const vfs::DirEntry& entry) {
    left += entry.attributes.type == vfs::FileType::kFile ? 1 : 0;
    return left <= kGap;
  });
  return left <= kGap;
}

void ContentPrefetcher::handle_reading(const Task& task) {
  const auto found = regions_.find(task.directory);
  if (found == regions_.end()) {
    return;
  }
  ReadRegion& region = found->second;
  bool all = region.end > region.read;
  if (region.end <= region.read + kGap && region.window > 0) {
    const std::uint64_t from = std::max(region.end, region.read);
    const std::uint64_t begin = region.begin;
    const Run run =
        prefetch(task.directory, from, region.window, {.lead = lead_, .list = region.in_order || task.ahead > 0});
    if (region.begin == begin) {  // else a reader has jumped elsewhere meanwhile
      region.inside = run.position > from ? 0 : region.inside;
      region.end = std::max(region.end, run.position);
    }
    all = run.all;
    if (run.bytes > 0 && region.read >= run.position) {
      lead_ = std::min(2 * lead_ + kGap, ReadRegion::kFar);  // the readers were faster
    } else if (region.read <= from) {
      lead_ = lead_ * 3 / 4;
    }
  }
  if (region.walk > 0 && all) {
    prefetch_next_directories(task.directory, std::min(2 * std::exchange(region.walk, 0U), kMostAhead));
  }
}

void ContentPrefetcher::prefetch_next_directories(vfs::Inode directory, unsigned count) {
  std::uint64_t budget = ReadRegion::kMostWindow;
  for (unsigned number = 1; number <= count && !stopping_; ++number) {
    directory = vfs::next_directory(fs_, directory);
    if (directory == 0) {
      return;
    }
    if (regions_.contains(directory)) {
      continue;
    }
    const bool is_last = number == count;
    const Run run = prefetch(directory, 0, std::min(budget, kFirstWindow),
                             {.without_first = is_last, .list = by_name_.load(std::memory_order_relaxed)});
    if (run.first == 0 && run.all) {
      continue;  // no file fits: nothing was spent, but no READ can show that the walk comes here
    }
    ReadRegion& region = regions_[directory];  // may be there already: a reader has come meanwhile
    region.note_prefetch(run.position);
    if (region.read == 0 && (is_last || !run.all)) {
      region.ahead = count;
    }
    if (!run.all) {
      return;
    }
    budget -= run.bytes;
  }
}

void ContentPrefetcher::handle_listing(vfs::Inode directory) {
  if (credit_.load(std::memory_order_relaxed) <= 0 || regions_.contains(directory)) {
    return;
  }
  credit_.fetch_sub(1, std::memory_order_relaxed);
  const Run run = prefetch(directory, 0, kFirstWindow, {.patience = kListingSteps});
  ReadRegion& region = regions_[directory];
  region.note_prefetch(run.position);
}

ContentPrefetcher::Run ContentPrefetcher::prefetch(vfs::Inode directory, std::uint64_t from, std::uint64_t window,
                                                   RunOptions options) {
  Run run{.position = from};
  bool stopped = false;
  std::uint64_t listed = 0;
  const auto visit = [&](const vfs::DirEntry& entry) {
    const bool fits = PageCacheWriter::fits(entry);
    const bool is_first = fits && run.first == 0;
    if (fits && !(is_first && options.without_first)) {
      (void)take_hints();
      if (was_read(directory, entry.next) || options.lead > 0) {
        options.lead -= std::min<std::uint64_t>(options.lead, 1);
        run.position = entry.next;
        return true;
      }
      const std::uint64_t pages = (entry.attributes.size + kPage - 1) / kPage * kPage;
      stopped =
          run.bytes + entry.attributes.size > window || pages > pages_left_ || stopping_ || writer_->is_memory_short();
      if (stopped) {
        return false;
      }
      if (const int error = write(directory, entry, options, listed); error != 0) {
        stopped = true;
        in_vain_ = error == ENOENT ? in_vain_ + 1 : 0;
        return false;  // the kernel doesn't know the file or has no memory, and so it is with the next ones
      }
      options.patience = 0;
      in_vain_ = 0;
      run.bytes += entry.attributes.size;
      pages_left_ -= pages;
    }
    run.first = is_first ? entry.next : run.first;
    run.position = entry.next;
    return true;
  };
  // A few entries at a time: as long as `read_dir` goes on, directories that others evict can't be freed.
  for (bool more = true; more && !stopped;) {
    batch_.clear();
    const Result<void> found = fs_.read_dir(directory, run.position, [this](const vfs::DirEntry& entry) {
      batch_.push_back(entry);
      return batch_.size() < kBatch;
    });
    more = found && batch_.size() == kBatch;
    stopped = !found;
    for (std::size_t i = 0; i < batch_.size() && visit(batch_[i]); ++i) {
    }
  }
  run.all = !stopped;
  if (in_vain_ > kInVain) {
    ignored_.store(std::min(in_vain_, kMostIgnored), std::memory_order_relaxed);
  }
  return run;
}

int ContentPrefetcher::write(vfs::Inode directory, const vfs::DirEntry& entry, RunOptions& options,
                             std::uint64_t& listed) {
  int error = writer_->write(entry, in_vain_ > 0, stopping_);
  for (; error == ENOENT && options.patience > 0 && !stopping_; --options.patience) {
    std::this_thread::sleep_for(kListingStep);
    error = writer_->write(entry, in_vain_ > 0, stopping_);
  }
  if (error == ENOENT && options.list && listed != entry.next && list(directory, entry.next - 1)) {
    listed = entry.next;
    error = writer_->write(entry, in_vain_ > 0, stopping_);
  }
  return error;
}

bool ContentPrefetcher::list(vfs::Inode directory, std::uint64_t from) {
  if (!writer_->can_list()) {
    return false;
  }
  listing_.store(directory, std::memory_order_relaxed);
  by_name_.store(true, std::memory_order_relaxed);
  return writer_->list(directory, from);
}

bool ContentPrefetcher::was_read(vfs::Inode directory, std::uint64_t position) const {
  const auto found = regions_.find(directory);
  return found != regions_.end() && found->second.is_past(position);
}

}  // namespace pkgfs::fuse
