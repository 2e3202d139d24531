// SPDX-License-Identifier: MIT
#include "core/load/package_loader.h"

#include <unistd.h>

#include <filesystem>

#include "core/base/log.h"
#include "core/base/parallel.h"
#include "core/source/container_summary.h"
#include "core/source/url_source.h"

namespace pkgfs {
namespace {

const CancelFlag kNever;

std::string describe(const PackageSummary& summary) {
  return "Unable to load the package \"" + summary.pkg.id.to_string() + "\"";
}

/// A URL that a registry gave: a wrong one is the registry's fault.
Url announced_url(const std::string& text) {
  try {
    return Url::parse(text);
  } catch (const Error& error) {
    throw Error(ErrorCode::kNetwork, error.chain());
  }
}

}  // namespace

std::shared_ptr<const Package> PackageLoader::load(const PackageSummary& summary) {
  auto package = load(summary, remote_.cancel == nullptr ? kNever : *remote_.cancel);
  if (remote_.cache != nullptr) {
    remote_.cache->sync();
  }
  return package;
}

std::vector<std::shared_ptr<const Package>> PackageLoader::load_all(std::span<const PackageSummary> summaries) {
  const CancelFlag& cancel = remote_.cancel == nullptr ? kNever : *remote_.cancel;
  std::vector<std::shared_ptr<const Package>> packages(summaries.size());
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < summaries.size(); ++i) {
    if (is_missing(summaries[i])) {
      missing.push_back(i);
    } else {
      packages[i] = load(summaries[i], cancel);
    }
  }
  for_each_in_parallel(missing.size(), limits::kParallelRequests, cancel, [&](std::size_t i, const CancelFlag& stop) {
    packages[missing[i]] = load(summaries[missing[i]], stop);
  });
  if (remote_.cache != nullptr) {
    remote_.cache->sync();
  }
  return packages;
}

bool PackageLoader::is_missing(const PackageSummary& summary) const {
  if (summary.dist.path || !summary.dist.webc_sha256 || remote_.cache == nullptr) {
    return false;
  }
  std::error_code failed;
  return !std::filesystem::exists(remote_.cache->path_of(*summary.dist.webc_sha256), failed);
}

std::optional<std::string> PackageLoader::location(const PackageSummary& summary) const {
  if (summary.dist.path) {
    return summary.dist.path;
  }
  if (summary.dist.webc_sha256) {
    const std::lock_guard lock(mutex_);
    if (const auto found = elsewhere_.find(*summary.dist.webc_sha256); found != elsewhere_.end()) {
      return found->second;
    }
  }
  return summary.dist.webc_sha256 && remote_.cache != nullptr ? remote_.cache->path_of(*summary.dist.webc_sha256)
                                                              : summary.dist.url;
}

std::shared_ptr<const Package> PackageLoader::load(const PackageSummary& summary, const CancelFlag& cancel) {
  try {
    if (!summary.dist.path) {
      return load_remote(summary, cancel);
    }
    std::error_code failed;
    const auto canonical = std::filesystem::canonical(*summary.dist.path, failed);
    return open(failed ? *summary.dist.path : canonical.string(), *summary.dist.path);  // opening says what is wrong
  } catch (Error& error) {
    if (error.code() == ErrorCode::kInterrupted) {
      throw;
    }
    throw std::move(error).context(describe(summary));
  }
}

std::shared_ptr<const Package> PackageLoader::open(const std::string& key, const std::string& path) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = opened_.find(key); found != opened_.end()) {
      return found->second;
    }
  }
  auto package = open_package(path, options_);
  const std::lock_guard lock(mutex_);
  return opened_.emplace(key, std::move(package)).first->second;
}

std::shared_ptr<const Package> PackageLoader::load_remote(const PackageSummary& summary, const CancelFlag& cancel) {
  const std::string from = "from \"" + summary.dist.url + "\"";
  if (remote_.cache == nullptr) {
    throw Error(ErrorCode::kUnsupported, "only packages in local files can be loaded, and this one is " + from);
  }
  if (!summary.dist.webc_sha256) {
    throw Error(ErrorCode::kUnsupported, "nothing says which hash the package " + from + " should have");
  }
  const Sha256& hash = *summary.dist.webc_sha256;
  if (auto package = open_entry(hash)) {
    return package;
  }
  const Url url = announced_url(summary.dist.url);
  if (auto package = open_kept_url(url, hash)) {
    return package;
  }
  if (remote_.client == nullptr) {
    throw Error(ErrorCode::kNetwork, "it isn't in the cache \"" + remote_.cache->directory() +
                                         "\", and with --offline it can't be downloaded " + from);
  }
  const ContainersByHash::Slot slot = remote_.cache->reserve(hash, cancel);
  if (auto package = open_entry(hash)) {
    return package;  // somebody else was downloading it
  }
  return fetch(summary, url, slot, cancel);
}

