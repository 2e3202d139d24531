// SPDX-License-Identifier: MIT
#include "daemon/serve/tree_closer.h"

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/log.h"
#include "core/vfs/walk.h"
#include "fuse/answering.h"

namespace pkgfs {
namespace {

/// For requests that are being answered.
constexpr auto kLimit = std::chrono::seconds(1);

/// What a tree took lies between what others still use, where free() leaves it to this process.
void give_memory_back() {
#ifdef __GLIBC__
  (void)::malloc_trim(0);
#endif
}

}  // namespace

TreeCloser::~TreeCloser() {
  if (!stop(std::chrono::seconds(5))) {
    std::_Exit(EXIT_FAILURE);  // the thread waits in the kernel, and uses what is destroyed next
  }
}

void TreeCloser::start() {
  thread_ = std::thread([this] {
    run();
    done_.set_value();
  });
}

bool TreeCloser::stop(std::chrono::milliseconds limit) {
  if (!thread_.joinable()) {
    return true;
  }
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (ended_.wait_for(limit) != std::future_status::ready) {
    return false;
  }
  thread_.join();
  return true;
}

TreeCloser::Clock::duration TreeCloser::pause() const {
  constexpr auto kShortest = std::chrono::milliseconds(100);
  constexpr auto kLongest = std::chrono::seconds(1);  // the shortest --timeout
  return std::clamp<Clock::duration>(idle_ / 4, kShortest, kLongest);
}

void TreeCloser::run() {
  while (!stopping_) {
    {
      MutexLock lock(mutex_);
      lock.wait_for(wake_, pause(), [this] { return stopping_.load(); });
    }
    try {
      for (const vfs::Inode directory : fs_.take_kept_listings()) {
        session_.forget_listing(directory);
      }
      const std::uint64_t closed = fs_.counts().closed;
      for (const auto& open : fs_.idle(Clock::now(), idle_)) {
        if (stopping_) {
          return;
        }
        tidy(open);
      }
      if (fs_.counts().closed != closed) {
        give_memory_back();
      }
    } catch (const std::exception& error) {
      log::warn("trees aren't closed: {}", error);
    }
  }
}

void TreeCloser::tidy(const vfs::ServedFileSystem::OpenSlot& open) {
  if (fs_.is_unused(open.slot)) {
    close(open);
  } else if (attempts_.begin(open, Clock::now())) {
    let_go(open);
  }
}

bool TreeCloser::wait_for_requests(Clock::time_point deadline) const {
  constexpr auto kStep = std::chrono::milliseconds(1);
  fuse::Answering answering(state_);
  const auto are_answered = [&] { return answering.have_ended() && !adapter_.waiting_lookups().is_answering(); };
  while (!are_answered()) {
    if (Clock::now() >= deadline) {
      return false;
    }
    std::this_thread::sleep_for(kStep);
  }
  return true;
}

std::vector<vfs::AbsentNames::Absent> TreeCloser::absent_of(std::size_t slot, bool& are_all) {
  std::vector<vfs::AbsentNames::Absent> names;
  absent_.push_back(fs_.take_absent(slot));
  are_all = wait_for_requests(Clock::now() + kLimit);
  if (are_all) {
    for (const auto& each : absent_) {
      are_all = each->copy_to(names) && are_all;
    }
    absent_.clear();
  }
  return names;
}

void TreeCloser::let_go(const vfs::ServedFileSystem::OpenSlot& open) {
  std::vector<fuse::Session::OldNode> names;
  bool are_all = true;
  for (vfs::AbsentNames::Absent& each : absent_of(open.slot, are_all)) {
    names.push_back({.node = 0, .parent = each.directory, .name = std::move(each.name)});
  }
  if (adapter_.can_prune() && are_all) {
    session_.forget_names(names);
    prune(open);
    return;
  }
  // By a name, the kernel forgets all below it that no program uses. A directory that one uses as its working directory
  // is shown as deleted, until its name is looked up again.
  vfs::FileSystem& tree = fs_.tree_of(open.slot);
  (void)tree.read_dir(tree.root(), 0, [&](const vfs::DirEntry& entry) {
    names.push_back({.node = 0, .parent = open.root, .name = std::string(entry.name)});
    return true;
  });
  session_.forget_names(names);
}

void TreeCloser::prune(const vfs::ServedFileSystem::OpenSlot& open) {
  constexpr std::size_t kBatch = 4096;
  vfs::FileSystem& tree = fs_.tree_of(open.slot);
  std::vector<fuse::Session::OldNode> nodes;
  for (vfs::TreeWalk walk(tree, tree.root(), {.batch = kBatch}); !stopping_ && walk.next();) {
    const vfs::WalkStep& step = walk.step();
    const bool is_directory = step.attributes.type == vfs::FileType::kDirectory && step.error == 0;
    if (is_directory && !step.leaving) {
      continue;  // it comes after its entries
    }
    nodes.push_back({.node = fs_.inode_of(open.slot, step.inode), .parent = 0, .name = {}});
    if (nodes.size() >= kBatch) {
      session_.let_go(nodes);
      nodes.clear();
    }
  }
  session_.let_go(nodes);
}

void TreeCloser::close(const vfs::ServedFileSystem::OpenSlot& open) {
  const auto is_of_it = [&](std::uint64_t file) { return fs_.slot_of_inode(file) == open.slot; };
  const auto deadline = Clock::now() + kLimit;
  /// Whether the requests end in time that are being answered now, and the kernel knows no entry after them.
  const auto is_let_go = [&] {
    return wait_for_requests(deadline) && !adapter_.waiting_reads().is_reading(is_of_it) && fs_.is_unused(open.slot);
  };
  fs_.hide(open.slot);
  if (!is_let_go()) {
    fs_.give_back(open.slot);
    return;
  }
  // Now only a request for a file handle of before can find the tree.
  fs_.detach(open.slot);
  if (!is_let_go()) {
    fs_.give_back(open.slot);
    return;
  }
  attempts_.erase(open.slot);
  const std::shared_ptr<vfs::HeldTree> closed = fs_.close(open.slot);
}

}  // namespace pkgfs
