// SPDX-License-Identifier: MIT
#include "daemon/packages/locked_packages.h"

#include <filesystem>

#include "core/base/files.h"
#include "core/cache/file_hash.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;

constexpr std::size_t kLockBytes = 64U << 20U;

/// Whether `text`, from the command line, names the package that the lock file was written for.
bool is_named_by(const PackageSummary& root, const std::string& text) {
  std::error_code failed;
  if (stdfs::exists(text, failed)) {
    return root.dist.path && stdfs::equivalent(text, *root.dist.path, failed);
  }
  const PackageSpecifier specifier = PackageSpecifier::parse(text);
  if (specifier.named() != nullptr) {
    return root.pkg.id.named() != nullptr && specifier.named()->matches(*root.pkg.id.named());
  }
  if (specifier.hash() != nullptr) {
    return root.dist.webc_sha256 == specifier.hash()->digest();
  }
  return specifier.url() != nullptr && specifier.url()->text == root.dist.url;
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

}  // namespace

LockFile read_lock_file(const std::string& path) {
  try {
    const auto text = read_small_file(path, kLockBytes);
    if (!text) {
      throw Error(ErrorCode::kNotFound, "there is no such file");
    }
    LockFile lock = parse_lock(*text);
    for (const LockFile::Locked& locked : lock.packages) {
      check_local_file(locked.summary);
    }
    return lock;
  } catch (Error& error) {
    throw std::move(error).context("Unable to use the lock file \"" + path + "\"");
  }
}

const PackageSummary& locked_root(const LockFile& lock, const std::string& path, const std::string& text) {
  const PackageSummary& root = lock.packages.front().summary;
  if (!is_named_by(root, text)) {
    throw Error(ErrorCode::kUsage, "the lock file \"" + path + "\" is for \"" + root.pkg.id.to_string() + "\" from \"" +
                                       root.dist.url + "\", not for \"" + text + "\"");
  }
  return root;
}

}  // namespace pkgfs
