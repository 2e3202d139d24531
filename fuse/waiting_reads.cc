// SPDX-License-Identifier: MIT
#include "fuse/waiting_reads.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <new>
#include <span>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/log.h"
#include "core/base/thread_annotations.h"
#include "fuse/request_header.h"
#include "fuse/statistics.h"

namespace pkgfs::fuse {

struct WaitingReads::State {
  State(Statistics& counts, DropPages drop) : statistics(counts), drop_pages(std::move(drop)) {}

  struct Read {
    fuse_req_t req = nullptr;
    std::uint64_t number = 0;  // the kernel's
    fuse_ino_t ino = 0;
    vfs::Extent extent;
    std::uint64_t from = 0;
    std::size_t count = 0;
    RequestStore::Kept kept;  // until the reply
  };

  /// Takes the read with this number out of `reads`. Its `req` is null if there is none.
  [[nodiscard]] Read take_same(std::uint64_t number) PKGFS_REQUIRES(mutex);
  void arrived(std::uint64_t id, int error) PKGFS_EXCLUDES(mutex);
  void reply(const Read& read, int error);
  /// Lets `dropper` call `drop_pages` for `file`. The kernel may make that thread wait until other reads of the file
  /// are answered, so the thread that answers them can't do it.
  void drop(fuse_ino_t file) PKGFS_EXCLUDES(mutex);
  void drop_all() PKGFS_EXCLUDES(mutex);
  void reply_error(const Read& read, int error) {
    statistics.read_failed(error);
    fuse_reply_err(read.req, error);
  }

  Statistics& statistics;
  DropPages drop_pages;
  Mutex mutex;
  std::condition_variable idle;
  std::uint64_t last_id PKGFS_GUARDED_BY(mutex) = 0;
  std::unordered_map<std::uint64_t, Read> reads PKGFS_GUARDED_BY(mutex);
  unsigned replying PKGFS_GUARDED_BY(mutex) = 0;  // threads that are sending a reply
  bool stopped PKGFS_GUARDED_BY(mutex) = false;
  std::vector<fuse_ino_t> wrong PKGFS_GUARDED_BY(mutex);  // files of which pages must be dropped
  bool dropping PKGFS_GUARDED_BY(mutex) = false;          // `dropper` is in its loop
  std::thread dropper;                                    // started under `mutex`, unless `stopped`
};

WaitingReads::State::Read WaitingReads::State::take_same(std::uint64_t number) {
  if (number == 0) {
    return {};
  }
  const auto found =
      std::ranges::find_if(reads, [&](const auto& one) { return is_same_request(one.second.number, number); });
  if (found == reads.end()) {
    return {};
  }
  Read taken = std::move(found->second);
  reads.erase(found);
  return taken;
}

void WaitingReads::State::arrived(std::uint64_t id, int error) {
  Read read;
  {
    const MutexLock lock(mutex);
    const auto found = reads.find(id);
    if (found == reads.end()) {
      return;  // interrupted, or the session ends
    }
    read = std::move(found->second);
    reads.erase(found);
    ++replying;
  }
  reply(read, error);
  {
    const MutexLock lock(mutex);
    --replying;
  }
  idle.notify_all();
}

void WaitingReads::State::reply(const Read& read, int error) {
  if (error == EBADMSG) {
    reply_error(read, EIO);  // first: the kernel holds pages of this request
    drop(read.ino);
    return;
  }
  if (error != 0) {
    reply_error(read, error);
    return;
  }
  try {
    std::vector<char> buffer(read.count);
    const auto out = std::as_writable_bytes(std::span(buffer));
    if (const Result<void> done = read.extent.source->read_run(read.extent.run, read.from, out); !done) {
      reply_error(read, done.error());
      return;
    }
    statistics.add_bytes_read(read.count);
    fuse_reply_buf(read.req, buffer.data(), buffer.size());
  } catch (const std::bad_alloc&) {
    reply_error(read, ENOMEM);
  }
}

void WaitingReads::State::drop(fuse_ino_t file) {
  const MutexLock lock(mutex);
  wrong.push_back(file);
  if (dropping || stopped) {
    return;
  }
  if (dropper.joinable()) {
    dropper.join();  // it has left its loop
  }
  try {
    dropper = std::thread([this] { drop_all(); });
    dropping = true;
  } catch (const std::system_error& error) {
    log::warn("the kernel may keep wrong bytes of a file, because no thread can be started: {}", error.what());
  }
}

void WaitingReads::State::drop_all() {
  MutexLock lock(mutex);
  while (!wrong.empty() && !stopped) {
    const fuse_ino_t next = wrong.back();
    wrong.pop_back();
    lock.unlock();
    drop_pages(next);
    lock.lock();
  }
  dropping = false;
}

WaitingReads::WaitingReads(Statistics& statistics, DropPages drop_pages)
    : state_(std::make_shared<State>(statistics, std::move(drop_pages))) {}

WaitingReads::~WaitingReads() { stop(); }

void WaitingReads::add(fuse_req_t req, std::uint64_t number, fuse_ino_t ino, const vfs::Extent& extent,
                       std::uint64_t from, std::size_t count, RequestStore::Kept kept) {
  std::uint64_t id = 0;
  State::Read sent_before;
  {
    const MutexLock lock(state_->mutex);
    if (!state_->stopped) {
      sent_before = state_->take_same(number);
      id = ++state_->last_id;
      state_->reads.emplace(id, State::Read{.req = req,
                                            .number = number,
                                            .ino = ino,
                                            .extent = extent,
                                            .from = from,
                                            .count = count,
                                            .kept = std::move(kept)});
    }
  }
  if (sent_before.req != nullptr) {
    fuse_reply_none(sent_before.req);
  }
  if (id == 0) {
    fuse_reply_err(req, EIO);
    return;
  }
  try {
    extent.source->when_here(extent.run, from, count, [state = state_, id](int error) { state->arrived(id, error); });
  } catch (const std::bad_alloc&) {
    state_->arrived(id, ENOMEM);
  }
}

bool WaitingReads::interrupt(std::uint64_t number) {
  State::Read read;
  {
    const MutexLock lock(state_->mutex);
    read = state_->take_same(number);
    if (read.req == nullptr) {
      return false;
    }
    ++state_->replying;
  }
  fuse_reply_err(read.req, EINTR);
  {
    const MutexLock lock(state_->mutex);
    --state_->replying;
  }
  state_->idle.notify_all();
  return true;
}

bool WaitingReads::is_reading(FunctionRef<bool(fuse_ino_t file)> is_one) const {
  const MutexLock lock(state_->mutex);
  return state_->replying > 0 ||
         std::ranges::any_of(state_->reads, [&](const auto& read) { return is_one(read.second.ino); });
}

void WaitingReads::stop() {
  std::unordered_map<std::uint64_t, State::Read> left;
  {
    MutexLock lock(state_->mutex);
    state_->stopped = true;
    left.swap(state_->reads);
  }
  for (const auto& [id, read] : left) {
    state_->reply_error(read, EIO);
  }
  {
    MutexLock lock(state_->mutex);
    lock.wait(state_->idle, [this]() PKGFS_REQUIRES(state_->mutex) { return state_->replying == 0; });
  }
  if (state_->dropper.joinable()) {
    state_->dropper.join();  // no read keeps it waiting in the kernel any more
  }
}

}  // namespace pkgfs::fuse
