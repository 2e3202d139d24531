// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/byte_source.h"
#include "core/base/error.h"
#include "core/load/host_path.h"
#include "core/webc/volume.h"

namespace pkgfs {

/// The directories, files and links of an archive, in memory. The bytes of files and the targets of links lie in one
/// source. Memory grows with the number of entries, not with their depth: every path component is stored once.
class ArchiveTree {
 public:
  using Index = std::uint32_t;
  static constexpr Index kRoot = 0;
  static constexpr Index kNone = ~Index{0};

  struct Node {
    std::string name;
    Index parent = kNone;
    webc::EntryKind kind = webc::EntryKind::kDirectory;
    std::int64_t modified = 0;
    std::uint64_t offset = 0;  // in the source
    std::uint64_t length = 0;
  };

  ArchiveTree() : nodes_(1), by_name_(Less{&nodes_}) {}
  ArchiveTree(const ArchiveTree&) = delete;
  ArchiveTree& operator=(const ArchiveTree&) = delete;

  /// The entry `name` of `directory`, or kNone.
  [[nodiscard]] Index child(Index directory, std::string_view name) const;
  /// Adds an entry to `directory`, which must not have one of this `name` yet. The new node is a directory; the caller
  /// may make it a file or a link. Throws Error(kUnsupported) beyond limits::kTarballEntries entries.
  Index add(Index directory, std::string_view name);
  /// The number of nodes, with the root. A directory has a lower index than its entries.
  [[nodiscard]] Index size() const { return static_cast<Index>(nodes_.size()); }
  [[nodiscard]] Node& node(Index index) { return nodes_[index]; }
  [[nodiscard]] const Node& node(Index index) const { return nodes_[index]; }
  /// The entries of `directory`, sorted by name bytes.
  [[nodiscard]] std::vector<Index> children(Index directory) const;
  /// The path from the root, without a leading "/".
  [[nodiscard]] std::string path_of(Index index) const;

  /// Looks up a path from the root, and follows links. Fails as openat2(2) does with RESOLVE_BENEATH: with EXDEV if the
  /// path leads out, or with ENOENT, ENOTDIR or ELOOP.
  [[nodiscard]] Result<Index> find(const HostPath& path) const;

  void set_source(std::shared_ptr<const ByteSource> source) { source_ = std::move(source); }
  [[nodiscard]] const ByteSource& source() const { return *source_; }
  /// The bytes of a file.
  [[nodiscard]] Blob content(Index file) const;
  [[nodiscard]] std::string target(Index link) const;

 private:
  using Key = std::pair<Index, std::string_view>;  // parent, name
  struct Less {
    using is_transparent = void;
    const std::vector<Node>* nodes;
    [[nodiscard]] Key key(Index index) const { return {(*nodes)[index].parent, (*nodes)[index].name}; }
    [[nodiscard]] static Key key(const Key& key) { return key; }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return key(a) < key(b);
    }
  };

  std::vector<Node> nodes_;
  std::set<Index, Less> by_name_;  // all but the root; no hash table, since a hostile archive could make names collide
  std::shared_ptr<const ByteSource> source_;
};

}  // namespace pkgfs
