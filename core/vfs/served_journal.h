// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/vfs/file_system.h"

namespace pkgfs::vfs {

/// What a served directory (ServedFileSystem) must know of one of its nodes, to answer for it in another process as it
/// does in this one.
struct ServedNote {
  enum class Kind : std::uint8_t { kNames, kLink, kTree, kFailed };

  Kind kind = Kind::kNames;
  bool current = true;  // the name leads here
  Inode inode = 0;
  std::string path;              // of the name
  std::string text;              // of a link; or why it failed
  std::string state;             // of a tree: ServedNames::Meaning
  int error = 0;                 // of a failure, or of a tree that is stale for ever
  Attributes attributes;         // of which the type, the mode, the time, the size, the number and `live` count
  std::uint64_t references = 0;  // the kernel's, to the node; counted apart (ServedJournal::count)
  std::uint64_t listed = 0;      // of a directory of names: a hash of the names that were shown last; 0: none were
  // Of a tree.
  std::optional<std::size_t> slot;  // of its inodes; nothing while it is closed
  std::uint64_t base = 0;           // of the numbers that stat shows; only with a slot
  std::uint64_t fingerprint = 0;
  std::shared_ptr<const void> recipe;  // HeldTree::recipe
};

/// Where a served directory notes what its successor, the next process, must know. It notes a node before the kernel
/// can learn its inode, and a slot before the kernel can learn an inode in it.
class ServedJournal {
 public:
  virtual ~ServedJournal() = default;
  /// An inode that no process has used before for a node.
  [[nodiscard]] virtual Inode next_inode() = 0;
  /// Notes a node, in place of an earlier note of the same inode. If there is no room, that earlier note goes, too: the
  /// next process answers ESTALE for the node. The caller holds a lock, so this waits for no disk and no network: at
  /// most, it asks the kernel for memory.
  virtual void put(const ServedNote& note) noexcept = 0;
  /// How many references the kernel has to a node, if it is noted. The same holds as for those to a slot.
  virtual void count(Inode inode, std::uint64_t references) noexcept = 0;
  /// The kernel can't name the node any more, or it is forgotten.
  virtual void erase(Inode inode) noexcept = 0;
  /// Called about once a second, without a lock: says in the log what couldn't be noted.
  virtual void report() {}
  /// How many references the kernel has to inodes of the slot. A process that is killed may leave a number that is too
  /// high, never one that is too low. No tree gets the slot before the number is 0. Valid as long as this object.
  [[nodiscard]] virtual std::atomic<std::uint64_t>& references(std::size_t slot) = 0;
  /// The same number in the journal of a process that was stopped, and may go on instead of this one. It must know what
  /// this one has shown the kernel, so both numbers are counted. Null: there is none. Valid as long as this object.
  [[nodiscard]] virtual std::atomic<std::uint64_t>* other_references(std::size_t /*slot*/) { return nullptr; }
};

}  // namespace pkgfs::vfs
