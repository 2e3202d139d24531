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

/// Writes a tree into a directory: content, modes, modification times to the nanosecond, links. Owners are those of the
/// process. Works from descriptor to descriptor and follows no link below the directory, whatever is there already or
/// is put there meanwhile. A file appears under its name when it is complete. What can't be read is reported and left
/// out; what can't be written ends it.
class Extractor final : public vfs::TreeVisitor {
 public:
  /// Takes over `directory`. `name` is for messages.
  Extractor(vfs::FileSystem& fs, UniqueFd directory, std::string name, const CancelFlag& cancel, std::ostream& err);

  /// Writes everything. `made`: the directory is new and gets the mode of the tree's root, too. Throws Error,
  /// kInterrupted when cancelled; the directory then holds what was complete.
  void run(bool made);
  [[nodiscard]] const Damage& damage() const { return damage_; }
  [[nodiscard]] std::uint64_t entries() const { return entries_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  bool visit(const vfs::WalkStep& step) override;
  void leave(const vfs::WalkStep& step) override;

 private:
  /// A directory on the way to the current one: to know it again when coming back through "..".
  struct Place {
    dev_t device;
    ino_t inode;
  };

  void enter(const vfs::WalkStep& step);
  void write_file(const vfs::WalkStep& step);
  void write_link(const vfs::WalkStep& step);
  /// Calls `make(name)` with new temporary names until it doesn't answer EEXIST; the name that worked.
  template <typename Make>
  std::string make_temporary(const vfs::WalkStep& step, Make make);
  void publish(const vfs::WalkStep& step, const std::string& temporary);
  /// A file without a name in the current directory; none where the file system can't make one.
  UniqueFd open_unnamed();
  /// Gives it the step's name, in place of what is there.
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
