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
  } else if (summary.dist.webc_sha256) {
    auto remote = std::make_unique<Remote>();
    {
      const MutexLock loading(remote->loading);
      remote->package = std::move(package);
    }
    remote_.emplace(*summary.dist.webc_sha256, std::move(remote));
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
  const auto source = lazy_ == nullptr ? nullptr : lazy_->open(wanted, client_, cancel);
  if (source == nullptr) {
    return nullptr;
  }
  try {
    const CancelScope scope(cancel);
    return open_container(source, wanted.hash, options);
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    // The download has more patience, and another hash than announced is found there.
    log::warn("{} can't be read in parts, so it is downloaded first: {}", wanted.name, error);
    return nullptr;
  }
}

std::shared_ptr<const Package> PackageLoader::load_remote(const PackageSummary& summary, const CancelFlag& cancel) {
  const std::string from = "from \"" + summary.dist.url + "\"";
  if (fetcher_ == nullptr) {
    throw Error(ErrorCode::kUnsupported, "only packages in local files can be loaded, and this one is " + from);
  }
  if (!summary.dist.webc_sha256) {
    throw Error(ErrorCode::kUnsupported, "nothing says which hash the package " + from + " should have");
  }
  const Sha256& hash = *summary.dist.webc_sha256;
  Remote* remote = nullptr;
  {
    const MutexLock lock(mutex_);
    auto& entry = remote_[hash];
    if (entry == nullptr) {
      entry = std::make_unique<Remote>();
    }
    remote = entry.get();
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
