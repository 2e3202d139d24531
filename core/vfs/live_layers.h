// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/vfs/merge.h"

namespace pkgfs::vfs {

/// The layers of a LiveOverlayFileSystem by their numbers. They stay what they are, unless they are `replaceable`: then
/// some can be added and others removed while threads use them. Thread-safe.
///
/// A layer that was removed keeps its number as long as it has users: LiveNodes that refer to it, and inodes of it that
/// the kernel knows. After the last user has gone, the layer still lives until all operations that began earlier have
/// ended. Then it is deleted, and its number is free.
class LiveLayers {
 public:
  /// Throws Error(kUnsupported) for more than limits::kLiveLayers.
  LiveLayers(std::vector<Layer> layers, bool replaceable);
  /// Deletes all layers. No operation may be running.
  ~LiveLayers();
  LiveLayers(const LiveLayers&) = delete;
  LiveLayers& operator=(const LiveLayers&) = delete;

  [[nodiscard]] bool are_replaceable() const { return replaceable_; }
  /// An operation keeps the result while it uses layers or LiveContents (live_nodes.h). If nothing is ever replaced,
  /// the result is null, and the call costs nothing.
  [[nodiscard]] std::shared_ptr<const void> use() const { return replaceable_ ? moment() : nullptr; }
  [[nodiscard]] Layer& operator[](std::uint32_t number) const { return *slots_[number].layer; }
  /// Those that were given to the constructor have the numbers 0 to `initial() - 1`.
  [[nodiscard]] std::uint32_t initial() const { return initial_; }

  /// How many more layers can be added now.
  [[nodiscard]] std::size_t room() const PKGFS_EXCLUDES(mutex_);
  /// Adds a layer with one user, the tree that shows it. Needs room.
  [[nodiscard]] std::uint32_t add(Layer layer) PKGFS_EXCLUDES(mutex_);
  /// Adds a user to a layer that has at least one.
  void add_user(std::uint32_t number);
  /// The same for a layer that may have lost its last user. If so, adds none and returns false.
  [[nodiscard]] bool try_add_user(std::uint32_t number);
  void drop_users(std::uint32_t number, std::uint64_t count) noexcept;
  /// Calls `last`, in any thread, when no operation that began before this call is running.
  void retire(std::function<void()> last) noexcept;

 private:
  /// Stands for the time from one `retire` to the next. Each operation keeps the moment in which it began. A moment is
  /// destroyed, and calls `last`, when its operations have ended and all earlier moments are destroyed. It waits for
  /// the earlier ones, because their operations may still use what is retired.
  struct Moment {
    Moment() = default;
    Moment(const Moment&) = delete;
    Moment& operator=(const Moment&) = delete;
    ~Moment();
    std::function<void()> last;
    std::shared_ptr<Moment> next;
  };
  struct Slot {
    std::unique_ptr<Layer> layer;
    std::atomic<std::uint64_t> users{0};
  };

  [[nodiscard]] std::shared_ptr<const void> moment() const PKGFS_EXCLUDES(now_mutex_);
  void remove(std::uint32_t number) noexcept PKGFS_EXCLUDES(mutex_);

  bool replaceable_;
  std::uint32_t initial_;
  std::vector<Slot> slots_;
  mutable Mutex mutex_;
  std::vector<std::uint32_t> free_ PKGFS_GUARDED_BY(mutex_);  // has memory for all numbers
  // ThreadSanitizer doesn't understand std::atomic<std::shared_ptr> of this standard library.
  mutable Mutex now_mutex_;
  std::shared_ptr<Moment> now_ PKGFS_GUARDED_BY(now_mutex_);
};

}  // namespace pkgfs::vfs
