// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/hash.h"
#include "core/base/thread_annotations.h"
#include "core/base/unique_fd.h"
#include "core/load/host_path.h"
#include "core/vfs/host_root.h"
#include "core/vfs/host_watcher.h"

namespace pkgfs {

/// The directory of a package that is mounted live, also after it was removed or renamed and made anew. Thread-safe.
///
/// It is opened anew by its name in its parent directory. No link is followed there, no mount point is entered, and the
/// new directory must have the same owner. So a user needs write access to the parent directory or to the package to
/// make the mount show anything else.
class FollowedPackage {
 public:
  /// `directory` is a descriptor of the package at `canonical`, an absolute path without links. `name`: for messages.
  /// `manifest`: the hash of its `wasmer.toml`. `tells`: whether changes of the manifest are logged.
  FollowedPackage(int directory, const std::string& canonical, std::string name, const Sha256& manifest, bool tells);

  [[nodiscard]] const std::string& name() const { return name_; }
  /// The directory now, with O_PATH. -1 with `errno`, as HostWay::open.
  [[nodiscard]] UniqueFd open() const;
  /// The hash of the manifest now. None if there is no manifest, or an empty one: a program is writing it. Throws
  /// Error.
  [[nodiscard]] std::optional<Sha256> manifest_hash() const;
  /// Makes `watcher` tell of changes of the manifest, which are logged.
  void watch_manifest(int directory, vfs::HostWatcher& watcher, std::uint64_t watch) const;
  /// Makes `watcher` tell `listener` when `manifest_hash` may answer something else. False: not always.
  [[nodiscard]] bool watch(vfs::HostWatcher& watcher, std::uint64_t watch,
                           const std::shared_ptr<vfs::NameListener>& listener) const;

 private:
  class Manifest;

  UniqueFd fd_;      // at the beginning
  UniqueFd parent_;  // -1: it isn't followed
  std::string own_name_;
  uid_t owner_ = 0;
  std::string name_;
  std::shared_ptr<Manifest> manifest_;  // null: changes aren't logged
};

/// The way to a directory that `[fs]` maps: from the package, by the rules of `reopen_host_path`.
class MappedWay final : public vfs::HostWay {
 public:
  using MakeFilter = std::function<std::shared_ptr<const vfs::HostFilter>(int root)>;
  /// `host` must not leave the package.
  MappedWay(std::shared_ptr<const FollowedPackage> package, const std::string& host, MakeFilter make_filter);

  [[nodiscard]] UniqueFd open() const override;
  [[nodiscard]] std::shared_ptr<const vfs::HostFilter> filter(int root) const override { return make_filter_(root); }
  void watch(vfs::HostWatcher& watcher, std::uint64_t watch,
             const std::shared_ptr<vfs::NameListener>& listener) const override;

 private:
  std::shared_ptr<const FollowedPackage> package_;
  HostPath path_;
  MakeFilter make_filter_;
};

}  // namespace pkgfs
