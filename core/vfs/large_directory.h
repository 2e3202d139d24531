// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

#include "core/vfs/merge.h"
#include "core/vfs/overlay_node.h"

namespace pkgfs::vfs {

/// The entries of a directory that has too many of them to keep a node for each. The object remembers where a layer
/// stores every 16th entry, and reads the others from the layer when a caller asks for them. If one layer stores the
/// whole directory in the order of the names, an entry takes 1.5 bytes instead of 72. Thread-safe, and takes no lock.
///
/// The entries, in the order of their names, are cut into runs. A run is up to 16 entries that one layer stores next to
/// each other. An entry has a run and a node of its own if several layers have its name. So has a symbolic link whose
/// text was rewritten.
class LargeDirectory {
 public:
  /// A directory is large if its layers together have more entries than this. Each access to its entries then also
  /// decodes some of the layer's records.
  static constexpr std::size_t kEntries = 4096;

  /// `layers` must outlive this.
  LargeDirectory(const std::vector<Layer>& layers, std::vector<OverlayPart> parts)
      : layers_(layers), parts_(std::move(parts)) {}

  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::size_t bytes() const;

  /// Appends the next name, an entry of part number `part`. `position` is the entry's position in its layer
  /// (`list_stored`), `next` that of the entry after it.
  void add(std::size_t part, std::string_view name, std::uint64_t position, std::uint64_t next);
  /// Appends the next name, with a node of its own: a copy of `node`.
  void add(const OverlayNode& node);
  /// Gives all nodes their `holder`. Called once, after the last `add`.
  void finish(const OverlayContent& holder);

  /// These work like the functions of OverlayContent. If a layer can't read its entries any more, `at` and `find`
  /// return a node with the error. `find` does so even for a name that the directory doesn't have.
  [[nodiscard]] const OverlayNode& at(std::size_t index, OverlayRoom& room) const;
  [[nodiscard]] const OverlayNode* find(std::string_view name, std::size_t& index, OverlayRoom& room) const;
  int visit(std::size_t index, FunctionRef<bool(std::size_t index, const OverlayNode&)> visit) const;

 private:
  static constexpr std::uint32_t kMostInRun = 16;
  static constexpr std::uint32_t kOwnNode = 0xff'ffff;  // Run::part of a run that has a node of its own
  struct Run {
    std::uint64_t position = 0;  // in the layer, or an index of `nodes_`
    const char* name = nullptr;  // of the first entry
    std::uint32_t first = 0;     // the index of the first entry
    std::uint32_t part : 24 = 0;
    std::uint32_t name_length : 8 = 0;
    [[nodiscard]] std::string_view name_view() const { return {name, name_length}; }
  };
  void start_run(std::uint32_t part, std::string_view name, std::uint64_t position);
  /// Visits the entries of `run`, which ends before index `end`, until `visit` returns false. 0 or an errno.
  int visit_run(const Run& run, std::size_t end, FunctionRef<bool(std::size_t index, const OverlayNode&)> visit) const;

  const std::vector<Layer>& layers_;
  std::vector<OverlayPart> parts_;
  const OverlayContent* holder_ = nullptr;
  std::size_t count_ = 0;
  std::vector<Run> runs_;
  std::deque<OverlayNode> nodes_;
  std::uint64_t next_ = 0;  // the position after the last entry of the last run that has no node of its own
};

/// Fills `node` with the data of `candidate`, an entry of `layer`, whose number is `index`. For a symbolic link, also
/// reads its text. `directory` is the path of the directory that has the entry; null for the root.
void show_entry(OverlayNode& node, const Layer& layer, std::uint32_t index, const OverlayPath* directory,
                std::string_view name, const Candidate& candidate);

/// One part of a directory, entry by entry in the order of the names.
class SortedPart {
 public:
  static constexpr std::uint64_t kNowhere = ~std::uint64_t{0};
  /// The constructor reads all names, to find out whether the layer stores them in order. If they can't be listed,
  /// `error()` says why.
  SortedPart(FileSystem& fs, const OverlayPart& part);

  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] bool done() const { return error_ != 0 || at_ == buffer_.size(); }
  /// The current entry, its position, and the position after it. The last is `kNowhere` if the layer doesn't store the
  /// names in their order.
  [[nodiscard]] const DirEntry& entry() const { return buffer_[at_].entry; }
  [[nodiscard]] std::uint64_t position() const { return buffer_[at_].position; }
  [[nodiscard]] std::uint64_t next() const { return order_.empty() ? entry().next : kNowhere; }
  void advance();

 private:
  struct Stored {
    std::uint64_t position;
    DirEntry entry;
  };
  struct Name {
    std::string_view name;
    std::uint64_t position;
  };
  void fill(std::uint64_t position, std::size_t most);

  static constexpr std::size_t kBuffered = 64;
  FileSystem& fs_;
  Inode inode_;
  int error_ = 0;
  std::size_t count_ = 0;
  std::vector<Name> order_;     // sorted; empty if the layer stores the names in their order
  std::size_t next_name_ = 0;   // of `order_`
  std::vector<Stored> buffer_;  // the current entry and some after it
  std::size_t at_ = 0;          // of `buffer_`
};

}  // namespace pkgfs::vfs
