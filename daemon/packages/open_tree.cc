// SPDX-License-Identifier: MIT
#include "daemon/packages/open_tree.h"

#include <algorithm>
#include <utility>

#include "core/base/log.h"
#include "core/base/repeated_warning.h"
#include "core/cache/container_fetcher.h"
#include "core/cache/download_observer.h"
#include "core/lazy/lazy_opener.h"
#include "core/net/address_policy.h"
#include "core/net/http_client.h"
#include "core/net/url.h"
#include "core/source/backend_source.h"
#include "core/source/container_summary.h"
#include "core/source/downloaded_source.h"
#include "core/source/endpoint.h"
#include "core/source/multi_source.h"
#include "core/source/path_source.h"
#include "core/source/reach.h"
#include "core/source/registry.h"
#include "core/source/url_source.h"
#include "core/webc/tree_volume.h"
#include "daemon/packages/artifact.h"
#include "daemon/packages/lazy_packages.h"
#include "daemon/packages/locked_packages.h"
#include "daemon/packages/memory_budget.h"
#include "daemon/packages/package_path.h"
#include "daemon/packages/registry_check.h"
#include "daemon/packages/registry_logins.h"

namespace pkgfs {

namespace {

PackageInfo describe(const Package& package) {
  return info_from_manifest(id_from_manifest(package.manifest(), package.hash()), package.manifest(),
                            package.webc_version());
}

PackageSpecifier parse_specifier(const std::string& text) {
  try {
    return PackageSpecifier::parse(text);
  } catch (Error& error) {
    throw std::move(error).context("Unable to resolve \"" + text + "\" as a URL, package name, or file on disk");
  }
}

/// Whether `specifier` names an artifact in an OCI registry.
bool is_artifact(const PackageSpecifier& specifier) {
  return specifier.url() != nullptr && oci::Reference::is_one(specifier.url()->text);
}

/// Adds the places where a package was looked up: the name may be a mistyped path, or be in another registry.
Error with_places(const QueryError& error, const std::string& text, const Settings& settings) {
  std::string places;
  const auto add = [&places](const std::string& place) { places += (places.empty() ? "" : ", ") + place; };
  for (const std::string& directory : settings.directories) {
    add(directory);
  }
  for (const RemoteRegistry& registry : settings.registries) {
    add(without_password(registry.endpoint));
  }
  Error result = error;
  result.caused_by("there is no file or directory \"" + text + "\", nor a package of that name in " + places);
  return result;
}

/// The root package without its dependencies.
Resolution alone(const RootPackage& root) {
  PackageInfo info = info_of(root);
  ResolvedPackage package{.root = info.id, .commands = {}, .entrypoint = {}, .filesystem = {}};
  DependencyGraph graph;
  graph.nodes.push_back({.pkg = std::move(info), .dist = root.dist, .edges = {}});
  return {.graph = std::move(graph), .order = {0}, .package = std::move(package)};
}

/// The package view shows also a package whose dependencies can't be found.
Resolution resolve_for_view(PackageOpener& opener, const RootPackage& root, const std::string& text,
                            const TreeFlags& flags) {
  try {
    return opener.resolve_tree(root);
  } catch (const Error& error) {
    if (flags.view != View::kPackage || tree_options(flags).strict || error.is_of_run()) {
      throw;
    }
    log::warn("the dependencies of \"{}\" aren't shown: {}", text, error);
    return alone(root);
  }
}

/// Whether a mapping shows the root of an empty volume at "/". A volume with more directory data isn't read, so that a
/// mount of any size is ready at once.
bool is_empty(const LoadedMapping& mapping, const PackageTree& tree) {
  constexpr std::uint64_t kMostRead = 64ULL << 10U;
  const webc::Container* container = tree.packages.at(mapping.package)->container();
  if (container == nullptr || mapping.mount_path != "/" || mapping.source_path != "/") {
    return false;
  }
  const std::shared_ptr<const webc::Volume> volume = container->find_volume(mapping.volume_name);
  const auto* stored = dynamic_cast<const webc::TreeVolume*>(volume.get());
  if (stored == nullptr || stored->tree().parts().header_length > kMostRead) {
    return false;
  }
  bool any = false;
  const Result<void> listed = stored->list(webc::kRootRef, [&any](const webc::DirRecord&) {
    any = true;
    return false;
  });
  return listed && !any;
}

/// A package may have no more than atoms, for other packages to use.
void tell_if_empty(const PackageTree& tree, const TreeFlags& flags, const std::string& package) {
  const bool commands = flags.commands_dir && !tree.commands.empty();
  if (flags.view == View::kMerged && !commands &&
      std::ranges::all_of(tree.mappings, [&](const LoadedMapping& mapping) { return is_empty(mapping, tree); })) {
    log::warn(
        "\"{}\" shows no files: it maps none and shows no commands. --view=package shows its atoms, volumes and "
        "manifest",
        package);
  }
}

}  // namespace

OpenOptions open_options(const TreeFlags& flags) {
  if (flags.untrusted && flags.allow_outside) {
    throw Error(ErrorCode::kUsage, "--untrusted and --allow-outside contradict each other");
  }
  return {.verify = flags.verify,
          .strict = flags.strict || flags.untrusted,
          .as_built = flags.as_built,
          .follow_manifest = flags.follow_manifest,
          .allow_outside = flags.allow_outside,
          .untrusted = flags.untrusted,
          .detect_executables = flags.exec_auto,
          .times = flags.times.value_or(vfs::Times::kDigest),
          .max_unpacked = flags.max_unpacked};
}

OpenOptions unchecked_options(const TreeFlags& flags) {
  OpenOptions options = open_options(flags);
  options.verify = Verify::kNone;
  options.strict = false;
  options.times = OpenOptions{}.times;
  options.detect_executables = false;
  return options;
}

TreeOptions tree_options(const TreeFlags& flags) {
  return {.view = flags.view,
          .conflicts = flags.conflicts,
          .strict = flags.strict || flags.untrusted,
          .lenient = flags.lenient,
          .raw_links = flags.raw_links,
          .refuses_escapes = flags.untrusted,
          .memory = directory_memory(flags.memory, flags.memory ? std::nullopt : control_group_limit()),
          .commands_dir = flags.commands_dir,
          .verify = flags.verify,
          .times = flags.times.value_or(vfs::Times::kDigest),
          .replaceable = flags.follow_manifest};
}

PackageOpener::PackageOpener(const TreeFlags& flags, const Io& io, DownloadObserver* observer)
    : PackageOpener(flags, open_options(flags), io, observer) {}

PackageOpener::PackageOpener(const TreeFlags& flags, const OpenOptions& options, const Io& io,
                             DownloadObserver* observer)
    : options_(options),
      allow_url_dependencies_(flags.network.allow_url_dependencies),
      must_ask_(flags.network.ask_again),
      forks_later_(flags.network.forks_later),
      is_never_path_(flags.network.is_never_path),
      working_directory_(flags.network.working_directory),
      settings_(load_settings(flags.network, io.environment)),
      addresses_(std::make_shared<AddressPolicy>()),
      logins_(std::make_shared<RegistryLogins>(io.environment, flags.network.working_directory)),
      authorizer_(std::make_shared<oci::Authorizer>(
          [logins = logins_](const oci::Reference& reference, const CancelFlag& cancel) {
            return logins->find(reference, cancel);
          })) {
  for (const RemoteRegistry& registry : settings_.registries) {
    addresses_->name(registry.endpoint);
  }
  if (flags.network.lock || flags.untrusted) {
    settings_.verify_downloads = VerifyDownloads::kFail;  // a lock file promises the hashes
  }
  reach_ = make_reach();
  set_up_network(observer, io);
  set_up_lazy(flags, observer == nullptr ? progress_.get() : observer);
  // The package view shows also a package whose dependencies can't be found.
  skip_unavailable_ = flags.view == View::kPackage && !options_.strict;
  if (flags.network.lock) {
    lock_path_ = flags.network.lock;
  } else {
    add_sources();
  }
}

PackageOpener::~PackageOpener() {
  if (lazy_ != nullptr && forks_later_) {
    lazy_->fetcher()->rest();
  }
}

void PackageOpener::add_sources() {
  auto sources = std::make_unique<MultiSource>();
  for (const std::string& directory : settings_.directories) {
    sources->add(open_registry(directory));
  }
  if (uses_cache_) {
    sources->add(std::make_unique<DownloadedSource>(fetcher_->packages()), MultiSource::When::kIfNothingFound);
  }
  const std::string queries = settings_.queries_directory();
  for (const RemoteRegistry& registry : settings_.registries) {
    const std::string shared = queries + "/" + endpoint_directory(registry.endpoint);
    // Answers for a token must not be used without it, so they have a directory of their own. Wasmer has one for all.
    std::string own = registry.token ? shared + "+token" : shared;
    std::vector<std::string> others;
    if (registry.token) {
      others.push_back(shared);
    }
    if (registry.endpoint == kDefaultRegistry) {
      others.push_back(queries);  // earlier Wasmer releases have one directory for all registries
    }
    sources->add(
        std::make_unique<BackendSource>(BackendSource::Options{.endpoint = registry.endpoint,
                                                               .token = registry.token,
                                                               .prefer = settings_.prefer,
                                                               .must_ask = must_ask_,
                                                               .cache_time = settings_.query_time,
                                                               .offline = settings_.offline},
                                        client_.get(), RegistryAnswerCache(std::move(own), std::move(others)), cancel_),
        MultiSource::When::kIfNothingFound);
  }
  // Reads only the manifest: the loader opens the package again, with the checks that the user asked for.
  const auto look = [this](const std::string& path, bool untrusted) {
    return describe(*open_package(
        path, {.as_built = options_.as_built, .untrusted = untrusted, .max_unpacked = options_.max_unpacked}));
  };
  const auto look_in_parts = [this](const Url& url, const CancelFlag& cancel) -> std::optional<UrlSource::InParts> {
    const auto package = loader_->open_in_parts(url, cancel);
    if (package == nullptr) {
      return std::nullopt;
    }
    return UrlSource::InParts{.info = describe(*package), .version = remote_version_of(*package)};
  };
  sources->add(std::make_unique<UrlSource>(
      *fetcher_, [look](const std::string& path) { return look(path, true); }, look_in_parts, cancel_));
  sources->add(std::make_unique<PathSource>(
      [look, this](const std::string& path) {
        return PackageSummary{look(path, options_.untrusted), local_distribution(path)};
      },
      working_directory_));
  std::vector<std::string> endpoints;
  endpoints.reserve(settings_.registries.size());
  for (const RemoteRegistry& registry : settings_.registries) {
    endpoints.push_back(registry.endpoint);
  }
  source_ = std::make_unique<RegistryCheck>(std::move(sources), std::move(endpoints));
}

std::unique_ptr<Reach> PackageOpener::make_reach() const {
  Reach::Options options{.registries = {},
                         .directories = settings_.directories,
                         .allow_urls = allow_url_dependencies_,
                         .untrusted = options_.untrusted,
                         .artifact = artifact_};
  for (const RemoteRegistry& registry : settings_.registries) {
    options.registries.push_back(registry.endpoint);
  }
  return std::make_unique<Reach>(std::move(options), addresses_.get());
}

std::optional<std::string> PackageOpener::path_of(const std::string& text) const {
  return is_never_path_ ? std::nullopt : package_path(text);
}

RootPackage PackageOpener::find_locked(const std::string& text) {
  artifact_.reset();
  if (!path_of(text)) {
    const PackageSpecifier specifier = parse_specifier(text);
    if (is_artifact(specifier)) {
      artifact_ = oci::Reference::parse(specifier.url()->text);
      use_repository(*artifact_);
    } else if (specifier.url() != nullptr) {
      addresses_->name(specifier.url()->text);  // before the packages of the lock file are opened
    }
  }
  reach_ = make_reach();
  return take(read_lock(lock_ ? *lock_ : parse_lock_file(*lock_path_), *lock_path_, text,
                        {.reach = *reach_,
                         .loader = *loader_,
                         .root = options_,
                         .skip_unavailable = skip_unavailable_,
                         .is_never_path = is_never_path_}));
}

RootPackage PackageOpener::take(LockedPackages locked) {
  source_ = std::make_unique<LockSource>(locked.lock);
  const PackageSummary& root = locked.lock.packages.front().summary;
  return {std::move(locked.root), root.pkg, root.dist};
}

RootPackage PackageOpener::find_in_artifact(const oci::Reference& reference) {
  artifact_ = reference;
  use_repository(reference);
  reach_ = make_reach();
  const std::unique_ptr<oci::Repository> registry = repository(reference);
  LockFile lock = find_artifact(
      reference, registry.get(),
      {.directory = settings_.artifacts_directory(),
       .login = logins_->identity(reference),
       .has_container = [this](const Sha256& hash) { return fetcher_->packages().find(hash).has_value(); },
       .must_ask = must_ask_});
  return take(open_artifact(std::move(lock), reference.to_string(),
                            {.reach = *reach_, .loader = *loader_, .skip_unavailable = skip_unavailable_}));
}

RootPackage PackageOpener::find(const std::string& text) {
  if (lock_path_) {
    return find_locked(text);
  }
  if (artifact_) {  // the package before was one, and `source_` has only its dependencies
    artifact_.reset();
    reach_ = make_reach();
    add_sources();
  }
  if (const auto path = path_of(text)) {
    return {open_path(*path, options_), std::nullopt, local_distribution(*path)};
  }
  const PackageSpecifier specifier = parse_specifier(text);
  if (is_artifact(specifier)) {
    return find_in_artifact(oci::Reference::parse(specifier.url()->text));
  }
  if (specifier.url() != nullptr) {
    addresses_->name(specifier.url()->text);
  }
  try {
    PackageSummary summary = query_latest(*source_, specifier);
    return {nullptr, std::move(summary.pkg), std::move(summary.dist)};
  } catch (const QueryError& error) {
    if (error.kind() != QueryError::Kind::kNotFound || specifier.named() == nullptr) {
      throw;
    }
    throw with_places(error, text, settings_);
  }
}

RootPackage PackageOpener::open(const std::string& text) {
  RootPackage root = find(text);
  if (root.package == nullptr) {
    root.package = loader_->load({.pkg = *root.info, .dist = root.dist});
  }
  return root;
}

Resolution PackageOpener::resolve_tree(const RootPackage& root) {
  Resolution resolution = resolve(
      info_of(root), root.dist, *source_,
      [&](const DistributionInfo& from, const PackageSpecifier& wanted) { return reach_->refusal(from, wanted); });
  resolution.graph.nodes.front().dist = root.dist;
  return resolution;
}

PackageInfo info_of(const RootPackage& root) {
  if (root.info) {
    return *root.info;
  }
  try {
    return describe(*root.package);
  } catch (Error& error) {
    throw std::move(error).context("Unable to use the manifest of \"" + root.package->name() + "\"");
  }
}

OpenedTree load_tree(PackageOpener& opener, const RootPackage& root, const std::string& package, const TreeFlags& flags,
                     const TreeOptions& options) {
  Resolution resolution = resolve_for_view(opener, root, package, flags);
  PackageTree tree = load_package_tree(root.package, opener.loader(), resolution, options);
  RepeatedWarning broken_commands("commands are broken");
  for (const Error& broken : tree.command_errors) {
    broken_commands.add("{}", broken);
  }
  broken_commands.end();
  tell_if_empty(tree, flags, package);
  std::shared_ptr<const Package> opened = tree.packages.at(tree.id);
  return {std::move(opened), std::move(resolution), std::move(tree)};
}

OpenedTree open_tree(const std::string& package, const TreeFlags& flags, const Io& io) {
  PackageOpener opener(flags, io);
  const RootPackage root = opener.find(package);
  return load_tree(opener, root, package, flags, tree_options(flags));
}

}  // namespace pkgfs