Downloaded PackageLoader::download_to(const PackageSummary& summary, const Url& url, const std::string& part,
                                      const CancelFlag& cancel) const {
  const DownloadRequest request{
      .url = url,
      .bearer = token_for(url, remote_.tokens),
      .max_bytes = remote_.max_bytes,
      .name = summary.pkg.id.to_string(),
      .observer = remote_.observer,
  };
  try {
    return download(*remote_.client, request, part, cancel);
  } catch (Error& error) {
    if (error.code() == ErrorCode::kInterrupted) {
      throw;
    }
    throw std::move(error).context("Unable to download \"" + summary.dist.url + "\"");
  }
}

void PackageLoader::tell_finished(const PackageSummary& summary, std::uint64_t size, bool success) const {
  if (remote_.observer != nullptr) {
    remote_.observer->finished(summary.pkg.id.to_string(), size, success);
  }
}

std::shared_ptr<const Package> PackageLoader::fetch(const PackageSummary& summary, const Url& url,
                                                    const ContainersByHash::Slot& slot, const CancelFlag& cancel) {
  const Sha256& hash = *summary.dist.webc_sha256;
  const Downloaded downloaded = download_to(summary, url, slot.part(), cancel);
  if (downloaded.sha256 == hash) {
    std::string path;
    try {
      path = remote_.cache->commit(slot, hash);
    } catch (const Error&) {
      tell_finished(summary, downloaded.size, false);
      throw;
    }
    tell_finished(summary, downloaded.size, true);
    return open(to_hex(hash), path);
  }
  tell_finished(summary, downloaded.size, false);
  const std::string mismatch = "image hash mismatch! expected hash '" + to_upper_hex(hash) +
                               "', but the computed hash is '" + to_upper_hex(downloaded.sha256) + "' (source '" +
                               summary.dist.url + "')";
  if (remote_.verify == VerifyDownloads::kFail) {
    discard_download(slot.part());
    throw Error(ErrorCode::kCorrupt, mismatch);
  }
  if (remote_.verify == VerifyDownloads::kWarn) {
    log::warn("{}: {}", summary.pkg.id.to_string(), mismatch);
  }
  // It stays open while it is used, and is gone afterwards.
  std::shared_ptr<const Package> package;
  try {
    package = open(to_hex(hash), slot.part());
  } catch (const Error&) {
    discard_download(slot.part());
    throw;
  }
  discard_download(slot.part());
  const std::lock_guard lock(mutex_);
  elsewhere_.emplace(hash, std::nullopt);
  return package;
}

std::shared_ptr<const Package> PackageLoader::open_kept_url(const Url& url, const Sha256& hash) {
  if (remote_.urls_directory.empty()) {
    return nullptr;
  }
  const std::string path = UrlSource::path_of(remote_.urls_directory, url);
  try {
    if (hash_file(path) != hash) {
      return nullptr;
    }
  } catch (const Error&) {
    return nullptr;  // not there
  }
  auto package = open(to_hex(hash), path);
  const std::lock_guard lock(mutex_);
  elsewhere_.emplace(hash, path);
  return package;
}

std::shared_ptr<const Package> PackageLoader::open_entry(const Sha256& hash) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = opened_.find(to_hex(hash)); found != opened_.end()) {
      return found->second;
    }
  }
  const auto path = remote_.cache->find(hash);
  if (!path) {
    return nullptr;
  }
  try {
    return open(to_hex(hash), *path);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) {
      return nullptr;  // removed meanwhile
    }
    // A broken package that came so from its registry is no damage of the cache: another download wouldn't help.
    const auto actual = remote_.cache->hash_or_set_aside(hash);
    if (actual && *actual == hash) {
      throw;
    }
    if (actual) {
      remote_.cache->set_aside(hash, error.what());
    }
    return nullptr;
  }
}

}  // namespace pkgfs
