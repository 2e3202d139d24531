// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

/// A tree that is open, with all that it needs. Destroying it closes what it has open.
class HeldTree {
 public:
  virtual ~HeldTree() = default;
  /// Immutable, with stable inodes (OverlayFileSystem).
  [[nodiscard]] virtual FileSystem& tree() = 0;
  /// What opens the same tree again (`ServedNames::find`). Small: it is kept while the tree is closed.
  [[nodiscard]] virtual std::shared_ptr<const void> recipe() const = 0;
};

/// What the names of a served directory mean (ServedFileSystem). A path is relative to that directory, such as
/// "acme/app@1.0.0". Thread-safe.
class ServedNames {
 public:
  /// What a name means, as far as that can be said at once.
  struct Meaning {
    enum class Kind : std::uint8_t {
      kAbsent,     // no registry is ever asked for this name
      kDirectory,  // a directory of names
      kLink,       // a symbolic link to `text`
      kTree,       // a tree, which `find` may find
      kFoundLink,  // a symbolic link, whose text `find` may find
    };
    Kind kind = Kind::kAbsent;
    std::string text = {};
    /// Of a tree: another text means that the name leads to another tree now.
    std::string state = {};
  };
  /// What `find` has found: a tree; or else a text, that of a link; or else an error.
  struct Finding {
    std::shared_ptr<HeldTree> tree;
    std::string link;
    int error = 0;       // ENOENT: there is no such package
    std::string reason;  // of the error, for users; printable
    /// A file of the tree may have other bytes than when the recipe was made.
    bool changed = false;
  };
  using Done = std::function<void(Finding finding)>;
  struct Listed {
    std::string name;
    Meaning::Kind kind = Meaning::Kind::kDirectory;
  };

  virtual ~ServedNames() = default;

  /// What `name` in the directory of names `directory` means (empty: the served directory itself). Waits for no
  /// network.
  [[nodiscard]] virtual Meaning meaning_of(const std::string& directory, std::string_view name) = 0;
  /// Finds out, in another thread, what a name means, and then calls `done` there, once. With `recipe` (of a tree that
  /// was closed), opens the same tree again. `number` identifies the search.
  virtual void find(std::uint64_t number, const std::string& path, std::shared_ptr<const void> recipe, Done done) = 0;
  /// Nothing waits for the search any more: it should end soon.
  virtual void give_up(std::uint64_t number) = 0;
  /// How far a search is: 0 while it waits for a free thread, else a number that grows while bytes arrive. 1 if there
  /// is no such search. The caller may hold a lock, so this doesn't call `Done`.
  [[nodiscard]] virtual std::uint64_t progress(std::uint64_t number) = 0;
  /// Called about once a second: work for which no look-up waits should end if it takes too long.
  virtual void end_late() = 0;
  /// `error`: the errno of what couldn't be read, for which `names` may lack some; 0: they are complete.
  using ListDone = std::function<void(std::vector<Listed> names, int error)>;
  /// Finds out, in another thread, which names in a directory of names are known without the network. Then calls `done`
  /// there, once, with the names in any order.
  virtual void list(const std::string& directory, ListDone done) = 0;
};

}  // namespace pkgfs::vfs
