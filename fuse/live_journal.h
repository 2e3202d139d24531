// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"
#include "core/vfs/file_system.h"
#include "fuse/shared_memory.h"

namespace pkgfs::fuse {

/// What the kernel knows of a tree with live directories, in memory that outlives the daemon: its node ids, and its
/// handles of open files. A successor finds the entries again by name (LiveIds, LiveHandles).
///
/// The layout is fixed: a header, the nodes, and the handles. A place takes no memory before it is used. A daemon may
/// be killed between any two writes: a place counts only if its `state` or `handle` says so, which is written last.
/// Nothing here is checked against the host, and a successor treats it as hostile. Thread-safe, if no two threads
/// write the same place.
class LiveJournal {
 public:
  static constexpr std::uint32_t kNodes = 1U << 15U;
  static constexpr std::uint32_t kHandles = 1U << 14U;
  /// The parent of an entry of the root.
  static constexpr std::uint32_t kRoot = ~std::uint32_t{0};

  /// A node without the count of the kernel's references.
  struct Node {
    std::uint32_t parent = kRoot;  // its place
    vfs::FileType type = vfs::FileType::kFile;
    std::uint64_t number = 0;      // these three tell another entry of the same name
    std::uint64_t generation = 0;  // Entry::generation
    std::uint64_t text_hash = 0;   // of the text of a symbolic link
    std::string name;
  };

  /// Throws Error if there is no memory or no descriptor.
  [[nodiscard]] static LiveJournal create();
  /// That of an earlier daemon. Throws Error(kCorrupt or kUnsupported) if `file` isn't one of this layout.
  [[nodiscard]] static LiveJournal adopt(UniqueFd file);
  /// For a successor. Owned by this object.
  [[nodiscard]] int fd() const { return memory_.fd(); }

  /// Writes a node with one reference of the kernel. False: the system has no memory, or the name is too long.
  [[nodiscard]] bool put(std::uint32_t place, const Node& node);
  /// The references that the kernel holds.
  [[nodiscard]] std::atomic<std::uint64_t>& lookups(std::uint32_t place);
  void erase(std::uint32_t place);
  /// Of an earlier daemon; nothing if there is no node, or none that makes sense.
  [[nodiscard]] std::optional<Node> node(std::uint32_t place) const;

  /// Notes that the kernel has the handle for an open of `node`. False: the system has no memory.
  [[nodiscard]] bool put_handle(std::uint32_t place, std::uint64_t handle, std::uint64_t node);
  void erase_handle(std::uint32_t place);
  /// The node of a handle; 0: there is no such handle.
  [[nodiscard]] std::uint64_t node_of_handle(std::uint32_t place, std::uint64_t handle) const;
  [[nodiscard]] bool is_handle(std::uint32_t place, std::uint64_t handle) const;
  /// Whether any handle is noted here.
  [[nodiscard]] bool has_handle(std::uint32_t place) const;

  /// A number that no daemon of this mount has got before.
  [[nodiscard]] std::uint64_t next_serial();
  /// The first number of nodes, and of handles, without a place here. No daemon before has used it.
  [[nodiscard]] std::atomic<std::uint64_t>& beyond_nodes();
  [[nodiscard]] std::atomic<std::uint64_t>& beyond_handles();

 private:
  struct Layout;
  explicit LiveJournal(SharedMemory memory);

  SharedMemory memory_;
  Layout* layout_;  // in `memory_`
};

}  // namespace pkgfs::fuse
