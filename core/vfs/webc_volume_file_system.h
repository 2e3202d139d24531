// SPDX-License-Identifier: MIT
#pragma once

#include <cerrno>
#include <memory>
#include <unordered_set>
#include <utility>

#include "core/base/thread_annotations.h"
#include "core/vfs/file_system.h"
#include "core/webc/volume.h"

namespace pkgfs::vfs {

struct VolumeOptions {
  /// Check a file's SHA-256 when it is first opened, if the container has one; EIO if it differs.
  bool verify_on_open = false;
  /// Files may be programs (Attributes::may_be_program).
  bool detect_executables = false;
  /// Modified time, in seconds, of entries that have none: versions 1 and 2.
  std::int64_t default_modified = 1;
  /// Files and links with a stored hash but without a time have one made of the hash (digest_time.h). A stored time of
  /// 0 counts as none.
  bool digest_times = false;
};

/// One volume of one container. Decodes the mapped file at each call and keeps nothing, since the layers above do.
/// `lookup` takes time linear in the size of the directory. Its answer and a listing tell an entry's number, `metadata`
/// only the root's.
class WebcVolumeFileSystem final : public FileSystem {
 public:
  explicit WebcVolumeFileSystem(std::shared_ptr<const webc::Volume> volume, const VolumeOptions& options = {});

  [[nodiscard]] Inode root() const override;
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) override;
  [[nodiscard]] Result<void> list_stored(Inode dir, std::uint64_t from, StoredVisitor visit) override;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) override;
  [[nodiscard]] Result<Extent> extent(Inode inode) override;
  [[nodiscard]] bool is_immutable() const override { return !options_.verify_on_open; }
  [[nodiscard]] Result<Origin> origin(Inode inode) override;
  [[nodiscard]] std::uint64_t numbers() const override { return volume_->numbers(); }
  [[nodiscard]] Result<std::string> path_of_number(std::uint64_t number) override;
  [[nodiscard]] std::uint64_t fingerprint() const override { return volume_->fingerprint(); }
  [[nodiscard]] bool is_intact(Inode /*inode*/) override { return volume_->source()->is_intact(); }

 private:
  [[nodiscard]] std::int64_t modified(const webc::EntryInfo& info) const;
  [[nodiscard]] Attributes attributes(const webc::EntryInfo& info, std::uint64_t number) const;
  [[nodiscard]] Result<void> check_content(webc::EntryRef ref, const webc::EntryInfo& info);

  /// `answer`, or EIO if the container was changed in place before its bytes were read for the answer.
  template <typename T>
  [[nodiscard]] Result<T> if_intact(Result<T> answer) const {
    if (!volume_->source()->is_intact()) {
      read_faults::count(read_faults::Cause::kChanged);
      return fail(EIO);
    }
    return answer;
  }
  /// Whether the checksum of this file is known to be right. Forgets everything if the container's times have changed.
  [[nodiscard]] bool is_verified(webc::EntryRef ref);

  std::shared_ptr<const webc::Volume> volume_;
  VolumeOptions options_;
  Mutex verified_mutex_;
  std::uint64_t verified_stamp_ PKGFS_GUARDED_BY(verified_mutex_) = 0;             // ByteSource::stamp
  std::unordered_set<webc::EntryRef> verified_ PKGFS_GUARDED_BY(verified_mutex_);  // files whose checksum was right
  std::unordered_set<webc::EntryRef> told_ PKGFS_GUARDED_BY(verified_mutex_);      // and those whose wasn't
};

}  // namespace pkgfs::vfs
