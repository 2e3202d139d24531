// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/webc/tree.h"

namespace pkgfs::webc {

/// A volume of any version over its `Tree`. Thread-safe.
///
/// In a hostile header, two directories can contain the same directory, or a directory can contain itself. Such a
/// directory has one owner: a record. Every other record that leads to it has the error EIO, whichever record a reader
/// lists first. The owner is found so:
/// - Writers of versions 2 and 3 store a subtree right behind its directory. So every directory has a range of the
///   header. It begins at the directory, and ends where the next sibling begins or where the parent's range ends.
/// - A record is regular if its directory lies behind the ranges of the earlier siblings, and ends inside its own
///   range. It owns the directory, because no other regular record can lead there. So a sound container of version 2 or
///   3 needs no memory of the directories that were seen. The EntryRef has the range: the offset in its low half, the
///   end in its high half.
/// - The first record that isn't regular starts one scan of all tables. The irregular records follow in stored order.
///   Each owns its directory, unless that overlaps a directory with an owner.
/// - Version 1 stores breadth first, so there every record of a nested directory is irregular.
class TreeVolume final : public Volume {
 public:
  TreeVolume(std::string name, std::shared_ptr<const ByteSource> source, std::unique_ptr<Tree> tree);

  [[nodiscard]] Result<EntryInfo> info(EntryRef ref) const override;
  using Volume::list;
  [[nodiscard]] Result<void> list(EntryRef dir, std::uint64_t position,
                                  FunctionRef<bool(const DirRecord&)> visit) const override;
  [[nodiscard]] std::uint64_t numbers() const override { return number_at(tree_->parts().header_length); }
  [[nodiscard]] Result<std::string> path_of_number(std::uint64_t number) const override;
  [[nodiscard]] std::uint64_t fingerprint() const override;
  [[nodiscard]] const Tree& tree() const { return *tree_; }

 private:
  /// The number of the record at `offset` of the header.
  [[nodiscard]] std::uint64_t number_at(std::uint64_t offset) const { return (offset >> record_bits_) + 2; }

  struct Slot;
  /// These decode as the functions of Tree, and check that the bytes weren't lost: `Problem::lost`.
  [[nodiscard]] Decoded<EntryInfo> entry_at(std::uint64_t entry) const;
  [[nodiscard]] Decoded<ByteRange> table_at(std::uint64_t entry) const;
  [[nodiscard]] Decoded<Child> next(Cursor& cursor) const;
  /// Whether what was read of the directory at `entry` since `before` (lost_pages::events) is what the file has.
  [[nodiscard]] bool is_right(std::uint64_t entry, std::uint64_t before) const;
  /// The record that owns the directory with a table at `table`, both as offsets of the header.
  struct Owner {
    std::uint32_t table = 0;
    std::uint32_t record = 0;
  };
  using Owners = std::vector<Owner>;  // sorted by `table`; 8 bytes for each directory of version 1

  /// False if the range of the directory `dir` tells that no record below it has this number.
  [[nodiscard]] bool may_hold(EntryRef dir, std::uint64_t number) const;
  /// Finds the path of the record with this number. With `prune`, skips directories whose range can't have the number.
  [[nodiscard]] Result<std::string> search(std::uint64_t number, bool prune) const;
  /// Calls `visit` for the usable records of the directory at `entry`, until it returns false. `limit` is the end of
  /// the directory's range. `position` is that of a DirRecord, or 0. Its low half is the offset of the record; its high
  /// half is the end of the ranges before it.
  Decoded<void> visit_slots(std::uint64_t entry, std::uint64_t limit, std::uint64_t position,
                            FunctionRef<bool(const Slot&)> visit) const;
  /// With `kCareful`, checks each decoded part for lost pages. Without, calls the other one as soon as a page is lost.
  template <bool kCareful>
  Decoded<void> visit_slots_as(std::uint64_t entry, std::uint64_t limit, std::uint64_t position,
                               FunctionRef<bool(const Slot&)> visit) const;
  /// The owners of all directories that lie outside of their ranges. Fails only if bytes are lost.
  [[nodiscard]] Decoded<Owners> scan() const;
  /// Whether the record `record` owns the directory with the table `table`. EIO if that can't be read.
  [[nodiscard]] Result<bool> is_owner(std::uint64_t table, std::uint64_t record) const;
  void report(const Problem& problem) const;

  std::unique_ptr<Tree> tree_;
  unsigned record_bits_;
  mutable Mutex scan_mutex_;  // held during a scan
  mutable std::atomic<bool> scanned_{false};
  mutable Owners owners_;  // written once, before `scanned_`
  mutable Mutex reported_mutex_;
  mutable std::unordered_set<std::uint64_t> reported_ PKGFS_GUARDED_BY(reported_mutex_);  // offsets
};

}  // namespace pkgfs::webc
