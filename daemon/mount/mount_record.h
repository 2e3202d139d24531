// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"
#include "daemon/cli/options.h"
#include "daemon/packages/kept_tree.h"
#include "fuse/session.h"

namespace pkgfs {

/// What a keeper, or the service manager, holds of a mount for the daemon that goes on with it (the successor).
struct MountRecord {
  /// The number of the form of the record, and of what daemons answer: inode numbers, node ids, attributes. A daemon
  /// can't go on with the mount of another one that answers differently, because the kernel caches answers. Raise it
  /// when the form changes, or when the tree of the same packages and options gets another number or attribute
  /// anywhere.
  static constexpr unsigned kAnswers = 1;
  /// The same for a mount with live directories, whose node ids are those of fuse::LiveJournal.
  static constexpr unsigned kLiveAnswers = 2;
  /// The same for a mount with several versions, whose node ids and numbers are those of vfs::Generations.
  static constexpr unsigned kVersionsAnswers = 3;
  /// The same for a served directory, whose node ids and numbers are those of vfs::ServedFileSystem and its journal.
  static constexpr unsigned kServedAnswers = 4;
  /// The member of `tree.resolution` that says that the record is of a served directory.
  static constexpr const char* kServed = "served";

  MountArguments arguments;
  std::string mountpoint;             // absolute
  std::string source;                 // that df(1) shows
  std::string package;                // of FreshTree::decide; empty: the daemon before didn't tell
  std::string device;                 // "0:53"
  std::string version;                // of pkgfs
  std::int64_t since = 0;             // when the mount was made, in seconds since the epoch
  unsigned generation = 1;            // of the daemon: 1 made the mount
  std::string last_end;               // why the daemon before ended; empty: there was none
  std::vector<std::int64_t> crashes;  // of daemons within the last minute: CLOCK_MONOTONIC in nanoseconds
  fuse::Handshake handshake;
  KeptTree tree;  // `descriptors` aren't in the text of the record

  [[nodiscard]] bool is_served() const { return tree.resolution.contains(kServed); }

  /// A sealed file in memory with the record as JSON. Throws Error.
  [[nodiscard]] UniqueFd write() const;
  /// Reads what `write` wrote. Throws Error if it isn't of the expected form, or comes from a daemon that answers
  /// differently.
  [[nodiscard]] static MountRecord read(int descriptor);
  /// `device` of a record, even if `read` refuses the record; empty if the record has none.
  [[nodiscard]] static std::string device_of(int descriptor) noexcept;
};

/// A file in memory with `text` that no process can change. Throws Error with `what`.
[[nodiscard]] UniqueFd sealed_file(const char* name, std::string_view text, const char* what);

}  // namespace pkgfs
