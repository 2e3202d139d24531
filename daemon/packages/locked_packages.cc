// SPDX-License-Identifier: MIT
#include "daemon/packages/locked_packages.h"

#include <filesystem>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/files.h"
#include "core/cache/file_hash.h"
#include "core/resolve/lock_reach.h"
#include "core/source/graphql.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;

constexpr std::size_t kLockBytes = 64U << 20U;

/// Whether `package` answers `specifier`.
bool answers(const PackageSummary& package, const PackageSpecifier& specifier) {
  const DistributionInfo& dist = package.dist;
  std::error_code failed;
  if (specifier.path() != nullptr) {
    return dist.path && stdfs::equivalent(specifier.path()->text, *dist.path, failed);
  }
  if (!dist.webc_sha256) {
    return false;  // a directory, whose contents nothing confirms
  }
  if (specifier.hash() != nullptr) {
    return *dist.webc_sha256 == specifier.hash()->digest();
  }
  if (specifier.url() != nullptr) {
    return dist.url == specifier.url()->text;
  }
  const NamedId* id = package.pkg.id.named();
  return id != nullptr && graphql::is_same_name(specifier.named()->full_name(), id->full_name) &&
         specifier.named()->requirement().matches(id->version);
}

/// Whether `text`, from the command line, names the package that the lock file was written for.
bool is_named_by(const PackageSummary& root, const std::string& text) {
  std::error_code failed;
  if (stdfs::exists(text, failed)) {
    return root.dist.path && stdfs::equivalent(text, *root.dist.path, failed);
  }
  return answers(root, PackageSpecifier::parse(text));
}

/// Compares the hash of a local file with the locked one. The loader hashes only downloads.
void check_local_file(const PackageSummary& summary) {
  if (!summary.dist.path) {
    return;
  }
  if (!summary.dist.webc_sha256) {
    if (stdfs::is_directory(*summary.dist.path)) {
      return;  // a directory is locked by its path only
    }
    throw Error(ErrorCode::kCorrupt, "it has no hash for \"" + *summary.dist.path + "\"");
  }
  const Sha256 actual = hash_file(*summary.dist.path);
  if (actual != *summary.dist.webc_sha256) {
    throw Error(ErrorCode::kCorrupt, "\"" + *summary.dist.path + "\", the package \"" + summary.pkg.id.to_string() +
                                         "\", has changed since it was locked: expected hash " +
                                         to_hex(*summary.dist.webc_sha256) + ", found " + to_hex(actual));
  }
}

/// What the manifests say of the packages.
std::vector<std::optional<PackageInfo>> infos_of(const LockFile& lock, PackageLoader& loader, bool skip_unavailable) {
  std::vector<PackageSummary> summaries;
  for (const LockFile::Locked& locked : lock.packages) {
    summaries.push_back(locked.summary);
  }
  const auto refuse_root = [&](const PackageSummary& package, const Error& error) {
    if (package.pkg.id == summaries.front().pkg.id) {
      throw Error(error);
    }
  };
  const auto packages = skip_unavailable ? loader.load_available(summaries, refuse_root) : loader.load_all(summaries);
  std::vector<std::optional<PackageInfo>> infos(packages.size());
  for (std::size_t i = 0; i < packages.size(); ++i) {
    if (packages[i] != nullptr) {
      infos[i] = info_of({packages[i], std::nullopt, {}});
    }
  }
  return infos;
}

void check_answers(const LockFile& lock) {
  std::map<std::string, const PackageSummary*> by_id;
  for (const LockFile::Locked& locked : lock.packages) {
    by_id.emplace(locked.summary.pkg.id.to_string(), &locked.summary);
  }
  for (const LockFile::Locked& locked : lock.packages) {
    const PackageInfo& pkg = locked.summary.pkg;
    for (std::size_t i = 0; i < pkg.dependencies.size(); ++i) {
      const PackageSummary& package = *by_id.at(locked.dependency_ids[i]);
      if (!answers(package, pkg.dependencies[i].specifier)) {
        throw Error(ErrorCode::kCorrupt,
                    "\"" + pkg.id.to_string() + "\" needs \"" + pkg.dependencies[i].specifier.to_string() +
                        "\", and \"" + package.pkg.id.to_string() + "\" from \"" + package.dist.url + "\" isn't that");
      }
    }
  }
}

}  // namespace

LockFile read_lock_file(const std::string& path, PackageLoader& loader, bool skip_unavailable) {
  try {
    const auto text = read_small_file(path, kLockBytes);
    if (!text) {
      throw Error(ErrorCode::kNotFound, "there is no such file");
    }
    LockFile lock = parse_lock(*text);
    for (const LockFile::Locked& locked : lock.packages) {
      check_local_file(locked.summary);
    }
    check_lock_reach(lock);
    confirm(lock, infos_of(lock, loader, skip_unavailable));
    check_answers(lock);
    return lock;
  } catch (Error& error) {
    if (error.code() == ErrorCode::kInterrupted) {
      throw;
    }
    throw std::move(error).context("Unable to use the lock file \"" + path + "\"");
  }
}

const PackageSummary& locked_root(const LockFile& lock, const std::string& path, const std::string& text) {
  const PackageSummary& root = lock.packages.front().summary;
  std::error_code failed;
  if (is_locked_directory(root.dist) && !stdfs::exists(text, failed)) {
    throw Error(ErrorCode::kPermission, "the lock file \"" + path + "\" has the directory \"" + root.dist.url +
                                            "\" for \"" + text + "\": only its path may name a directory");
  }
  if (!is_named_by(root, text)) {
    throw Error(ErrorCode::kUsage, "the lock file \"" + path + "\" is for \"" + root.pkg.id.to_string() + "\" from \"" +
                                       root.dist.url + "\", not for \"" + text + "\"");
  }
  return root;
}

}  // namespace pkgfs
