// SPDX-License-Identifier: MIT
#include "core/load/package_loader.h"

#include <filesystem>
#include <utility>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/parallel.h"
#include "core/cache/container_fetcher.h"
#include "core/lazy/lazy_opener.h"

namespace pkgfs {
namespace {

const CancelFlag kNever;

/// Whether the manifest of a container names the package. If it can't be used, its user says why.
bool names_itself(const Package& package) {
  try {
    const auto wapm = package.manifest().wapm();
    return wapm && wapm->name;
  } catch (const Error&) {
    return true;
  }
}

}  // namespace

std::shared_ptr<const Package> PackageLoader::load(const PackageSummary& summary) {
  auto package = load(summary, cancel_ == nullptr ? kNever : *cancel_);
  sync();
  return package;
}

std::vector<std::shared_ptr<const Package>> PackageLoader::load_all(std::span<const PackageSummary> summaries) {
  return load_each(summaries, [&](std::size_t i, const CancelFlag& cancel) { return load(summaries[i], cancel); });
}

std::vector<std::shared_ptr<const Package>> PackageLoader::load_available(
    std::span<const PackageSummary> summaries, FunctionRef<void(const PackageSummary&, const Error&)> failed) {
  std::vector<std::optional<Error>> failures(summaries.size());
  const auto load_one = [&](std::size_t i, const CancelFlag& cancel) -> std::shared_ptr<const Package> {
    try {
      return load(summaries[i], cancel);
    } catch (const Error& error) {
      if (error.is_of_run() || error.code() == ErrorCode::kFull) {
        throw;  // no other package would find room either
      }
      failures[i] = error;
      return nullptr;
    }
  };
  auto packages = load_each(summaries, load_one);
  for (std::size_t i = 0; i < summaries.size(); ++i) {
    if (failures[i]) {
      failed(summaries[i], *failures[i]);
    }
  }
  return packages;
}

std::vector<std::shared_ptr<const Package>> PackageLoader::load_each(std::span<const PackageSummary> summaries,
                                                                     Load load_one) {
  const CancelFlag& cancel = cancel_ == nullptr ? kNever : *cancel_;
  std::vector<std::shared_ptr<const Package>> packages(summaries.size());
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < summaries.size(); ++i) {
    if (needs_download(summaries[i])) {
      missing.push_back(i);
    } else {
      packages[i] = load_one(i, cancel);
    }
  }
  for_each_in_parallel(missing.size(), limits::kParallelRequests, cancel, [&](std::size_t i, const CancelFlag& stop) {
    packages[missing[i]] = load_one(missing[i], stop);
  });
  sync();
  return packages;
}

void PackageLoader::sync() {
  if (fetcher_ != nullptr) {
    fetcher_->packages().sync();
  }
}

bool PackageLoader::needs_download(const PackageSummary& summary) const {
  if (summary.dist.path || !summary.dist.webc_sha256 || fetcher_ == nullptr) {
    return false;
  }
  std::error_code failed;
  return !std::filesystem::exists(fetcher_->packages().path_of(*summary.dist.webc_sha256), failed);
}

std::optional<std::string> PackageLoader::location(const PackageSummary& summary) const {
  if (summary.dist.path) {
    return summary.dist.path;
  }
  if (!summary.dist.webc_sha256 || fetcher_ == nullptr) {
    return summary.dist.url;
  }
  Remote* remote = nullptr;
  {
    const MutexLock lock(mutex_);
    const auto found = remote_.find(*summary.dist.webc_sha256);
    if (found == remote_.end()) {
      return fetcher_->packages().path_of(*summary.dist.webc_sha256);
    }
    remote = found->second.get();
  }
  const MutexLock lock(remote->loading);
  return remote->location;
}

