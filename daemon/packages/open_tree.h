// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/load/package_loader.h"
#include "core/net/http_client.h"
#include "core/oci/authorizer.h"
#include "core/oci/repository.h"
#include "core/resolve/lock_file.h"
#include "core/resolve/resolve.h"
#include "core/source/source.h"
#include "core/tree/package_tree.h"
#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/cli/settings.h"
#include "daemon/packages/interrupt.h"

namespace pkgfs {

class AddressPolicy;
class ContainerFetcher;
class DownloadObserver;
class LazyOpener;
class Reach;
class RegistryLogins;
struct LockedPackages;

/// The package that the command line names.
struct RootPackage {
  /// Null if a source only described it: the loader downloads it together with its dependencies.
  std::shared_ptr<const Package> package;
  /// The description from the source; none for a file or directory, whose manifest has it.
  std::optional<PackageInfo> info;
  DistributionInfo dist;
};

/// Finds and opens packages for one command. It connects the settings with the sources (paths, URLs, registries, or a
/// lock file), the caches and one loader. Each package is opened once. If the opener uses the network, it has threads,
/// which its destructor ends.
class PackageOpener {
 public:
  /// Settings that `flags` don't have come from `io.environment` (settings.h). `observer`, which must outlive this, is
  /// told of downloads; if it is null, `io.err` shows them. Throws Error if a registry directory doesn't exist.
  PackageOpener(const TreeFlags& flags, const Io& io, DownloadObserver* observer = nullptr);
  /// Opens packages with `options` instead of those of the flags.
  PackageOpener(const TreeFlags& flags, const OpenOptions& options, const Io& io, DownloadObserver* observer = nullptr);
  ~PackageOpener();
  PackageOpener(const PackageOpener&) = delete;
  PackageOpener& operator=(const PackageOpener&) = delete;

  /// Finds `text` as docs/rules/resolution.md, 1.5 orders it: an existing file, an existing directory, a specifier. An
  /// `oci://` name is a specifier, too. Its dependencies are in its artifact, so no other source is asked for them.
  /// Throws Error `Unable to resolve "{text}" as a URL, package name, or file on disk` when it is none of them.
  [[nodiscard]] RootPackage find(const std::string& text);
  /// Finds the package as `find` does, and opens it.
  [[nodiscard]] RootPackage open(const std::string& text);
  /// Resolves the dependencies of `root`. The first node of the graph is the root, with the location that `root` has.
  [[nodiscard]] Resolution resolve_tree(const RootPackage& root);

  /// `find` takes `lock` for what the lock file of the flags has, and doesn't read that file. It then opens and checks
  /// the packages as if it had read them there.
  void use_lock(LockFile lock) { lock_ = std::move(lock); }
  /// Asks no source from now on, but finds the dependencies that `known` has. Throws Error if it has two packages for
  /// one specifier.
  void use_known(const Resolution& known) { source_ = std::make_unique<LockSource>(make_lock(known)); }
  /// Makes the functions above throw Error(kInterrupted) soon. Any thread may call it.
  void cancel() noexcept { cancel_.cancel(); }

  /// Asks registries also for packages that the cache has: writing a lock file needs their URLs. Call it before `find`.
  void ask_for_urls() {
    uses_cache_ = false;
    add_sources();
  }
  /// Requests to the repository of `reference` may log in from now on. The user, or a package of this tree, must have
  /// named it.
  void use_repository(const oci::Reference& reference, bool may_push = false);
  /// Requests for packages of this graph that are named by a URL may go where the user, or the package that names the
  /// URL, lets them. `root` is the number of the node that the user named.
  void use_urls_of(const DependencyGraph& graph, std::size_t root);
  /// The container at the URL of `dist`, which a process before has read in parts: the same version of it
  /// (DistributionInfo). If a part of it or all of it is in the cache, asks no server. Throws Error naming the URL if
  /// that version can't be had any more.
  [[nodiscard]] std::shared_ptr<const Package> reopen(const DistributionInfo& dist);
  /// The repository of `reference`, which was given to `use_repository`. Must not outlive this. Null when offline.
  [[nodiscard]] std::unique_ptr<oci::Repository> repository(const oci::Reference& reference);

