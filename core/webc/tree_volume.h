// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "core/webc/tree.h"

namespace pkgfs::webc {

/// A volume of any version over its `Tree`.
///
/// Directories that are reached twice. Writers store a subtree right behind its directory, so every directory has a
/// range that ends where its next sibling begins, and a child reference that lies in the slot of its own record can't
/// be met a second time: sound containers need no memory of what was seen, the range travels in the EntryRef (offset in
/// the low half, end in the high half). The first reference outside its range starts one scan of all tables; in it the
/// references inside their ranges own their directories, then the others in stored order what is left and overlaps
/// nothing. Whoever doesn't own gets EIO, in whatever order a user looks. Version 1 stores breadth first; there every
/// nested directory is "outside".
class TreeVolume final : public Volume {
 public:
  TreeVolume(std::string name, std::shared_ptr<const ByteSource> source, std::unique_ptr<Tree> tree);

  [[nodiscard]] Result<EntryInfo> info(EntryRef ref) const override;
  [[nodiscard]] Result<void> list(EntryRef dir, FunctionRef<bool(const DirRecord&)> visit) const override;
  [[nodiscard]] const Tree& tree() const { return *tree_; }

 private:
  struct Slot;
  using Owners = std::unordered_map<std::uint64_t, std::uint64_t>;  // start of a table -> record that owns it

  Decoded<void> visit_slots(std::uint64_t entry, std::uint64_t limit, FunctionRef<bool(const Slot&)> visit) const;
  [[nodiscard]] Owners scan() const;
  [[nodiscard]] const Owners& owners() const;
  void report(const Problem& problem) const;

  std::unique_ptr<Tree> tree_;
  mutable std::once_flag scanned_;
  mutable Owners owners_;
  mutable std::mutex reported_mutex_;
  mutable std::unordered_set<std::uint64_t> reported_;
};

}  // namespace pkgfs::webc
