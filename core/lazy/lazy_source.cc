// SPDX-License-Identifier: MIT
#include "core/lazy/lazy_source.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/cancel.h"
#include "core/base/log.h"
#include "core/base/read_faults.h"
#include "core/base/source_hash.h"

namespace pkgfs {
namespace {

using Clock = FetchClient::Clock;

/// How often a reader that waits looks whether a signal wants to end it.
constexpr auto kSignalInterval = std::chrono::milliseconds(20);

/// All messages of `error`, each of which is printable.
std::string one_line(const Error& error) {
  std::string line;
  for (const std::string& message : error.chain()) {
    line += (line.empty() ? "" : ": ") + message;
  }
  return line;
}

bool is_within(const ByteRun& run, std::uint64_t size) { return run.offset <= size && run.length <= size - run.offset; }

}  // namespace

std::shared_ptr<LazySource> LazySource::make(std::shared_ptr<SparseFile> file, Options options,
                                             std::shared_ptr<BlockFetcher> fetcher) {
  struct Users {
    explicit Users(std::shared_ptr<LazySource> used) : source(std::move(used)) {}
    ~Users() { source->unused_.cancel(); }
    Users(const Users&) = delete;
    Users& operator=(const Users&) = delete;
    const std::shared_ptr<LazySource> source;  // the threads of the fetcher have it from there
  };
  const auto users = std::make_shared<Users>(
      std::shared_ptr<LazySource>(new LazySource(std::move(file), std::move(options), std::move(fetcher))));
  LazySource& source = *users->source;
  source.fetcher_->add(users->source);
  source.expect(source.options_.profile.opening);
  return {users, &source};
}

LazySource::LazySource(std::shared_ptr<SparseFile> file, Options options, std::shared_ptr<BlockFetcher> fetcher)
    : file_(std::move(file)),
      fetcher_(std::move(fetcher)),
      // Other processes, and this one, write to the file.
      mapped_(MappedFile::adopt(file_->duplicate(), options.remote.url.text(), MappedFile::Changes::kAllowed)),
      options_(std::move(options)),
      recorder_(file_->size(), options_.profile) {}

LazySource::~LazySource() { fetcher_->memory().remove_all(this); }

bool LazySource::damaged() const {
  return state() == State::kWhole ? whole_->damaged() : !is_intact() || mapped_->damaged();
}

bool LazySource::is_intact() const {
  const State now = state();
  return now == State::kWhole ? whole_->is_intact() : now == State::kLazy;
}

std::uint64_t LazySource::stamp() const { return state() == State::kWhole ? whole_->stamp() : 0; }

std::string LazySource::problem() const {
  const MutexLock lock(mutex_);
  if (!unkept_.empty() || file_->is_complete()) {
    return unkept_;
  }
  if (health_.error()) {
    return one_line(*health_.error());
  }
  const std::optional<Error> no_room = fetcher_->room().error();
  return no_room ? "what is fetched isn't kept: " + one_line(*no_room) : "";
}

void LazySource::when_whole(std::function<void()> then) {
  {
    const MutexLock lock(mutex_);
    if (state() != State::kWhole) {
      when_whole_ = std::move(then);
      return;
    }
  }
  then();
}

Result<void> LazySource::read(std::uint64_t offset, std::span<std::byte> out) const {
  return read_run({.offset = offset, .length = out.size()}, 0, out);
}

Result<void> LazySource::read_run(const ByteRun& run, std::uint64_t from, std::span<std::byte> out) const {
  if (state() == State::kWhole) {
    return whole_->read_run(run, from, out);
  }
  if (!is_within(run, file_->size()) || from > run.length || out.size() > run.length - from) {
    return fail(EIO);
  }
  const Clock::time_point end = Clock::now() + fetcher_->patience();
  // What came may be gone again before it is read: a piece in memory is dropped, or another process forgets blocks.
  while (true) {
    const std::uint64_t generation = file_->generation();
    if (is_in_file(run, from, out.size())) {
      if (const Result<void> done = mapped_->read(run.offset + from, out); !done || generation == file_->generation()) {
        return done;
      }
      continue;
    }
    if (const auto done = read_held(run, from, out)) {
      return *done;
    }
    if (BlockFetcher::is_own_thread()) {  // it would wait for itself
      // `deliver` has just checked the run. Its result is forgotten if another run has wrong bytes.
      const bool is_here = state() == State::kLazy && file_->has(blocks_for(run, from, out.size()));
      return is_here ? mapped_->read(run.offset + from, out) : fail(EIO);
    }
    if (Clock::now() > end) {
      return fail(EIO);
    }
    const Part part{.run = run, .from = from, .count = out.size()};
    if (const int errnum = wait_until_here({&part, 1}, false); errnum != 0) {
      return fail(errnum == EBADMSG ? EIO : errnum);
    }
  }
}

bool LazySource::read_at_once(const ByteRun& run, std::uint64_t from, std::span<std::byte> out) const {
  if (state() == State::kWhole) {
    return whole_->read_at_once(run, from, out);
  }
  if (!is_within(run, file_->size()) || from > run.length || out.size() > run.length - from) {
    return false;
  }
  const std::uint64_t generation = file_->generation();
  if (!is_in_file(run, from, out.size())) {
    const auto done = read_held(run, from, out);
    return done && done->has_value();
  }
  const BlockRange read = SparseFile::blocks_of(run.offset + from, out.size());
  recorder_.note(read);
  if (read_ahead_.is_marked(read)) {
    const_cast<LazySource*>(this)->reader_came_to(read);
  }
  return mapped_->read_at_once(run, from, out) && generation == file_->generation();
}

void LazySource::need(std::span<const ByteRun> runs) const {
  if (state() == State::kWhole) {
    return;
  }
  std::vector<Part> parts;
  parts.reserve(runs.size());
  for (ByteRun run : runs) {
    run.offset = std::min(run.offset, file_->size());
    run.length = std::min(run.length, file_->size() - run.offset);
    parts.push_back({.run = run, .from = 0, .count = run.length});
    recorder_.note(SparseFile::blocks_of(run.offset, run.length));
  }
  if (const int errnum = wait_until_here(parts, true); errnum != 0) {
    if (std::optional<Error> no_room = errnum == ENOSPC ? fetcher_->room().error() : std::nullopt) {
      throw *std::move(no_room);
    }
    const MutexLock lock(mutex_);
    Error error = health_.error().value_or(system_error("its bytes can't be used", errnum));
    throw std::move(error).context("Unable to fetch a part of " + options_.remote.name);
  }
}

int LazySource::wait_until_here(std::span<const Part> parts, bool for_parser) const {
  struct Waiting {
    Mutex mutex;
    std::condition_variable changed;
    std::size_t missing PKGFS_GUARDED_BY(mutex) = 0;
    int error PKGFS_GUARDED_BY(mutex) = 0;
  };
  const auto waiting = std::make_shared<Waiting>();  // a cancelled caller leaves before the last part arrives
  for (const Part& part : parts) {
    if (for_parser ? is_in_file(part.run, part.from, part.count) : is_here(part.run, part.from, part.count)) {
      continue;
    }
    if (state() == State::kTampered || !is_within(part.run, file_->size())) {
      return EIO;
    }
    {
      const MutexLock lock(waiting->mutex);
      ++waiting->missing;
    }
    const_cast<LazySource*>(this)->wait_for(part.run, part.from, part.count, for_parser, [waiting](int error) {
      const MutexLock lock(waiting->mutex);
      --waiting->missing;
      waiting->error = waiting->error == 0 ? error : waiting->error;
      waiting->changed.notify_all();
    });
  }
  MutexLock lock(waiting->mutex);
  while (waiting->missing > 0 && waiting->error == 0) {
    (void)lock.wait_for(waiting->changed, kSignalInterval);
    throw_if_cancelled();
  }
  return waiting->error;
}

BlockRange LazySource::blocks_for(const ByteRun& run, std::uint64_t from, std::uint64_t count) const {
  return is_checked_first(run) ? SparseFile::blocks_of(run.offset, run.length)
                               : SparseFile::blocks_of(run.offset + from, count);
}

bool LazySource::is_here(const ByteRun& run, std::uint64_t from, std::uint64_t count) const {
  return is_in_file(run, from, count) || is_held(run, from, count);
}

bool LazySource::is_in_file(const ByteRun& run, std::uint64_t from, std::uint64_t count) const {
  switch (state()) {
    case State::kWhole:
      return true;
    case State::kTampered:
      return false;
    case State::kLazy:
      break;
  }
  if (!file_->has(blocks_for(run, from, count))) {
    return false;
  }
  // A long run is checked once all of it is here.
  return run.sha256.empty() || (!is_checked_first(run) && !file_->has(run.offset, run.length)) || is_checked(run);
}

void LazySource::when_here(const ByteRun& run, std::uint64_t from, std::uint64_t count, Arrival then) const {
  if (state() == State::kTampered || !is_within(run, file_->size())) {
    then(EIO);
    return;
  }
  const_cast<LazySource*>(this)->wait_for(run, from, count, false, std::move(then));
}

void LazySource::wait_for(const ByteRun& run, std::uint64_t from, std::uint64_t count, bool for_parser, Arrival then) {
  const Clock::time_point now = Clock::now();
  Waiter waiter{.run = run,
                .hash = {},
                .blocks = blocks_for(run, from, count),
                .wanted = {},
                .is_whole = is_checked_first(run),
                .is_for_parser = for_parser,
                .since = now,
                .then = std::move(then),
                .held = {}};
  if (!run.sha256.empty()) {
    std::memcpy(waiter.hash.data(), run.sha256.data(), std::min(waiter.hash.size(), run.sha256.size()));
  }
  waiter.wanted = waiter.blocks;
  recorder_.note(waiter.blocks);
  bool fails = false;
  {
    const MutexLock lock(mutex_);
    // The server was asked a moment ago, in vain.
    fails = health_.is_down() && now < health_.next() && !file_->has(waiter.blocks);
    if (!fails) {
      const Clock::time_point readers_until = std::exchange(last_wait_, now) + kReadersStay;
      if (const BlockRange missing = file_->missing(waiter.blocks); !missing.empty()) {
        near_.missed(waiter.blocks);
        if (now >= readers_until) {
          size_.shrink();
        }
        const bool in_parts = for_parser || is_fetched_in_background();
        const BlockRange asked = in_parts ? part_around(waiter.blocks) : waiter.blocks;
        const std::uint64_t ahead = read_ahead_.missed(asked, in_parts ? kPart : 1);
        waiter.wanted = {asked.first, std::min(asked.end() + ahead, file_->blocks()) - asked.first};
      }
      waiters_.push_back(std::move(waiter));
    }
  }
  LazyCounters& counters = fetcher_->counters();
  counters.reads.fetch_add(1, std::memory_order_relaxed);
  if (fails) {
    counters.failed_reads.fetch_add(1, std::memory_order_relaxed);
    counters.waits.add(Clock::duration::zero());
    waiter.then(EIO);
    return;
  }
  fetcher_->wake();
}

void LazySource::reader_came_to(BlockRange read) {
  {
    const MutexLock lock(mutex_);
    const BlockRange ahead = read_ahead_.reached(read);
    if (ahead.empty() || ahead.first >= file_->blocks()) {
      return;
    }
    last_wait_ = Clock::now();
    ahead_.push_back({ahead.first, std::min(ahead.count, file_->blocks() - ahead.first)});
  }
  fetcher_->wake();
}

void LazySource::deliver(Clock::time_point now, Clock::time_point& again) {
  CacheRoom& room = fetcher_->room();
  std::vector<Waiter> ready;
  bool gives_up = false;
  std::string why;
  {
    const MutexLock lock(mutex_);
    const auto deadline_of = [this](const Waiter& waiter) { return waiter.since + fetcher_->patience(); };
    const bool tampered = state() == State::kTampered;
    for (auto at = waiters_.begin(); at != waiters_.end();) {
      const bool here = file_->has(at->blocks) || (!at->is_for_parser && find_held(at->blocks, at->is_whole, at->held));
      const bool no_room = !here && at->is_for_parser && room.is_out();
      const bool late = !here && (now >= deadline_of(*at) || (health_.is_down() && now < health_.next()));
      if (!here && !late && !tampered && !no_room) {
        again = std::min(again, deadline_of(*at));
        ++at;
        continue;
      }
      at->error = here && !tampered ? 0 : (no_room ? ENOSPC : EIO);
      gives_up = gives_up || (late && (health_.error() || !room.is_out()) && health_.give_up());
      if (const std::uint64_t needed = at->blocks.end(); here && needed < at->wanted.end()) {
        ahead_.push_back({needed, at->wanted.end() - needed});  // a request for all of it may not have begun
      }
      ready.push_back(std::move(*at));
      at = waiters_.erase(at);
    }
    why = health_.error() ? std::string(health_.error()->what()) : "no answer";
  }
  if (gives_up) {
    log::warn("{}: files that aren't here yet can't be read until the server answers: {}", options_.remote.name, why);
  }
  LazyCounters& counters = fetcher_->counters();
  for (Waiter& waiter : ready) {
    if (waiter.error == 0 && !waiter.run.sha256.empty()) {
      waiter.run.sha256 = std::as_bytes(std::span(waiter.hash));
      try {
        waiter.error = waiter.held.empty() ? check(waiter.run)
                       : waiter.is_whole   ? check_held(waiter.run, waiter.held.front())
                                           : 0;
      } catch (const std::exception&) {
        log::debug("{}: {}", options_.remote.name, current_error());
        waiter.error = EIO;
      }
    }
    counters.waits.add(Clock::now() - waiter.since);
    if (waiter.error != 0) {
      counters.failed_reads.fetch_add(1, std::memory_order_relaxed);
    }
    waiter.then(waiter.error);
  }
  if (!room.is_out() && !fetcher_->memory().is_empty()) {
    fetcher_->memory().remove_idle();
  }
}

}  // namespace pkgfs
