// SPDX-License-Identifier: MIT
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/unique_fd.h"
#include "core/vfs/walk.h"
#include "daemon/commands/damage.h"

namespace pkgfs {

/// Writes a tree into an empty directory: contents, modes, modification times to the nanosecond, and symbolic links.
/// The owner is the user of the process. It works with file descriptors and follows no symbolic link, even if another
/// process puts one there meanwhile. Throws if an entry can't be written. Throws also if an entry can't be read, unless
/// `Options::keep_going` is set.
class Extractor final : public vfs::TreeVisitor {
 public:
  struct Options {
    std::string name;         // of the directory, for messages
    bool keep_going = false;  // report entries that can't be read to `err`, and leave them out
  };
  /// Takes over `directory`. `fs`, `cancel` and `err` must outlive this.
  Extractor(vfs::FileSystem& fs, UniqueFd directory, Options options, const CancelFlag& cancel, std::ostream& err);

  /// Writes everything; the directory gets the mode and times of the tree's root. Throws Error, kInterrupted if it is
  /// cancelled; what was written then stays in the directory.
  void run();
  [[nodiscard]] const Damage& damage() const { return damage_; }
  [[nodiscard]] std::uint64_t entries() const { return entries_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  bool visit(const vfs::WalkStep& step) override;
  void leave(const vfs::WalkStep& step) override;

 private:
  /// A parent of the current directory; used to recognize it when ".." is opened.
  struct Place {
    dev_t device;
    ino_t inode;
  };

  void enter(const vfs::WalkStep& step);
  void write_file(const vfs::WalkStep& step);
  void write_link(const vfs::WalkStep& step);
  /// Reports that `path` can't be read, or throws.
  void report(std::string_view path, int error);
  void check_cancelled() const;
  void finish_directory(int fd, const vfs::Attributes& attributes, std::string_view path);
  [[noreturn]] void throw_error(std::string_view path, int error) const;

  vfs::FileSystem& fs_;
  UniqueFd here_;
  Options options_;
  const CancelFlag& cancel_;
  Damage damage_;
  std::vector<Place> way_;
  std::uint64_t entries_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace pkgfs