std::shared_ptr<const Package> PackageLoader::load(const PackageSummary& summary, const CancelFlag& cancel) {
  try {
    return summary.dist.path ? load_local(summary.dist) : load_remote(summary, cancel);
  } catch (Error& error) {
    if (error.code() == ErrorCode::kInterrupted) {
      throw;
    }
    throw std::move(error).context("Unable to load the package \"" + summary.pkg.id.to_string() + "\"");
  }
}

OpenOptions PackageLoader::options_for(const DistributionInfo& dist) const {
  OpenOptions options = options_;
  options.allow_outside = false;  // the user trusts the root, not what it depends on
  options.follow_manifest = false;
  options.untrusted = options.untrusted || !(trust_ ? trust_(dist) : dist.path.has_value());
  return options;
}

void PackageLoader::adopt(const PackageSummary& summary, std::shared_ptr<const Package> package) {
  const MutexLock lock(mutex_);
  if (summary.dist.path) {
    local_.emplace(local_key(summary.dist), std::move(package));
  } else {
    Remote& remote =
        summary.dist.webc_sha256 ? entry_of(remote_, *summary.dist.webc_sha256) : entry_of(in_parts_, summary.dist.url);
    const MutexLock loading(remote.loading);
    remote.package = std::move(package);
  }
}

std::pair<bool, std::string> PackageLoader::local_key(const DistributionInfo& dist) const {
  std::error_code failed;
  const auto canonical = std::filesystem::canonical(*dist.path, failed);
  // After a failure, opening says what is wrong.
  return {options_for(dist).untrusted, failed ? *dist.path : canonical.string()};
}

std::shared_ptr<const Package> PackageLoader::load_local(const DistributionInfo& dist) {
  const std::string& path = *dist.path;
  std::pair key = local_key(dist);
  {
    const MutexLock lock(mutex_);
    if (const auto found = local_.find(key); found != local_.end()) {
      return found->second;
    }
  }
  auto package = open_package(path, options_for(dist));
  const MutexLock lock(mutex_);
  return local_.emplace(std::move(key), std::move(package)).first->second;
}

std::shared_ptr<const Package> PackageLoader::load_lazily(const ContainerFetcher::Announced& wanted,
                                                          const OpenOptions& options, const CancelFlag& cancel) {
  if (completes_) {
    (void)lazy_->complete(wanted, client_, cancel, observer_);  // then the cache has it, or it is downloaded
    return nullptr;
  }
  return lazy_ == nullptr || fetcher_->packages().find(wanted.hash) || fetcher_->has_copy_of(wanted.url, wanted.hash)
             ? nullptr
             : open_lazily(lazy_->open(wanted, client_, cancel), wanted.name, wanted.hash, options, cancel);
}

std::shared_ptr<const Package> PackageLoader::load_lazily(const Url& url, const CancelFlag& cancel) {
  if (lazy_ == nullptr || fetcher_ == nullptr || fetcher_->is_fresh(url)) {
    return nullptr;
  }
  if (completes_) {
    (void)lazy_->complete(url, client_, cancel, observer_);
    return nullptr;
  }
  const OpenOptions options = options_for({.url = url.text(), .path = std::nullopt, .webc_sha256 = std::nullopt});
  auto package = open_lazily(lazy_->open(url, client_, cancel), url.text(), std::nullopt, options, cancel);
  if (package == nullptr || !options.directory_data || names_itself(*package)) {
    return package;
  }
  log::debug("{} is downloaded before it is used: it has no name, so its id is the hash of all bytes", url.text());
  package.reset();
  (void)lazy_->complete(url, client_, cancel, observer_);
  return nullptr;
}

std::shared_ptr<const Package> PackageLoader::open_lazily(const std::shared_ptr<LazySource>& source,
                                                          const std::string& name, const std::optional<Sha256>& hash,
                                                          const OpenOptions& options, const CancelFlag& cancel) {
  if (source == nullptr) {
    return nullptr;
  }
  try {
    const CancelScope scope(cancel);
    return open_container(source, hash, options);
  } catch (const Error& error) {
    if (error.is_of_run() || error.code() == ErrorCode::kFull) {
      throw;
    }
    // The download has more patience, and another hash than announced is found there.
    log::warn("{} can't be read in parts, so it is downloaded first: {}", name, error);
    return nullptr;
  }
}

