// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include "core/webc/container.h"
#include "core/webc/volume.h"

/// The directory trees of all container versions behind one interface. The decoders read the mapped header, keep no
/// state, and report damage with its offset. Their callers decide what follows: TreeVolume leaves a damaged entry out,
/// `verify_tree` reports it.
namespace pkgfs::webc {

/// Damage at an offset of a volume's header.
struct Problem {
  std::uint64_t at = 0;
  std::string text;
  bool lost = false;  // no damage: the bytes can't be read now (core/base/lost_pages.h)
};
template <typename T>
using Decoded = tl::expected<T, Problem>;
[[nodiscard]] inline tl::unexpected<Problem> problem(std::uint64_t at, std::string text) {
  return tl::unexpected<Problem>(Problem{.at = at, .text = std::move(text), .lost = false});
}

/// TreeVolume keeps offsets in a header in 32 bits. 4 GiB of header describe some 30 million files.
inline constexpr std::uint64_t kMaxHeader = 0xffff'ffffULL;

/// The parts of a volume, or of the atoms section, as offsets and lengths in the file. All lie inside the file.
struct VolumeParts {
  std::string_view name;
  std::uint64_t header = 0;
  std::uint64_t header_length = 0;
  std::uint64_t data = 0;
  std::uint64_t data_length = 0;
};

/// The sections of a container, checked by the rows for sections of docs/rules/webc-format.md, 11.
struct Layout {
  Version version = Version::kV3;
  std::uint64_t manifest = 0;
  std::uint64_t manifest_length = 0;
  VolumeParts atoms;
  std::vector<VolumeParts> volumes;  // in stored order
  std::optional<Index> index;
  std::uint64_t uncovered = 0;  // bytes that belong to no section
};

/// A position in a run of child records; the run ends at `end`.
struct Cursor {
  std::uint64_t at = 0;
  std::uint64_t end = 0;
  [[nodiscard]] bool done() const { return at >= end; }
};

/// One child record of a directory; its name has not been checked yet.
struct Child {
  std::uint64_t at = 0;  // of the record in the header
  std::string_view name;
  std::uint64_t entry = 0;            // the argument for `Tree::entry` and `Tree::table`
  std::span<const std::byte> sha256;  // the parent's copy of the child's hash; version 3 only
};

/// A range of offsets, [begin, end): in a header or in the file.
struct ByteRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  [[nodiscard]] bool empty() const { return begin >= end; }
};

/// The decoder of one volume's header. An entry is identified by its header offset, below 2^32; 0 is the root
/// directory. The file's bytes must outlive this. Immutable, so safe to use from many threads.
class Tree {
 public:
  Tree(std::span<const std::byte> file, const VolumeParts& parts)
      : header_(file.subspan(parts.header, parts.header_length)), parts_(parts), file_(file) {}
  virtual ~Tree() = default;
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  [[nodiscard]] const VolumeParts& parts() const { return parts_; }
  [[nodiscard]] std::span<const std::byte> file() const { return file_; }

  /// The header bytes of the directory at `entry`, which may belong to no other directory; empty if it has none.
  [[nodiscard]] virtual Decoded<ByteRange> table(std::uint64_t entry) const = 0;
  /// The child records of a directory; `table` is the result of `table()`.
  [[nodiscard]] virtual Cursor children(const ByteRange& table) const = 0;
  /// Reads the record at `cursor` and moves behind it. The caller has checked that `cursor` isn't done.
  [[nodiscard]] virtual Decoded<Child> next(Cursor& cursor) const = 0;
  [[nodiscard]] virtual Decoded<EntryInfo> entry(std::uint64_t entry) const = 0;
  /// The header bytes that `entry()` and `table()` read to decode this entry, without a link's target; they may end
  /// behind the header.
  [[nodiscard]] virtual std::array<ByteRange, 2> bytes_of(std::uint64_t entry) const = 0;
  /// The number of header bytes of the entry, which may belong to no other entry. It is 0 in version 1, where the
  /// record holds the whole entry.
  [[nodiscard]] virtual std::uint64_t entry_length(std::uint64_t entry, const EntryInfo& info) const = 0;
  /// True if writers store the subtree of a directory right behind it, in the order of its records. The place of a
  /// child then tells whether another directory can contain it, too.
  [[nodiscard]] virtual bool depth_first() const = 0;
  /// True if the header has nothing but directory tables, so that bytes outside of all tables show damage.
  [[nodiscard]] virtual bool tables_fill_header() const = 0;
  /// No child record is shorter than 2 to the power of this number. So two records never have the same offset, shifted
  /// right by this many bits.
  [[nodiscard]] virtual unsigned record_bits() const = 0;

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

/// Decodes the entry of `child`. If it lies outside the header, the problem names the offset of the record.
[[nodiscard]] inline Decoded<EntryInfo> entry_of(const Tree& tree, const Child& child) {
  auto info = tree.entry(child.entry);
  if (!info && info.error().at >= tree.parts().header_length) {
    info.error().at = child.at;
  }
  return info;
}

/// Detects a name that stands twice in a directory. A sorted directory, which is the rule, takes one comparison a name
/// and no memory.
class SeenNames {
 public:
  /// `first` is the directory's first record; `add` reads the records again from there once names are not sorted.
  SeenNames(const Tree& tree, Cursor first) : tree_(tree), first_(first) {}
  /// False if an earlier child has the same name. The caller passes every usable name, in stored order.
  [[nodiscard]] bool add(const Child& child);
  [[nodiscard]] bool sorted() const { return sorted_; }

 private:
  const Tree& tree_;
  Cursor first_;
  bool sorted_ = true;
  std::string_view last_;
  std::set<std::string_view> names_;  // no hash: a package could choose names that collide
};

/// `volume "/public", header offset 0x1c2: …`, or `atoms, …` if `atoms` is true.
[[nodiscard]] std::string describe(const VolumeParts& parts, bool atoms, const Problem& problem);

}  // namespace pkgfs::webc
