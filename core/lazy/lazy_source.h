// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/base/byte_source.h"
#include "core/base/hash.h"
#include "core/base/thread_annotations.h"
#include "core/lazy/access_recorder.h"
#include "core/lazy/block_fetcher.h"
#include "core/lazy/block_memory.h"
#include "core/lazy/near_fetch.h"
#include "core/lazy/offset_set.h"
#include "core/lazy/read_ahead.h"
#include "core/lazy/remote_file.h"
#include "core/lazy/request_size.h"
#include "core/lazy/server_health.h"
#include "core/lazy/sparse_file.h"
#include "core/net/range_request.h"

namespace pkgfs {

/// The bytes of a container that is fetched over HTTP while it is used. A missing block is fetched when a reader needs
/// it. Blocks that no reader needs are fetched in the background. Once all blocks are here, the SHA-256 of the whole
/// file is compared with the one that the registry announced, if there is one. Then the file becomes an entry of the
/// cache, and this source behaves like a MappedFile.
///
/// Before that, `read_run` compares the stored hash of a run of at most `kCheckedFirst` bytes before it gives the first
/// of them. A longer run is compared at the first read of it that finds all of its blocks here. If its hash is wrong,
/// no byte of the run is given any more until all of its blocks were fetched anew and its hash is right.
///
/// While the cache has no room, or can't be written, `read_run` gives bytes from memory (BlockMemory). The background
/// then fetches nothing, and `need` fails.
///
/// A read waits at most BlockFetcher::patience, and then fails. Until the server answers again, further reads of
/// missing blocks fail, too, often without a wait. If the server is gone for a shorter time, reads only take longer.
class LazySource final : public ByteSource, public FetchClient, public std::enable_shared_from_this<LazySource> {
 public:
  static constexpr std::uint64_t kCheckedFirst = 8U << 20U;
  /// The blocks of a part of the container. The background will fetch all of it, and a parser reads on: then a request
  /// has whole parts, because its bytes cost little beside its round trip. Else it has only what a reader asked for.
  static constexpr std::uint64_t kPart = SparseFile::blocks_in(64U << 10U);
  /// After a reader missed bytes, others are expected for this time.
  static constexpr auto kReadersStay = std::chrono::seconds(10);

  enum class State : std::uint8_t {
    kLazy,      // some blocks are at the server, or the whole file isn't checked yet
    kWhole,     // complete, checked, and in the cache
    kTampered,  // complete, but with another hash than announced: everything fails with EIO
  };

  struct Options {
    RemoteFile remote;
    std::optional<Sha256> hash;  // announced; none for a container that is only named by a URL
    /// Moves the complete file, which has this hash, into the cache. Throws Error.
    std::function<void(SparseFile& file)> keep;
    /// The limit for what is fetched in the background, in bytes a second. 0: nothing is; none: no limit.
    std::optional<std::uint64_t> background_rate;
    /// A user waits for the whole file: after a failure, the background asks again as soon as a reader would.
    bool is_urgent = false;
    /// What readers needed in earlier mounts of this container. Checked, and of the file's size, or empty.
    AccessProfile profile;
    /// Stores a profile for the next mount. Throws Error. May be empty.
    std::function<void(const AccessProfile& profile)> keep_profile;
  };

  /// `file` is of the version that the server has. Throws Error if it can't be mapped. The users of the source are the
  /// result and its copies. When the last one is gone, what is being fetched or hashed ends, and nothing more is
  /// fetched: only the threads of the fetcher may hold the source then, for a moment. What is here stays for a later
  /// source. It survives a power cut only if `save_blocks` was called before.
  [[nodiscard]] static std::shared_ptr<LazySource> make(std::shared_ptr<SparseFile> file, Options options,
                                                        std::shared_ptr<BlockFetcher> fetcher);
  ~LazySource() override;

  [[nodiscard]] const std::string& name() const override { return mapped_->name(); }
  [[nodiscard]] std::span<const std::byte> bytes() const override { return mapped_->bytes(); }
  [[nodiscard]] bool damaged() const override;
  [[nodiscard]] bool is_intact() const override;
  [[nodiscard]] std::uint64_t stamp() const override;
  [[nodiscard]] Result<void> read(std::uint64_t offset, std::span<std::byte> out) const override;
  [[nodiscard]] Result<void> read_run(const ByteRun& run, std::uint64_t from, std::span<std::byte> out) const override;
  [[nodiscard]] bool read_at_once(const ByteRun& run, std::uint64_t from, std::span<std::byte> out) const override;
  void need(std::span<const ByteRun> runs) const override;
  [[nodiscard]] bool is_here(const ByteRun& run, std::uint64_t from, std::uint64_t count) const override;
  void when_here(const ByteRun& run, std::uint64_t from, std::uint64_t count, Arrival then) const override;

