// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"
#include "core/vfs/served_journal.h"
#include "fuse/kept_records.h"

namespace pkgfs {

/// A note as text of bytes, for another process. Without a recipe that another process can read, without one.
[[nodiscard]] std::string write_note(const vfs::ServedNote& note);
/// Nothing if `bytes` aren't what `write_note` writes.
[[nodiscard]] std::optional<vfs::ServedNote> read_note(std::string_view bytes);

/// The journal of a served directory, in memory that the keeper holds, too (fuse::KeptRecords). A tree's recipe is a
/// PackageRecipe. If the journal is full, says so once in the log.
class DirectoryJournal final : public vfs::ServedJournal {
 public:
  /// Throws Error.
  DirectoryJournal() : records_(fuse::KeptRecords::create()) {}
  /// The journal of a daemon that has ended. Throws Error.
  explicit DirectoryJournal(UniqueFd file) : records_(fuse::KeptRecords::adopt(std::move(file))) {}
  /// A copy of the journal of a daemon that was stopped (SIGSTOP), and may go on instead of this one. That daemon gives
  /// out none of the inodes of this one then. It closes no package, and gives no slot to another one, of which the
  /// kernel may have learned an inode from this one. Throws Error.
  [[nodiscard]] static std::unique_ptr<DirectoryJournal> copy_of(UniqueFd file);
  /// The other daemon has ended.
  void is_alone_now() { other_.reset(); }

  [[nodiscard]] std::vector<vfs::ServedNote> notes() const;
  /// For a successor. Owned by this object.
  [[nodiscard]] int fd() const { return records_.fd(); }

  [[nodiscard]] vfs::Inode next_inode() override;
  void put(const vfs::ServedNote& note) noexcept override;
  void count(vfs::Inode inode, std::uint64_t references) noexcept override { records_.set_count(inode, references); }
  void erase(vfs::Inode inode) noexcept override { records_.erase(inode); }
  [[nodiscard]] std::atomic<std::uint64_t>& references(std::size_t slot) override { return records_.counter(slot); }

 private:
  fuse::KeptRecords records_;
  std::optional<fuse::KeptRecords> other_;  // of the stopped daemon
  bool is_full_ = false;
};

}  // namespace pkgfs
