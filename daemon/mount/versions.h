// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/vfs/generations.h"
#include "daemon/mount/kept_versions.h"
#include "daemon/mount/lazy_mount.h"
#include "daemon/packages/open_tree.h"
#include "fuse/shared_memory.h"
#include "fuse/usage.h"

namespace pkgfs {

/// The versions of its package that a mount has open: the one that it shows, and older ones (docs/REFRESH.md).
///
/// A mount that was made without a word of refreshing has its first tree and nothing else. When it is refreshed, it
/// gets the layer vfs::Generations (`begin`). As nothing has counted the kernel's references to the first tree until
/// then, that stays open until the unmount. A mount that is made to be refreshed has the layer from the start. One
/// thread changes the versions; the functions that say so are for any thread.
class Versions {
 public:
  /// `first` must outlive this. `from_start`: the mount is made to be refreshed. `restored`: what the daemon before has
  /// left of its versions; `first` is the first of these. `identity`: `kept_identity` of a mount that wasn't refreshed.
  Versions(OpenedTree& first, bool from_start, std::optional<RestoredVersions> restored,
           std::optional<std::string> identity = std::nullopt);
  ~Versions();
  Versions(const Versions&) = delete;
  Versions& operator=(const Versions&) = delete;

  /// What the mount serves when it begins.
  [[nodiscard]] vfs::FileSystem& tree() const;
  /// Null before `begin`.
  [[nodiscard]] vfs::Generations* generations() const { return layer_.get(); }
  /// Makes the layer, if there is none. Throws Error if there is no memory.
  void begin();
  /// Adds a version, and doesn't show it yet. Returns its number. Throws Error(kUnsupported) if too many older ones are
  /// in use.
  std::uint64_t add(OpenedTree opened, std::string identity);
  /// For a daemon that goes on with a mount, once the daemon before has ended, or was stopped (`runs`): shows what that
  /// one showed. If that version couldn't be opened, throws Error(kMount) if the daemon before can go on. Else logs
  /// that, and shows another one.
  void resume(bool runs);
  /// Whether `resume` has found that the version is lost.
  [[nodiscard]] bool has_lost_shown() const { return lost_shown_; }
  /// Lets the lazy versions that the daemon before has left be fetched. Call it when the mount answers.
  void begin_lazily();
  /// Makes the root show a version. Its number becomes that of the last turn.
  void show(std::uint64_t number);
  [[nodiscard]] const OpenedTree& shown() const;
  /// The version that has this identity.
  [[nodiscard]] std::optional<std::uint64_t> find(const std::string& identity) const;
  [[nodiscard]] std::string shown_identity() const;
  [[nodiscard]] std::set<std::string> identities() const;
  /// The version that was shown before, if it is kept.
  [[nodiscard]] std::optional<std::uint64_t> former(unsigned keep_old) const;
  [[nodiscard]] std::string name_of(std::uint64_t number) const;
  /// The versions that aren't shown or kept, and to which the kernel has no reference any more.
  [[nodiscard]] std::vector<std::uint64_t> unused(unsigned keep_old) const;
  /// Those that `unused` returns, or may return later.
  [[nodiscard]] std::vector<std::uint64_t> leaving(unsigned keep_old) const;
  /// The tree of a version. Valid until that is closed.
  [[nodiscard]] vfs::FileSystem& tree_of(std::uint64_t number) const;
  /// Takes a version away from new requests, or gives it back to them.
  void hide(std::uint64_t number) { layer_->remove(number); }
  void give_back(std::uint64_t number);
  /// Closes a hidden version, which no request uses any more. Returns whether it is the first.
  [[nodiscard]] bool close(std::uint64_t number);
  /// The names in the root of a version.
  [[nodiscard]] std::set<std::string> names(std::uint64_t number) const;
  /// The names in the roots of all versions.
  [[nodiscard]] std::set<std::string> all_names() const;
  /// Those of the lazy versions that were added and aren't complete.
  [[nodiscard]] std::vector<int> lazy_fds() const;

  /// What the next daemon is to know beside the versions.
  [[nodiscard]] VersionNotes notes() const;
  void note(VersionNotes notes);
  /// The number of the next change of which a program is told. It is announced when that begins.
  [[nodiscard]] std::uint64_t next_announcement() const { return counts_->announced + 1; }
  void announce(std::uint64_t number) { counts_->announced = number; }

  // For any thread.

  /// The names of the older versions that are kept, the last one first.
  [[nodiscard]] std::vector<std::string> kept_names(unsigned keep_old) const;
  [[nodiscard]] std::string shown_name() const;
  [[nodiscard]] std::size_t count() const;
  /// The size of the tree that is shown.
  [[nodiscard]] fuse::Usage usage() { return usage_.load()->get(); }
  /// The lazy containers of the shown version; nothing if that is the first one.
  [[nodiscard]] std::optional<std::vector<std::shared_ptr<LazySource>>> lazy_sources() const;
  /// For the next daemon. Throws as `keep_tree`.
  [[nodiscard]] KeptTree keep() const;

 private:
  struct Version {
    VersionFacts facts;
    OpenedTree* opened;
    std::unique_ptr<OpenedTree> own;  // `opened`, unless that is the first tree
    std::string name;
    std::unique_ptr<fuse::UsageCounter> usage;
    std::unique_ptr<LazyMount> lazy;  // of a version that was added
  };
  [[nodiscard]] Version make(VersionFacts facts, OpenedTree& opened, std::unique_ptr<OpenedTree> own);
  [[nodiscard]] const Version& get(std::uint64_t number) const PKGFS_REQUIRES(mutex_);
  /// Those that aren't shown, the last one first.
  [[nodiscard]] std::vector<const Version*> older() const PKGFS_REQUIRES(mutex_);
  [[nodiscard]] std::vector<const Version*> kept(unsigned keep_old) const PKGFS_REQUIRES(mutex_);
  [[nodiscard]] std::uint64_t shown_number() const { return layer_ == nullptr ? 0 : layer_->shown(); }
  void make_layer(fuse::SharedMemory memory, bool is_new);

  OpenedTree& first_;
  std::optional<fuse::SharedMemory> memory_;  // of vfs::GenerationCounts
  vfs::GenerationCounts* counts_ = nullptr;   // in `memory_`
  std::unique_ptr<vfs::Generations> layer_;
  bool lost_shown_ = false;
  std::atomic<fuse::UsageCounter*> usage_{nullptr};
  mutable Mutex mutex_;
  std::vector<std::unique_ptr<Version>> versions_ PKGFS_GUARDED_BY(mutex_);
  VersionNotes notes_ PKGFS_GUARDED_BY(mutex_);
  std::uint64_t last_turn_ PKGFS_GUARDED_BY(mutex_) = 0;
  std::uint64_t last_number_ = 0;
};

/// The names in the root of `tree`.
[[nodiscard]] std::set<std::string> root_names(vfs::FileSystem& tree);

}  // namespace pkgfs
