// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"
#include "fuse/shared_memory.h"

namespace pkgfs::fuse {

/// Records of any length with a number, the key, and counters, in memory that outlives the daemon: a memfd.
///
/// The layout is fixed: a header, the counters, a table of places, and blocks for the bytes. Nothing takes memory
/// before it is used, except for the counters. A record is written to a free place and to free blocks. Only then, one
/// store makes it count, and a second one makes the record before it with the same key count no more. So a daemon may
/// be killed between any two writes. A successor takes a record only if its blocks are its own and its sum is right; of
/// two with one key, the later one. The counters are for any thread; all else is for one thread at a time. Move-only.
class KeptRecords {
 public:
  static constexpr std::size_t kCounters = 4096;
  static constexpr std::size_t kPlaces = 1U << 15U;
  static constexpr std::size_t kBlockBytes = 256;
  static constexpr std::size_t kBlocks = 1U << 17U;                 // 32 MiB
  static constexpr std::size_t kMostBytes = std::size_t{1} << 20U;  // of a record

  /// Throws Error if there is no memory or no descriptor.
  [[nodiscard]] static KeptRecords create();
  /// Those of an earlier daemon. Throws Error(kCorrupt or kUnsupported) if `file` isn't one of this layout.
  [[nodiscard]] static KeptRecords adopt(UniqueFd file);
  /// For a successor. Owned by this object.
  [[nodiscard]] int fd() const { return memory_.fd(); }

  /// False: there is no room or no memory. Then no record has the key.
  [[nodiscard]] bool put(std::uint64_t key, std::string_view bytes) noexcept;
  void erase(std::uint64_t key) noexcept;
  /// Sets the count of a record, if there is one with this key. It is 0 at first, and stays when the record is
  /// replaced.
  void set_count(std::uint64_t key, std::uint64_t count) noexcept;
  using Visitor = std::function<void(std::uint64_t key, std::string_view bytes, std::uint64_t count)>;
  /// Visits all records, also those of an earlier daemon, which were checked by `adopt`. No other process may write
  /// meanwhile. `bytes` are valid during the call.
  void visit(const Visitor& visitor) const;
  [[nodiscard]] std::atomic<std::uint64_t>& counter(std::size_t index);
  /// One more counter, for the last number that the caller has given out. 0 at first.
  [[nodiscard]] std::atomic<std::uint64_t>& last();

 private:
  struct Layout;
  struct Place;
  explicit KeptRecords(SharedMemory memory);
  void adopt_records();
  /// Whether there is a record in a place, and its blocks.
  [[nodiscard]] bool is_record(std::uint32_t place, std::vector<std::uint32_t>& blocks) const;
  /// A free place, or block. None: kPlaces or kBlocks.
  [[nodiscard]] std::uint32_t take_place();
  [[nodiscard]] std::uint32_t take_block();
  void free_place(std::uint32_t place) noexcept;

  SharedMemory memory_;
  Layout* layout_;                                 // in `memory_`
  std::map<std::uint64_t, std::uint32_t> places_;  // by key
  std::vector<std::uint32_t> free_places_;         // below `fresh_place_`
  std::vector<std::uint32_t> free_blocks_;
  std::uint32_t fresh_place_ = 0;  // from this one on, none was used
  std::uint32_t fresh_block_ = 0;
  std::uint64_t serial_ = 0;
};

}  // namespace pkgfs::fuse
