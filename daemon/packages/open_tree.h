// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/load/package_loader.h"
#include "core/resolve/lock_file.h"
#include "core/resolve/resolve.h"
#include "core/source/source.h"
#include "core/tree/package_tree.h"
#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/cli/settings.h"
#include "daemon/packages/interrupt.h"

namespace pkgfs {

/// A package that the command line named.
struct RootPackage {
  /// Null as long as knowing of it is enough: what comes from a registry is downloaded with its dependencies.
  std::shared_ptr<const Package> package;
  /// What the source said of it; none for a file or directory, which speaks for itself.
  std::optional<PackageInfo> info;
  DistributionInfo dist;
};

/// Finds and opens packages for the length of one command: registries, URLs, paths or a lock file, the caches, and one
/// loader. A package is opened once. Its threads, if it needed the network, end with it.
class PackageOpener {
 public:
  /// Settings that `flags` don't give come from `io.environment` (settings.h). Downloads are shown on `io.err`, or told
  /// to `observer`. Throws Error for a registry directory that isn't there.
  PackageOpener(const TreeFlags& flags, const Io& io, DownloadObserver* observer = nullptr);
  /// As above, but opens packages with `options` whatever the flags say.
  PackageOpener(const TreeFlags& flags, const OpenOptions& options, const Io& io, DownloadObserver* observer = nullptr);
  ~PackageOpener();
  PackageOpener(const PackageOpener&) = delete;
  PackageOpener& operator=(const PackageOpener&) = delete;

  /// Finds `text` as docs/rules/resolution.md, 1.5 orders it: an existing file, an existing directory, a specifier.
  /// Throws Error `Unable to resolve "{text}" as a URL, package name, or file on disk` when it is none of them.
  [[nodiscard]] RootPackage find(const std::string& text);
  /// The same, and opens it.
  [[nodiscard]] RootPackage open(const std::string& text);
  /// The tree below `root`, with the place of the root in it.
  [[nodiscard]] Resolution resolve_tree(const RootPackage& root);

  /// Asks the registries even for what the cache knows by its hash: for a lock file, which names URLs.
  void ask_for_urls() { add_sources(false); }

  [[nodiscard]] Source& source() { return *source_; }
  [[nodiscard]] PackageLoader& loader() { return *loader_; }

 private:
  void set_up_network(DownloadObserver* observer, const Io& io);
  void add_sources(bool with_cache);
  void read_lock(const std::string& path);
  [[nodiscard]] RootPackage find_locked(const std::string& text);

  OpenOptions options_;
  Settings settings_;
  CancelFlag cancel_;
  InterruptGuard interrupt_{cancel_};  // so that an interrupted download ends tidily
  std::unique_ptr<DownloadObserver> progress_;
  std::unique_ptr<HttpClient> client_;  // null when offline
  std::unique_ptr<PackageCache> cache_;
  std::unique_ptr<PackageLoader> loader_;
  std::unique_ptr<Source> source_;
  std::optional<LockFile> lock_;
  std::string lock_path_;
};

/// What the resolver needs to know of a root. Throws Error naming the package for a manifest that can't be
/// used.
[[nodiscard]] PackageInfo info_of(const RootPackage& root);

/// A package tree and what it was made from.
struct OpenedTree {
  std::shared_ptr<const Package> root;
  Resolution resolution;
  PackageTree tree;
};

/// The whole way from the text on a command line to a tree: open, resolve, load. Throws Error.
[[nodiscard]] OpenedTree open_tree(const std::string& package, const TreeFlags& flags, const Io& io);

[[nodiscard]] OpenOptions open_options(const TreeFlags& flags);
[[nodiscard]] TreeOptions tree_options(const TreeFlags& flags);

}  // namespace pkgfs