template <typename Key>
PackageLoader::Remote& PackageLoader::entry_of(std::map<Key, std::unique_ptr<Remote>>& map, const Key& key) {
  auto& entry = map[key];
  if (entry == nullptr) {
    entry = std::make_unique<Remote>();
  }
  return *entry;
}

std::shared_ptr<const Package> PackageLoader::open_in_parts(const Url& url, const CancelFlag& cancel) {
  Remote* remote = nullptr;
  {
    const MutexLock lock(mutex_);
    remote = &entry_of(in_parts_, url.text());
  }
  const MutexLock lock(remote->loading);
  if (remote->package == nullptr) {
    remote->package = load_lazily(url, cancel);
  }
  return remote->package;
}

std::shared_ptr<const Package> PackageLoader::reopen_in_parts(const Url& url, const std::string& version,
                                                              const CancelFlag& cancel) {
  const OpenOptions options = options_for({.url = url.text(), .path = std::nullopt, .webc_sha256 = std::nullopt});
  if (fetcher_ != nullptr && fetcher_->version_of(url) == version) {
    // It became complete meanwhile.
    auto package = open_package(fetcher_->path_of(url), options);
    if (fetcher_->version_of(url) == version) {
      return package;
    }
  }
  std::shared_ptr<const Package> package;
  if (lazy_ != nullptr) {
    package = open_lazily(lazy_->reopen(url, version, client_, cancel), url.text(), std::nullopt, options, cancel);
  }
  if (package == nullptr) {
    throw Error(ErrorCode::kNotFound, "the version of \"" + url.text() +
                                          "\" that was read in parts can't be had any more: it isn't in the cache, and "
                                          "its server doesn't answer or has another one");
  }
  return package;
}

std::shared_ptr<const Package> PackageLoader::opened_in_parts(const std::string& url) const {
  Remote* remote = nullptr;
  {
    const MutexLock lock(mutex_);
    const auto found = in_parts_.find(url);
    if (found == in_parts_.end()) {
      return nullptr;
    }
    remote = found->second.get();
  }
  const MutexLock lock(remote->loading);
  return remote->package;
}

std::shared_ptr<const Package> PackageLoader::load_remote(const PackageSummary& summary, const CancelFlag& cancel) {
  const std::string from = "from \"" + summary.dist.url + "\"";
  if (fetcher_ == nullptr) {
    throw Error(ErrorCode::kUnsupported, "only packages in local files can be loaded, and this one is " + from);
  }
  if (!summary.dist.webc_sha256) {
    if (auto package = opened_in_parts(summary.dist.url)) {
      return package;
    }
    throw Error(ErrorCode::kUnsupported, "nothing says which hash the package " + from + " should have");
  }
  const Sha256& hash = *summary.dist.webc_sha256;
  Remote* remote = nullptr;
  {
    const MutexLock lock(mutex_);
    remote = &entry_of(remote_, hash);
  }
  const MutexLock lock(remote->loading);
  if (remote->package == nullptr) {
    const ContainerFetcher::Announced wanted{.hash = hash,
                                             .url = summary.dist.url,
                                             .name = summary.pkg.id.to_string(),
                                             .is_hash_safe = summary.dist.is_hash_safe,
                                             .profile = summary.dist.profile};
    const OpenOptions options = options_for(summary.dist);
    std::shared_ptr<const Package> package = load_lazily(wanted, options, cancel);
    if (package == nullptr) {
      remote->location =
          fetcher_->fetch(wanted, cancel, [&](const std::string& path) { package = open_package(path, options); });
    }
    remote->package = std::move(package);
  }
  return remote->package;
}

}  // namespace pkgfs
