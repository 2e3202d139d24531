// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/thread_annotations.h"
#include "core/lazy/block_memory.h"
#include "core/lazy/cache_room.h"
#include "core/lazy/lazy_counters.h"

namespace pkgfs {

class HttpClient;

/// A container that a BlockFetcher works for. The fetcher calls all functions in its threads, several at once.
class FetchClient {
 public:
  using Clock = std::chrono::steady_clock;
  using Job = std::function<void(HttpClient& client, const CancelFlag& cancel)>;
  enum class Priority : std::uint8_t {
    kForeground,  // what readers wait for
    kExpected,    // what they will probably ask for soon
    kBackground,
  };

  virtual ~FetchClient() = default;
  /// Ends the wait of each reader whose bytes came, or whose time is over. If this function must be called again before
  /// `again`, sets `again` to that time.
  virtual void deliver(Clock::time_point now, Clock::time_point& again) = 0;
  /// Work that may wait for the network or the disk, and ends soon after `cancel`; empty if there is none now. It must
  /// not throw. If there may be work before `again`, sets `again` to that time.
  virtual Job next_job(Priority priority, Clock::time_point now, Clock::time_point& again) = 0;
};

/// The threads that fetch blocks of lazy containers, and their HTTP client. A process has one, which all its containers
/// share. The threads start when there is work. Thread-safe.
class BlockFetcher {
 public:
  struct Options {
    std::function<std::shared_ptr<HttpClient>()> make_client;
    /// How many jobs of each priority run at a time.
    std::array<unsigned, 3> jobs{8, 8, 2};
    /// How long a reader waits for bytes before it fails.
    std::chrono::milliseconds patience{30'000};
    /// Removes what the user allows from the cache, because its disk is full. Returns whether that freed bytes. May be
    /// empty.
    std::function<bool()> free_room = {};
  };

  /// One of the fetcher's own threads may drop the last reference.
  [[nodiscard]] static std::shared_ptr<BlockFetcher> make(Options options);
  BlockFetcher(const BlockFetcher&) = delete;
  BlockFetcher& operator=(const BlockFetcher&) = delete;

  /// Uses `http` instead of a client of its own, because it has connections already.
  void lend(std::shared_ptr<HttpClient> http);
  /// Works for `client` from now on, as long as it exists.
  void add(const std::weak_ptr<FetchClient>& client);
  /// Makes a thread look for work. If no thread can be started, and none runs, logs that: then readers wait in vain.
  void wake() noexcept;
  /// Ends all threads, also that of the HTTP client, and returns when they have ended: the process may fork then.
  /// Before this function returns, the caller must not call another one. A later `wake` starts threads again, and they
  /// use the connections that are still open (HttpClient::rest).
  void rest() noexcept;
  /// Jobs in the background begin only after this call.
  void begin_background() noexcept;
  /// Whether the calling thread belongs to a fetcher. Such a thread must not wait for bytes.
  [[nodiscard]] static bool is_own_thread();

  [[nodiscard]] std::chrono::milliseconds patience() const { return options_.patience; }
  [[nodiscard]] LazyCounters& counters() { return counters_; }
  /// Of all containers. While there is no room in the cache, what readers need is held in memory.
  [[nodiscard]] CacheRoom& room() { return room_; }
  [[nodiscard]] BlockMemory& memory() { return memory_; }

 private:
  explicit BlockFetcher(Options options);
  ~BlockFetcher();

  using Clock = FetchClient::Clock;
  using Priority = FetchClient::Priority;

  void work() noexcept;
  void end_threads() noexcept;
  /// Calls `deliver` of all clients, and runs a job. False if there was none; `again`: when to look again.
  bool work_once(Clock::time_point& again);
  bool run_job(const std::vector<std::shared_ptr<FetchClient>>& clients, Priority priority, Clock::time_point now,
               Clock::time_point& again);
  [[nodiscard]] std::vector<std::shared_ptr<FetchClient>> living_clients();

  Options options_;
  LazyCounters counters_;
  CacheRoom room_;
  BlockMemory memory_;
  Mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::weak_ptr<FetchClient>> clients_ PKGFS_GUARDED_BY(mutex_);
  std::size_t turn_ PKGFS_GUARDED_BY(mutex_) = 0;  // which client is asked first: they take turns
  std::vector<std::thread> threads_ PKGFS_GUARDED_BY(mutex_);
  std::array<unsigned, 3> running_ PKGFS_GUARDED_BY(mutex_){};  // jobs of each priority
  std::uint64_t wakes_ PKGFS_GUARDED_BY(mutex_) = 0;
  unsigned idle_ PKGFS_GUARDED_BY(mutex_) = 0;  // threads that wait for work
  bool background_ PKGFS_GUARDED_BY(mutex_) = false;
  /// Once, one more job of the background runs than usual. So there is a connection for the next reader later, and it
  /// doesn't wait a round trip for one.
  bool has_spare_ PKGFS_GUARDED_BY(mutex_) = false;
  bool resting_ PKGFS_GUARDED_BY(mutex_) = false;
  bool told_ PKGFS_GUARDED_BY(mutex_) = false;  // that no thread can be started
  std::shared_ptr<HttpClient> http_;            // made before the first thread
  std::unique_ptr<CancelFlag> cancel_;          // the same, and released after the last
};

}  // namespace pkgfs