  void deliver(Clock::time_point now, Clock::time_point& again) override;
  Job next_job(Priority priority, Clock::time_point now, Clock::time_point& again) override;

  [[nodiscard]] State state() const { return state_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t bytes_here() const {
    return state() == State::kLazy ? file_->bytes_present() : file_->size();
  }
  /// The version of the file at the server that this is a copy of.
  [[nodiscard]] const SparseFile::Version& version() const { return file_->version(); }
  /// Lets the rest be fetched in the background from now on, for all sources of the same LazyOpener.
  void begin_background() const { fetcher_->begin_background(); }
  /// The container is open, and readers come: fetches what they needed in earlier mounts, and records what they need.
  void begin_reading() PKGFS_EXCLUDES(mutex_);
  /// Syncs what came and wasn't synced yet. Else it is synced some seconds after it came.
  void save_blocks() noexcept PKGFS_EXCLUDES(mutex_);
  /// Keeps what readers needed, unless that hasn't changed. It is also kept some seconds after a change.
  void save_profile() noexcept PKGFS_EXCLUDES(profile_mutex_);
  /// The complete and checked file; null before.
  [[nodiscard]] const MappedFile* whole_file() const { return state() == State::kWhole ? whole_.get() : nullptr; }
  /// Calls `then` once the file is complete, checked and in the cache: now, or later in a thread of the fetcher. `then`
  /// must not block.
  void when_whole(std::function<void()> then) PKGFS_EXCLUDES(mutex_);
  /// Why missing bytes don't come or, if all are here and have the right hash, why the file can't be moved into the
  /// cache. Empty if there is no such problem.
  [[nodiscard]] std::string problem() const PKGFS_EXCLUDES(mutex_);
  /// Whether blocks that no reader needs are fetched, too.
  [[nodiscard]] bool is_fetched_in_background() const { return options_.background_rate != 0; }
  /// Of all sources of the same LazyOpener.
  [[nodiscard]] const LazyCounters& counters() const { return fetcher_->counters(); }
  [[nodiscard]] const std::string& package() const { return options_.remote.name; }

 private:
  using Pieces = std::vector<std::shared_ptr<const BlockMemory::Piece>>;

  struct Waiter {
    ByteRun run;
    Sha256 hash{};               // of the run, if it has one
    BlockRange blocks;           // that it waits for
    BlockRange wanted;           // these, and what is read ahead: it moves to `ahead_` when the wait ends
    bool is_whole = false;       // `blocks` are those of the whole run, which must be checked
    bool is_for_parser = false;  // `blocks` must be in the file
    Clock::time_point since;
    Arrival then;
    int error = 0;
    Pieces held;  // with the blocks that aren't in the file
  };

  LazySource(std::shared_ptr<SparseFile> file, Options options, std::shared_ptr<BlockFetcher> fetcher);

  /// `count` bytes of a run from its byte `from`.
  struct Part {
    ByteRun run;
    std::uint64_t from = 0;
    std::uint64_t count = 0;
  };

  /// Waits until all of `parts` are here; for a parser, in the file. Returns 0, or an errno number as
  /// ByteSource::Arrival. Throws Error(kInterrupted) as `throw_if_cancelled`.
  [[nodiscard]] int wait_until_here(std::span<const Part> parts, bool for_parser) const PKGFS_EXCLUDES(mutex_);
  /// Whether the bytes are in the file, and were checked as far as they must be.
  [[nodiscard]] bool is_in_file(const ByteRun& run, std::uint64_t from, std::uint64_t count) const
      PKGFS_EXCLUDES(mutex_);
  /// The blocks that must be here before bytes of the run may be used.
  [[nodiscard]] BlockRange blocks_for(const ByteRun& run, std::uint64_t from, std::uint64_t count) const;
  void wait_for(const ByteRun& run, std::uint64_t from, std::uint64_t count, bool for_parser, Arrival then)
      PKGFS_EXCLUDES(mutex_);
  void reader_came_to(BlockRange read) PKGFS_EXCLUDES(mutex_);
  /// Whether all of the run must be here and checked before a byte of it is given: it is short, or it had wrong bytes.
  [[nodiscard]] bool is_checked_first(const ByteRun& run) const PKGFS_EXCLUDES(mutex_);
  [[nodiscard]] bool is_checked(const ByteRun& run) const PKGFS_EXCLUDES(mutex_);
  /// Compares the stored hash of a run that is here. Forgets its blocks if it differs, so that they are fetched anew.
  [[nodiscard]] int check(const ByteRun& run) PKGFS_EXCLUDES(mutex_);
  /// Counts and logs that a run has another hash than the stored one. Returns what `check` does.
  [[nodiscard]] int wrong_hash(const ByteRun& run) PKGFS_EXCLUDES(mutex_);

  // In lazy_source_jobs.cc and lazy_source_requests.cc.

  [[nodiscard]] Job foreground_job(Clock::time_point now, Clock::time_point& again) PKGFS_REQUIRES(mutex_);
  /// `needed`, and the missing blocks beside it that lie in the same parts (`kPart`) of the container.
  [[nodiscard]] BlockRange part_around(BlockRange needed) const;
  /// `needed`, and blocks beside it that are worth fetching in the same request.
  [[nodiscard]] BlockRange with_neighbours(BlockRange needed) const PKGFS_REQUIRES(mutex_);
  [[nodiscard]] Job background_job(Clock::time_point now, Clock::time_point& again) PKGFS_REQUIRES(mutex_);
  /// A background job while readers miss blocks.
  [[nodiscard]] Job near_job(Clock::time_point now, Clock::time_point& again) PKGFS_REQUIRES(mutex_);
  /// Lets the rate of the background allow the next job later, because this one fetches `blocks`.
  void spend(std::uint64_t blocks, Clock::time_point now) PKGFS_REQUIRES(mutex_);
  [[nodiscard]] Job job_for(SparseFile::Claim claim, Priority priority);
  /// Takes the first blocks out of `ranges` that are neither here nor claimed, for one request, and claims them.
  /// Nothing if there are none: then `ranges` is empty.
  [[nodiscard]] std::optional<SparseFile::Claim> claim_first(std::deque<BlockRange>& ranges) PKGFS_REQUIRES(mutex_);
  /// Asks for a part of the container. Returns whether all of it came. Otherwise notes why not.
  bool ask(std::uint64_t first, std::uint64_t length, HttpClient& client, const CancelFlag& cancel,
           const RangeSink& sink) noexcept PKGFS_EXCLUDES(mutex_);
  struct Fetched {
    std::uint64_t blocks = 0;  // that came
    Clock::duration took{};    // from the first byte to the last
  };
  /// Fetches claimed blocks.
  [[nodiscard]] Fetched fetch(BlockRange range, HttpClient& client, const CancelFlag& cancel) noexcept
      PKGFS_EXCLUDES(mutex_);
  /// Half of `request` has come: asks for what lies behind it, if a reader is about to read that.
  void go_on_behind(BlockRange request) PKGFS_EXCLUDES(mutex_);
  void fetched(const Fetched& came, Priority priority) PKGFS_EXCLUDES(mutex_);
  void answered() PKGFS_EXCLUDES(mutex_);
  [[nodiscard]] Job expected_job(Clock::time_point now, Clock::time_point& again) PKGFS_REQUIRES(mutex_);
  /// Makes the requests for ranges of the profile the next ones that `expected_job` runs.
  void expect(const AccessProfile::Ranges& ranges) PKGFS_EXCLUDES(mutex_);
  void range_refused(const RangeError& error, HttpClient& client, const CancelFlag& cancel) PKGFS_EXCLUDES(mutex_);
  /// Asks for another URL. False: there is none, or it was asked a moment ago.
  [[nodiscard]] bool renew(HttpClient& client, const CancelFlag& cancel) PKGFS_EXCLUDES(mutex_);
  /// Asks the server that `renew` found last.
  [[nodiscard]] RangeRequest request_for(std::uint64_t first, std::uint64_t length) const PKGFS_EXCLUDES(mutex_);
  void save() noexcept PKGFS_EXCLUDES(mutex_);
  /// Lets the complete file become whole. If that isn't possible now, another attempt follows.
  void finish(const CancelFlag& cancel) noexcept PKGFS_EXCLUDES(mutex_);
  /// False if blocks were forgotten, so that the file isn't complete any more. Throws Error.
  [[nodiscard]] bool become_whole(const CancelFlag& cancel) PKGFS_EXCLUDES(mutex_);
  void become_tampered(const Sha256& actual) PKGFS_EXCLUDES(mutex_);

  // In lazy_source_held.cc, but for `check_held`: while the cache has no room.

  /// Finds the pieces in memory with those of `blocks` that aren't in the file. With `as_one`, one piece must have all
  /// blocks. False if some aren't here.
  [[nodiscard]] bool find_held(BlockRange blocks, bool as_one, Pieces& held) const;
  /// The same for a reader, which may use a run only if it was checked as far as it must be.
  [[nodiscard]] bool find_for_reader(const ByteRun& run, std::uint64_t from, std::uint64_t count, Pieces& held) const
      PKGFS_EXCLUDES(mutex_);
  [[nodiscard]] bool is_held(const ByteRun& run, std::uint64_t from, std::uint64_t count) const PKGFS_EXCLUDES(mutex_);
  /// As `read_run`, if the bytes are in memory. Nothing if they aren't.
  [[nodiscard]] std::optional<Result<void>> read_held(const ByteRun& run, std::uint64_t from,
                                                      std::span<std::byte> out) const PKGFS_EXCLUDES(mutex_);
  /// As `check`, of a run in `piece`.
  [[nodiscard]] int check_held(const ByteRun& run, const std::shared_ptr<const BlockMemory::Piece>& piece)
      PKGFS_EXCLUDES(mutex_);
  [[nodiscard]] Job holding_job(Clock::time_point now, Clock::time_point& again) PKGFS_REQUIRES(mutex_);
  /// What of the waiter's blocks is to be fetched into memory; empty if nothing is.
  [[nodiscard]] BlockRange to_hold(const Waiter& waiter) const PKGFS_REQUIRES(mutex_);
  void hold(const std::shared_ptr<BlockMemory::Piece>& piece, HttpClient& client, const CancelFlag& cancel) noexcept
      PKGFS_EXCLUDES(mutex_);
  /// Looks whether the cache has room again.
  [[nodiscard]] Job look_job(Clock::time_point now, Clock::time_point& again) PKGFS_REQUIRES(mutex_);
  void look_for_room(BlockRange claimed) noexcept PKGFS_EXCLUDES(mutex_);

  const std::shared_ptr<SparseFile> file_;
  const std::shared_ptr<BlockFetcher> fetcher_;
  const std::shared_ptr<MappedFile> mapped_;
  Options options_;  // `remote.url` and `remote.bearer` are guarded by `mutex_`
  mutable AccessRecorder recorder_;
  std::atomic<State> state_{State::kLazy};
  CancelFlag unused_;                  // no user is left
  std::shared_ptr<MappedFile> whole_;  // set before `state_` becomes kWhole: refuses changes of the file

  Mutex profile_mutex_;  // held while the profile is written
  mutable Mutex mutex_;
  std::deque<Waiter> waiters_ PKGFS_GUARDED_BY(mutex_);
  std::deque<BlockRange> ahead_ PKGFS_GUARDED_BY(mutex_);     // to fetch, but no reader waits for it
  std::deque<BlockRange> expected_ PKGFS_GUARDED_BY(mutex_);  // requests for what the profile has
  ReadAhead read_ahead_;                                      // guarded by `mutex_`, but for ReadAhead::is_marked
  NearFetch near_ PKGFS_GUARDED_BY(mutex_);
  RequestSize size_ PKGFS_GUARDED_BY(mutex_);                  // of requests of the background
  std::set<std::uint64_t> suspects_ PKGFS_GUARDED_BY(mutex_);  // offsets of runs that had wrong bytes
  std::atomic<bool> has_suspects_{false};
  OffsetSet checked_ PKGFS_GUARDED_BY(mutex_);                // runs whose hash was right
  std::uint64_t checked_at_ PKGFS_GUARDED_BY(mutex_) = 0;     // SparseFile::generation for which `checked_` is valid
  std::vector<BlockRange> holding_ PKGFS_GUARDED_BY(mutex_);  // what is being fetched into memory
  ServerHealth health_ PKGFS_GUARDED_BY(mutex_);
  Clock::time_point last_wait_ PKGFS_GUARDED_BY(mutex_);      // when a reader last missed bytes
  Clock::time_point last_expected_ PKGFS_GUARDED_BY(mutex_);  // when a request for the profile last began
  Clock::time_point last_renewal_ PKGFS_GUARDED_BY(mutex_);
  Clock::time_point last_save_ PKGFS_GUARDED_BY(mutex_);
  Clock::time_point rate_free_ PKGFS_GUARDED_BY(mutex_);  // when the rate allows the next background job
  std::uint64_t unsaved_ PKGFS_GUARDED_BY(mutex_) = 0;    // bytes that came since the last `save`
  std::uint64_t cursor_ PKGFS_GUARDED_BY(mutex_) = 0;     // the block where the background goes on
  std::function<void()> when_whole_ PKGFS_GUARDED_BY(mutex_);
  std::string unkept_ PKGFS_GUARDED_BY(mutex_);  // why the complete file isn't in the cache
  bool is_saving_ PKGFS_GUARDED_BY(mutex_) = false;
  bool is_saving_profile_ PKGFS_GUARDED_BY(mutex_) = false;
  bool is_finishing_ PKGFS_GUARDED_BY(mutex_) = false;
  Clock::time_point finish_after_ PKGFS_GUARDED_BY(mutex_);
};

}  // namespace pkgfs