  [[nodiscard]] PackageLoader& loader() { return *loader_; }
  /// Of the cache of containers by hash.
  [[nodiscard]] std::string packages_directory() const { return settings_.packages_directory(); }
  /// Of the cache of images.
  [[nodiscard]] std::string images_directory() const { return settings_.images_directory(); }

 private:
  [[nodiscard]] HttpClient::Options http_options() const;
  void set_up_lazy(const TreeFlags& flags, DownloadObserver* observer);
  void set_up_network(DownloadObserver* observer, const Io& io);
  void add_sources();
  [[nodiscard]] std::unique_ptr<Reach> make_reach() const;
  /// `package_path`, but nothing if the package is never a path.
  [[nodiscard]] std::optional<std::string> path_of(const std::string& text) const;
  /// `find` with a lock file, which is read now.
  [[nodiscard]] RootPackage find_locked(const std::string& text);
  /// `find` for an artifact in an OCI registry.
  [[nodiscard]] RootPackage find_in_artifact(const oci::Reference& reference);
  /// The root of `locked`. Its packages are the only ones from now on.
  [[nodiscard]] RootPackage take(LockedPackages locked);

  OpenOptions options_;
  bool allow_url_dependencies_;
  bool must_ask_;  // registries and the servers of URLs, even if the cache has an answer
  bool forks_later_;
  bool is_never_path_;             // NetworkFlags
  std::string working_directory_;  // NetworkFlags
  Settings settings_;
  CancelFlag cancel_;
  InterruptGuard interrupt_{cancel_};  // an interrupted download cleans up
  std::unique_ptr<DownloadObserver> progress_;
  std::shared_ptr<AddressPolicy> addresses_;
  std::unique_ptr<Reach> reach_;
  std::shared_ptr<const RegistryLogins> logins_;
  std::shared_ptr<oci::Authorizer> authorizer_;
  std::shared_ptr<HttpClient> client_;  // null when offline
  std::unique_ptr<LazyOpener> lazy_;    // the same
  std::unique_ptr<ContainerFetcher> fetcher_;
  std::unique_ptr<PackageLoader> loader_;
  std::unique_ptr<Source> source_;
  std::optional<std::string> lock_path_;
  std::optional<LockFile> lock_;            // none: `find` reads the file
  std::optional<oci::Reference> artifact_;  // the package that was found last, if it is one
  bool uses_cache_ = true;                  // of packages by hash, before registries are asked
  bool skip_unavailable_ = false;
};

/// The description of a root that the resolver needs. Throws Error that names the package if its manifest can't be
/// used.
[[nodiscard]] PackageInfo info_of(const RootPackage& root);

/// A package tree with the packages and the resolution that it is made of.
struct OpenedTree {
  std::shared_ptr<const Package> root;
  Resolution resolution;
  PackageTree tree;
};

/// Resolves and loads `root`, which `opener` has found for `package`. Throws Error.
[[nodiscard]] OpenedTree load_tree(PackageOpener& opener, const RootPackage& root, const std::string& package,
                                   const TreeFlags& flags, const TreeOptions& options);

/// Finds, resolves and loads the package that `package` names. Throws Error.
[[nodiscard]] OpenedTree open_tree(const std::string& package, const TreeFlags& flags, const Io& io);

[[nodiscard]] OpenOptions open_options(const TreeFlags& flags);
/// The same without the checks that refuse a damaged package, for commands that describe the damage.
[[nodiscard]] OpenOptions unchecked_options(const TreeFlags& flags);
[[nodiscard]] TreeOptions tree_options(const TreeFlags& flags);

}  // namespace pkgfs
