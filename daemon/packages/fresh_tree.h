// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <set>
#include <string>

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/packages/open_tree.h"
#include "daemon/packages/running_opener.h"

namespace pkgfs {

/// What a resolution has chosen, as a text to be compared with another: the packages, their hashes and how they depend
/// on each other. For a package of a URL, what its server says of the version counts. For another one whose hash isn't
/// known, the number, size and time of its file count, as they are now.
[[nodiscard]] std::string identity_of(const OpenedTree& opened);

/// Resolves the package of a mount again, with the options of the mount, and opens what it means now. One thread at a
/// time may use it, except for `cancel`.
class FreshTree {
 public:
  /// PACKAGE of a command line that was given in `working_directory`, which is that of this process: an absolute path,
  /// or else a name or URL, which never begins with "/". Throws Error for a path that doesn't exist.
  [[nodiscard]] static std::string decide(const std::string& package, const std::string& working_directory);
  /// The same for a mount that exists, and whose daemon before didn't tell what it had decided. Gives a path that
  /// doesn't exist any more, too: then only `open` fails.
  [[nodiscard]] static std::string decide_later(const std::string& package, const std::string& working_directory);
  /// `package` is what `decide` has returned. What is a path then stays one, and so does what is a name, whatever files
  /// come and go. `flags` are those of the command line, given in `working_directory`. `io` is copied.
  FreshTree(std::string package, const TreeFlags& flags, const std::string& working_directory, const Io& io);

  /// What the package means now.
  struct Fresh {
    std::string identity;
    std::optional<OpenedTree> opened;  // none: it has one of the identities in `known`, and no package was opened
  };
  /// Asks registries and the servers of URLs, even if the cache has a fresh answer. Uses the packages of `shown` again
  /// where the hash is the same. Throws Error.
  [[nodiscard]] Fresh open(const OpenedTree& shown, const std::set<std::string>& known);
  /// The lock file of the flags, as an absolute path.
  [[nodiscard]] const std::optional<std::string>& lock() const { return flags_.network.lock; }
  /// What `decide` has returned.
  [[nodiscard]] const std::string& package() const { return package_; }
  /// Makes a running `open` and all later ones end with Error(kInterrupted). Any thread may call it.
  void cancel() noexcept;

 private:
  std::string package_;
  TreeFlags flags_;
  Io io_;
  RunningOpener running_;
};

}  // namespace pkgfs
