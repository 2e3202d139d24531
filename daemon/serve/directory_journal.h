// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"
#include "core/vfs/served_journal.h"
#include "fuse/kept_records.h"

namespace pkgfs {

/// A note as bytes, for another process. If no other process can read its recipe, that is left out.
[[nodiscard]] std::string write_note(const vfs::ServedNote& note);
/// Nothing if `bytes` aren't what `write_note` writes.
[[nodiscard]] std::optional<vfs::ServedNote> read_note(std::string_view bytes);

/// The journal of a served directory, in memory that the keeper holds, too (fuse::KeptRecords). A tree's recipe is a
/// PackageRecipe. One that is too large for a record is left out of its note: then the package is found anew, and what
/// programs had open in it is stale.
class DirectoryJournal final : public vfs::ServedJournal {
 public:
  /// Throws Error.
  DirectoryJournal() : records_(fuse::KeptRecords::create()) {}
  /// The journal of a daemon that has ended. Throws Error.
  explicit DirectoryJournal(UniqueFd file);
  /// A copy of the journal of a daemon that was stopped (SIGSTOP), and may go on instead of this one. Until
  /// `is_alone_now`, the two keep apart: no inode of a node is given out by both, references are counted in both
  /// journals, and the slots in which the stopped daemon has packages have too high a count here, so that no other
  /// package gets them. Throws Error.
  [[nodiscard]] static std::unique_ptr<DirectoryJournal> copy_of(UniqueFd file);
  /// The other daemon has ended. Call ServedFileSystem::is_alone_now before.
  void is_alone_now() noexcept;

  [[nodiscard]] std::vector<vfs::ServedNote> notes() const;
  /// For a successor. Owned by this object.
  [[nodiscard]] int fd() const { return records_.fd(); }

  [[nodiscard]] vfs::Inode next_inode() override;
  void put(const vfs::ServedNote& note) noexcept override;
  void count(vfs::Inode inode, std::uint64_t references) noexcept override { records_.set_count(inode, references); }
  void erase(vfs::Inode inode) noexcept override { records_.erase(inode); }
  /// Says once that the journal is full, and once of each package that its recipe is too large.
  void report() override;
  [[nodiscard]] std::atomic<std::uint64_t>& references(std::size_t slot) override { return records_.counter(slot); }
  [[nodiscard]] std::atomic<std::uint64_t>* other_references(std::size_t slot) override {
    return other_ ? &other_->counter(slot) : nullptr;
  }

 private:
  fuse::KeptRecords records_;
  /// Of the stopped daemon. It stays mapped, as a thread may still count in it.
  std::optional<fuse::KeptRecords> other_;
  std::set<std::size_t> pinned_;  // the slots of the stopped daemon's packages
  Mutex mutex_;
  bool is_full_ PKGFS_GUARDED_BY(mutex_) = false;
  bool is_full_said_ PKGFS_GUARDED_BY(mutex_) = false;
  std::map<std::string, bool> too_large_ PKGFS_GUARDED_BY(mutex_);  // by path: whether it was said
};

}  // namespace pkgfs
