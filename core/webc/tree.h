// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include "core/webc/container.h"
#include "core/webc/volume.h"

/// The directory trees of all versions behind one interface: stateless decoders over the mapped header that say what is
/// wrong and where. Who serves them (tree_volume.h) and who checks them (verify.cc) decides what to do about it.
namespace pkgfs::webc {

/// Damage at an offset of a volume's header.
struct Problem {
  std::uint64_t at = 0;
  std::string text;
};
template <typename T>
using Decoded = tl::expected<T, Problem>;

/// Where the parts of a volume or of the atoms are in the file; all inside it.
struct VolumeParts {
  std::string_view name;
  std::uint64_t header = 0;
  std::uint64_t header_length = 0;
  std::uint64_t data = 0;
  std::uint64_t data_length = 0;
};

/// The framing of a container, checked as far as docs/rules/webc-format.md, 11 goes for sections.
struct Layout {
  Version version = Version::kV3;
  std::uint64_t manifest = 0;
  std::uint64_t manifest_length = 0;
  VolumeParts atoms;
  std::vector<VolumeParts> volumes;  // in stored order
  std::optional<Index> index;
  std::uint64_t uncovered = 0;  // bytes that belong to no section
};

/// A run of child records that is being read: `at` moves, `end` is fixed.
struct Cursor {
  std::uint64_t at = 0;
  std::uint64_t end = 0;
  [[nodiscard]] bool done() const { return at >= end; }
};

/// One child record of a directory; its name is not judged yet.
struct Child {
  std::uint64_t at = 0;  // of the record in the header
  std::string_view name;
  std::uint64_t entry = 0;            // what `Tree::entry` and `Tree::table` take
  std::span<const std::byte> sha256;  // the parent's copy of the child's hash; version 3 only
};

/// Bytes of the header, [begin, end).
struct Extent {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  [[nodiscard]] bool empty() const { return begin >= end; }
};

/// Entries are named by a header offset below 2^32; 0 is the root directory.
class Tree {
 public:
  Tree(std::span<const std::byte> file, const VolumeParts& parts)
      : header_(file.subspan(parts.header, parts.header_length)), parts_(parts), file_(file) {}
  virtual ~Tree() = default;
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  [[nodiscard]] const VolumeParts& parts() const { return parts_; }
  [[nodiscard]] std::span<const std::byte> file() const { return file_; }

  /// The header bytes that only the directory at `entry` may use; empty when it needs none.
  [[nodiscard]] virtual Decoded<Extent> table(std::uint64_t entry) const = 0;
  /// The child records inside `table`, which came from there.
  [[nodiscard]] virtual Cursor children(const Extent& table) const = 0;
  /// Reads the record at `cursor`, which isn't done, and moves behind it.
  [[nodiscard]] virtual Decoded<Child> next(Cursor& cursor) const = 0;
  [[nodiscard]] virtual Decoded<EntryInfo> entry(std::uint64_t entry) const = 0;
  /// Header bytes that the entry itself takes, which no other may use; 0 for those that live in a record (version 1).
  [[nodiscard]] virtual std::uint64_t entry_length(std::uint64_t entry, const EntryInfo& info) const = 0;
  /// Writers store a directory's subtree right behind it, in the order of its records, so a child's place tells
  /// whether it can be reached from elsewhere.
  [[nodiscard]] virtual bool depth_first() const = 0;

 protected:
  [[nodiscard]] std::span<const std::byte> header() const { return header_; }

 private:
  std::span<const std::byte> header_;
  VolumeParts parts_;
  std::span<const std::byte> file_;
};

/// The decoder for a volume of `version`.
[[nodiscard]] std::unique_ptr<Tree> make_tree(Version version, std::span<const std::byte> file,
                                              const VolumeParts& parts);

/// What is at the entry of `child`. Of an entry outside the header the record is the place to blame.
[[nodiscard]] inline Decoded<EntryInfo> entry_of(const Tree& tree, const Child& child) {
  auto info = tree.entry(child.entry);
  if (!info && info.error().at >= tree.parts().header_length) {
    info.error().at = child.at;
  }
  return info;
}

/// Tells names that a directory already had. Sorted directories, the rule, cost a compare a name and no memory.
class SeenNames {
 public:
  /// `first` is where the names begin that were, in order, given to `add` before.
  SeenNames(const Tree& tree, Cursor first) : tree_(tree), first_(first) {}
  /// False if `child` has a name that an earlier one had. To be called for every usable name, in stored order.
  [[nodiscard]] bool add(const Child& child);
  [[nodiscard]] bool sorted() const { return sorted_; }

 private:
  const Tree& tree_;
  Cursor first_;
  bool sorted_ = true;
  std::string_view last_;
  std::unordered_set<std::string_view> names_;
};

/// "volume "/public", header offset 0x1c2: …", or "atoms, …" for the parts without a name.
[[nodiscard]] std::string describe(const VolumeParts& parts, bool atoms, const Problem& problem);

}  // namespace pkgfs::webc
