// SPDX-License-Identifier: MIT
#include "fuse/waiting_lookups.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fuse/request_header.h"

namespace pkgfs::fuse {

struct WaitingLookups::State {
  struct Waiting {
    fuse_req_t req = nullptr;
    std::uint64_t number = 0;
    vfs::ServedFileSystem* fs = nullptr;
    std::uint64_t waiter = 0;  // of `fs`; 0: not known yet
    std::function<void()> answer;
  };

  /// Takes a request out of `all`. The caller must call `done`.
  [[nodiscard]] bool take(std::uint64_t id, Waiting& taken) PKGFS_EXCLUDES(mutex);
  /// Takes the request with this number of the kernel out of `all`. Its `req` is null if there is none.
  [[nodiscard]] Waiting take_same(std::uint64_t number) PKGFS_REQUIRES(mutex);
  void done() PKGFS_EXCLUDES(mutex);
  void ready(std::uint64_t id) PKGFS_EXCLUDES(mutex);
  static void refuse(const Waiting& waiting, int error);

  mutable Mutex mutex;
  std::condition_variable idle;
  std::uint64_t last_id PKGFS_GUARDED_BY(mutex) = 0;
  std::unordered_map<std::uint64_t, Waiting> all PKGFS_GUARDED_BY(mutex);
  unsigned answering PKGFS_GUARDED_BY(mutex) = 0;
  bool stopped PKGFS_GUARDED_BY(mutex) = false;
};

bool WaitingLookups::State::take(std::uint64_t id, Waiting& taken) {
  const MutexLock lock(mutex);
  const auto found = all.find(id);
  if (found == all.end()) {
    return false;
  }
  taken = std::move(found->second);
  all.erase(found);
  ++answering;
  return true;
}

WaitingLookups::State::Waiting WaitingLookups::State::take_same(std::uint64_t number) {
  if (number == 0) {
    return {};
  }
  const auto found =
      std::ranges::find_if(all, [&](const auto& one) { return is_same_request(one.second.number, number); });
  if (found == all.end()) {
    return {};
  }
  Waiting taken = std::move(found->second);
  all.erase(found);
  return taken;
}

void WaitingLookups::State::done() {
  {
    const MutexLock lock(mutex);
    --answering;
  }
  idle.notify_all();
}

void WaitingLookups::State::ready(std::uint64_t id) {
  Waiting waiting;
  if (take(id, waiting)) {
    waiting.answer();
    done();
  }
}

void WaitingLookups::State::refuse(const Waiting& waiting, int error) {
  fuse_reply_err(waiting.req, error);
  if (waiting.waiter != 0) {
    waiting.fs->leave(waiting.waiter);
  }
}

WaitingLookups::WaitingLookups() : state_(std::make_shared<State>()) {}

WaitingLookups::~WaitingLookups() {
  if (!stop(std::chrono::seconds(5))) {
    std::_Exit(EXIT_FAILURE);  // a thread waits for a disk, and uses what is destroyed next
  }
}

void WaitingLookups::add(fuse_req_t req, std::uint64_t number, vfs::ServedFileSystem& fs, vfs::Inode dir,
                         const std::string& name, std::function<void()> answer) {
  // The kernel has sent a request again: the new one takes the place of the first. That one leaves at the end, so that
  // the search doesn't end because nothing waits for it.
  struct SentBefore : State::Waiting {
    ~SentBefore() {
      if (waiter != 0) {
        fs->leave(waiter);
      }
    }
  } sent_before;
  std::uint64_t id = 0;
  {
    const MutexLock lock(state_->mutex);
    if (!state_->stopped) {
      static_cast<State::Waiting&>(sent_before) = state_->take_same(number);
      id = ++state_->last_id;
      state_->all.emplace(
          id, State::Waiting{.req = req, .number = number, .fs = &fs, .waiter = 0, .answer = std::move(answer)});
    }
  }
  if (sent_before.req != nullptr) {
    fuse_reply_none(sent_before.req);
  }
  if (id == 0) {
    fuse_reply_err(req, EIO);
    return;
  }
  std::uint64_t waiter = 0;
  try {
    waiter = fs.wait_for(dir, name, [state = state_, id] { state->ready(id); });
  } catch (...) {
    State::Waiting mine;
    if (state_->take(id, mine)) {
      state_->done();
      throw;
    }
    return;  // it was answered or interrupted meanwhile
  }
  if (waiter == 0) {
    return;
  }
  {
    const MutexLock lock(state_->mutex);
    if (const auto found = state_->all.find(id); found != state_->all.end()) {
      found->second.waiter = waiter;
      return;
    }
  }
  fs.leave(waiter);  // it was answered or interrupted meanwhile
}

bool WaitingLookups::interrupt(std::uint64_t number) {
  State::Waiting waiting;
  {
    const MutexLock lock(state_->mutex);
    waiting = state_->take_same(number);
    if (waiting.req == nullptr) {
      return false;
    }
    ++state_->answering;
  }
  State::refuse(waiting, EINTR);
  state_->done();
  return true;
}

bool WaitingLookups::is_answering() const {
  const MutexLock lock(state_->mutex);
  return state_->answering > 0;
}

bool WaitingLookups::stop(std::chrono::milliseconds limit) {
  std::unordered_map<std::uint64_t, State::Waiting> left;
  {
    const MutexLock lock(state_->mutex);
    state_->stopped = true;
    left.swap(state_->all);
  }
  for (const auto& [id, waiting] : left) {
    State::refuse(waiting, EIO);
  }
  MutexLock lock(state_->mutex);
  return lock.wait_for(state_->idle, limit, [this]() PKGFS_REQUIRES(state_->mutex) { return state_->answering == 0; });
}

}  // namespace pkgfs::fuse
