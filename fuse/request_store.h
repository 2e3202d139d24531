// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"
#include "fuse/shared_memory.h"

namespace pkgfs::fuse {

/// The requests that a daemon has taken from the kernel and not yet answered, in memory that outlives it. Linux before
/// 6.9 never sends a request again. There, a successor that adopts this memory can still answer.
///
/// Each server thread, and the watch thread, receives its requests in a slot of its own. The first word of a slot is
/// the length of the request. While it isn't 0, the request is kept. If another thread is to answer a request later,
/// the request is copied out of the slot, to a place elsewhere in the memory. A request may be kept although it was
/// answered: then the kernel ignores the second reply. Thread-safe, except where it says otherwise.
///
/// The memory has two areas with slots and places of their own. A daemon uses one of them. The other one is for a
/// daemon that replaces it while it is stopped (SIGSTOP): each may have to answer what the other one has taken.
class RequestStore {
 public:
  /// The slots of threads: one for each entry of SharedState, and one for the watch thread.
  static constexpr std::size_t kThreads = 65;
  /// The number of places, that is, of requests that can be kept outside the slots.
  static constexpr std::size_t kPlaces = 16384;
  /// The length of a place. Longer requests are BATCH_FORGET, which has no reply, and look-ups of names that no tree
  /// can have. Of these, only the header is kept.
  static constexpr std::size_t kPlaceBytes = 1024;

  /// Keeps a copy of one request as long as this object lives. Move-only. The store must outlive it.
  class Kept {
   public:
    Kept() = default;
    Kept(Kept&& other) noexcept : store_(std::exchange(other.store_, nullptr)), place_(other.place_) {}
    Kept& operator=(Kept&& other) noexcept {
      if (this != &other) {
        release();
        store_ = std::exchange(other.store_, nullptr);
        place_ = other.place_;
      }
      return *this;
    }
    Kept(const Kept&) = delete;
    Kept& operator=(const Kept&) = delete;
    ~Kept() { release(); }

   private:
    friend class RequestStore;
    Kept(RequestStore* store, std::size_t place) : store_(store), place_(place) {}
    void release();

    RequestStore* store_ = nullptr;
    std::size_t place_ = 0;
  };

  /// A request of an earlier daemon.
  struct Recovered {
    std::vector<char> bytes;
    bool is_whole = true;  // false: only the header is known
    Kept kept;
  };

  /// Throws Error if there is no memory or no descriptor for it.
  [[nodiscard]] static std::unique_ptr<RequestStore> create();
  /// The requests in `file`, which another daemon has created. That daemon has ended. Throws Error as
  /// SharedState::adopt does.
  [[nodiscard]] static std::unique_ptr<RequestStore> adopt(UniqueFd file);
  /// The same if the other daemon is stopped, and may go on or be killed. Call `serve` once it was killed.
  [[nodiscard]] static std::unique_ptr<RequestStore> adopt_beside(UniqueFd file);
  RequestStore(const RequestStore&) = delete;
  RequestStore& operator=(const RequestStore&) = delete;
  ~RequestStore() = default;

  /// The descriptor for the successor. Owned by this object, and closed by execve(2).
  [[nodiscard]] int fd() const { return memory_.fd(); }
  /// How many requests of the earlier daemon weren't kept, because there was no place. No daemon can answer them any
  /// more: their readers wait until the connection is aborted. Only before `recover`.
  [[nodiscard]] std::uint64_t lost() const;
  /// The requests of the earlier daemon, oldest first. They stay kept, so that yet another daemon can take over. Checks
  /// only what memory safety needs. Call it at most once, before any thread uses the store (Servers::start).
  [[nodiscard]] std::vector<Recovered> recover();
  /// From now on, this daemon is the one that serves the mount. A daemon that replaces it uses the other area.
  void serve();
  /// The requests of the daemon of the other area, which has ended. Forgets them there. Some may be requests that this
  /// daemon is answering, or has answered already.
  [[nodiscard]] std::vector<Recovered> take_back() PKGFS_EXCLUDES(mutex_);

  // For Servers.

  [[nodiscard]] std::size_t slot_bytes() const { return slot_bytes_; }
  /// The memory in which the thread with this number, below kThreads, receives requests. No request is in it at first.
  /// Null: there is no memory. Locks the first page in memory if possible. If that isn't possible and the thread is
  /// killed while the kernel copies a request, the copy may fail.
  [[nodiscard]] char* open_slot(std::size_t thread);
  /// Forgets the request in a slot.
  static void clear(char* slot);
  /// Copies `request` to a slot. It is kept only once the copy is complete.
  static void put(char* slot, std::span<const char> request);
  /// Keeps a copy of `request`, which must at least have a header. If there is no place, counts it as lost.
  [[nodiscard]] Kept keep(std::span<const char> request) PKGFS_EXCLUDES(mutex_);

 private:
  struct Header;

  struct Area;

  explicit RequestStore(SharedMemory memory);
  [[nodiscard]] static std::size_t all_bytes();
  [[nodiscard]] static std::unique_ptr<RequestStore> open(UniqueFd file);
  [[nodiscard]] Header& header() const;
  [[nodiscard]] Area& area(std::size_t number) const;
  [[nodiscard]] Area& own() const { return area(area_); }
  /// In this daemon's area.
  [[nodiscard]] char* slot(std::size_t thread) const { return slot(area_, thread); }
  [[nodiscard]] char* place(std::size_t index) const { return place(area_, index); }
  [[nodiscard]] char* slot(std::size_t area, std::size_t thread) const;
  [[nodiscard]] char* place(std::size_t area, std::size_t index) const;
  [[nodiscard]] std::size_t offset_of(const char* memory) const;
  /// The requests in the other area, by the number that the kernel gave them.
  [[nodiscard]] std::map<std::uint64_t, Recovered> read_other() const;
  void forget(std::size_t area);
  /// An index below kPlaces, or kPlaces: there is none.
  [[nodiscard]] std::size_t take_place() PKGFS_REQUIRES(mutex_);
  void give_back(std::size_t index) PKGFS_EXCLUDES(mutex_);

  SharedMemory memory_;
  std::size_t slot_bytes_;
  std::size_t area_ = 0;    // of this daemon
  bool is_beside_ = false;  // the daemon of the other area may go on
  Mutex mutex_;
  std::vector<std::uint16_t> free_ PKGFS_GUARDED_BY(mutex_);  // below `used` of the header
};

}  // namespace pkgfs::fuse
