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

/// Writes a tree into a directory: contents, modes, modification times to the nanosecond, and symbolic links. The owner
/// is the user of the process. It works with file descriptors and follows no symbolic link below the directory, even if
/// another process puts one there meanwhile. A file gets its name when it is complete. An entry that can't be read is
/// reported and left out; a failure to write throws.
class Extractor final : public vfs::TreeVisitor {
 public:
  /// Takes over `directory`. `name` is for messages.
  Extractor(vfs::FileSystem& fs, UniqueFd directory, std::string name, const CancelFlag& cancel, std::ostream& err);

  /// Writes everything. `made` says that the directory is new: it then gets the mode of the tree's root. Throws Error,
  /// kInterrupted if it is cancelled; the complete files then stay in the directory.
  void run(bool made);
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
  /// Calls `make(name)` with new temporary names until it doesn't return EEXIST. Returns the name that worked.
  template <typename Make>
  std::string make_temporary(const vfs::WalkStep& step, Make make);
  void publish(const vfs::WalkStep& step, const std::string& temporary);
  /// A file without a name in the current directory; none if the file system doesn't support that.
  UniqueFd open_unnamed();
  /// Gives the file the name of the step, and replaces an existing entry.
  void publish_unnamed(const vfs::WalkStep& step, int file);
  void check_cancelled() const;
  void finish_directory(int fd, const vfs::Attributes& attributes, bool with_mode, std::string_view path);
  [[noreturn]] void throw_error(std::string_view path, int error) const;

  vfs::FileSystem& fs_;
  UniqueFd here_;
  std::string name_;
  const CancelFlag& cancel_;
  Damage damage_;
  bool unnamed_files_;
  bool made_ = false;
  std::vector<Place> way_;
  std::uint64_t entries_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t counter_ = 0;
};

}  // namespace pkgfs
