// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/vfs/counting_file_system.h"

namespace pkgfs::vfs {

/// What a mount with generations shares with the next daemon: it lies in memory that outlives this one. All zeros at
/// first.
struct GenerationCounts {
  static constexpr std::size_t kSlots = 256;

  std::atomic<std::uint64_t> shown{0};        // the number of the generation that the root shows
  std::atomic<std::uint64_t> fingerprint{0};  // of the tree with which the mount began
  std::atomic<std::uint64_t> announced{0};    // the number of the last change of which a program was told
  /// By slot (`Generations::slot_of`): how many references to inodes of the generation the kernel has. A daemon that is
  /// killed may leave a number that is too high, never one that is too low.
  std::array<std::atomic<std::uint64_t>, kSlots> references{};
};

/// Several trees, the generations, behind one root (docs/REFRESH.md). The root shows one of them: a look-up in the root
/// leads into that tree. Everything below stays in the tree from which it comes. So what a program has open stays as it
/// is when `show` makes the root show another tree.
///
/// An inode carries the slot of its generation, and so does the position in a listing of the root. Those of generation
/// 0 are the inodes of its tree as they are: a mount can begin with that tree alone, and get this layer later.
/// `Attributes::number` also carries the generation, except that of the root.
///
/// Requests take no lock and allocate nothing: they read one pointer. The kernel's references are counted for each
/// generation, except for one of which they weren't counted from the start (`add`). `lookup` and `hold` add a
/// reference, `forget` returns it. `add`, `show` and `remove` are for one thread at a time; all else is thread-safe.
class Generations final : public CountingFileSystem {
 public:
  /// `counts` must outlive this. If it comes from an earlier daemon, it has the references of that one.
  explicit Generations(GenerationCounts& counts) : counts_(counts) {}

  static std::size_t slot_of(std::uint64_t generation) { return generation % GenerationCounts::kSlots; }
  /// `fingerprint`: of the tree of generation 0.
  void begin(std::uint64_t fingerprint) { counts_.fingerprint = fingerprint; }
  /// The generation after `last` that can be added: its slot is free. 0: there is none.
  [[nodiscard]] std::uint64_t next(std::uint64_t last) const;
  /// Adds a tree, whose slot must be free, and shows it only after `show`. `tree` must have stable inodes
  /// (OverlayFileSystem) and must outlive the generation. `counted`: the kernel has no reference to it that isn't in
  /// the counts.
  void add(std::uint64_t generation, FileSystem& tree, bool counted);
  /// Makes the root show `generation`, which was added.
  void show(std::uint64_t generation);
  [[nodiscard]] std::uint64_t shown() const { return counts_.shown.load(); }
  /// The same in a daemon that gets ready while another one serves: `shown` stays as that one has set it.
  void prepare_to_show(std::uint64_t generation) { shown_ = &slots_.at(slot_of(generation)); }
  /// Whether a listing of the root gives names only, and no inodes. If the kernel learned the new inode of a name on
  /// which another file system is mounted, it would detach that.
  void list_names_only(bool names_only) { names_only_ = names_only; }
  /// Whether the kernel has no reference to `generation`, as far as that was counted. False if it wasn't.
  [[nodiscard]] bool is_unused(std::uint64_t generation) const;
  /// From now on, its inodes are stale (ESTALE). A request that began before may still use the tree. The generation
  /// must not be shown.
  void remove(std::uint64_t generation);
  /// Undoes `remove`. `tree`: that of `add`.
  void give_back(std::uint64_t generation, FileSystem& tree) { slots_.at(slot_of(generation)).tree = &tree; }
  /// The inode here of `inode` in the tree of `generation`; 0 if there is none.
  [[nodiscard]] static Inode inode_of(std::uint64_t generation, Inode inode);
  /// How many references the kernel has to `generation`, as far as that was counted.
  [[nodiscard]] std::uint64_t references(std::uint64_t generation) const {
    return counts_.references.at(slot_of(generation));
  }
  /// The slot of the generation that `inode` belongs to; that of the shown generation for the root.
  [[nodiscard]] std::size_t slot_of_inode(Inode inode) const;

  [[nodiscard]] Inode root() const override { return kRoot; }
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) override;
  [[nodiscard]] Result<std::uint64_t> parent_number(Inode dir) override;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) override;
  [[nodiscard]] Result<Extent> extent(Inode inode) override;
  [[nodiscard]] Result<Place> place(Inode inode) override;
  [[nodiscard]] bool is_immutable() const override { return immutable_; }
  [[nodiscard]] bool is_intact(Inode inode) override;
  /// Adds one reference to an inode that `read_dir` gave.
  void hold(Inode inode) override;
  void forget(Inode inode, std::uint64_t count) override;
  [[nodiscard]] Result<Origin> origin(Inode inode) override;
  /// That of the tree with which the mount began, whose inodes are those of generation 0.
  [[nodiscard]] std::uint64_t fingerprint() const override { return counts_.fingerprint; }

 private:
  static constexpr Inode kRoot = 1;  // of every tree with stable inodes, too

  struct Slot {
    std::atomic<FileSystem*> tree{nullptr};
    std::uint64_t generation = 0;
    std::atomic<bool> counted{false};
  };
  /// An inode of one of the trees. `tree` is null if the generation was removed.
  struct Found {
    const Slot* slot;
    FileSystem* tree;
    Inode inode;
  };
  [[nodiscard]] Found find(Inode inode) const;
  /// EOVERFLOW if the tree has more entries than an inode with a generation can tell apart.
  [[nodiscard]] static Result<Inode> to_inode(std::size_t slot, Inode inode);
  [[nodiscard]] std::size_t index_of(const Slot& slot) const { return static_cast<std::size_t>(&slot - slots_.data()); }
  void show_numbers(const Slot& slot, Attributes& attributes) const;
  [[nodiscard]] Result<Entry> held(const Slot& slot, Inode inode, const Attributes& attributes);
  [[nodiscard]] Result<Entry> lookup_dots(Found found, std::string_view name);

  GenerationCounts& counts_;
  std::array<Slot, GenerationCounts::kSlots> slots_;
  std::atomic<const Slot*> shown_{nullptr};
  std::atomic<bool> names_only_{false};
  bool immutable_ = true;
};

}  // namespace pkgfs::vfs
