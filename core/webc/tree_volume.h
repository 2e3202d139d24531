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
/// A hostile header can make two directories contain the same one, or a directory contain itself. Such a directory has
/// one owner; every other reference to it answers EIO, whatever a reader lists first. The owner is found so:
/// - Writers of versions 2 and 3 store a subtree right behind its directory. Every directory so has a range of the
///   header, which ends where its next sibling begins. A reference inside the range of its own record can have no
///   second owner, so a sound container needs no memory of the directories that were seen. The EntryRef carries the
///   range: the offset in its low half, the end in its high half.
/// - The first reference outside its range starts one scan of all tables. References inside their ranges own their
///   directories. The others follow in stored order; each owns its directory unless that overlaps one with an owner.
/// - Version 1 stores breadth first, so there every nested directory is outside its range.
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
  /// The record that owns the directory with a table at `table`, both as offsets of the header.
  struct Owner {
    std::uint32_t table = 0;
    std::uint32_t record = 0;
  };
  using Owners = std::vector<Owner>;  // sorted by `table`; 8 bytes for each directory of version 1

  /// False if the directory's range tells that no record below it has this number.
  [[nodiscard]] bool may_hold(EntryRef dir, std::uint64_t number) const;
  /// With `prune`, skips directories whose range doesn't have the number.
  [[nodiscard]] Result<std::string> search(std::uint64_t number, bool prune) const;
  /// `position`: of a DirRecord. The low half is the record's offset, the high half the end of the ranges before it.
  Decoded<void> visit_slots(std::uint64_t entry, std::uint64_t limit, std::uint64_t position,
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
