// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "core/base/unique_fd.h"
#include "core/lazy/lazy_source.h"

namespace pkgfs {

struct PackageTree;

/// The containers of a mount that are fetched while it is used. Any thread may call `sources`; the rest isn't
/// thread-safe.
class LazyMount {
 public:
  /// Begins to fetch what readers of earlier mounts needed. `tree` needn't outlive this. Throws Error if no file
  /// descriptor is free.
  explicit LazyMount(const PackageTree& tree);
  ~LazyMount();
  LazyMount(const LazyMount&) = delete;
  LazyMount& operator=(const LazyMount&) = delete;

  /// Whether a container wasn't complete when the tree was opened.
  [[nodiscard]] bool is_lazy() const { return !sources_.empty(); }
  [[nodiscard]] const std::vector<std::shared_ptr<LazySource>>& sources() const { return sources_; }
  /// Keeps what readers needed, for the next mount. The destructor does it, too.
  void save_profiles() const noexcept;
  /// Syncs what came and isn't synced yet, for containers that a mount ends to use before it ends itself.
  void save_blocks() const noexcept;
  /// Lets the containers be fetched in the background. Call it when the mount answers.
  void begin();
  /// Becomes readable when all containers are complete, checked and in the cache. Owned by this; -1 if none is lazy.
  [[nodiscard]] int whole_fd() const { return whole_->fd.get(); }

 private:
  /// Shared with the callbacks of the sources.
  struct Whole {
    UniqueFd fd;
    std::atomic<std::size_t> missing{0};  // containers that aren't complete
  };

  std::vector<std::shared_ptr<LazySource>> sources_;
  std::shared_ptr<Whole> whole_;
};

}  // namespace pkgfs
