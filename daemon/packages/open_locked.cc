// SPDX-License-Identifier: MIT
// Opening packages by a lock file.
#include <filesystem>

#include "core/base/files.h"
#include "core/source/container_summary.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;

constexpr std::size_t kLockBytes = 64U << 20U;

/// Whether what the user names is what the lock file was written for.
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

/// What is opened in place isn't hashed by the loader.
void check_local_file(const PackageSummary& summary) {
  if (!summary.dist.path) {
    return;
  }
  if (!summary.dist.webc_sha256) {
    if (stdfs::is_directory(*summary.dist.path)) {
      return;  // locked by its path only
    }
    throw Error(ErrorCode::kCorrupt, "nothing says which hash \"" + *summary.dist.path + "\" should have");
  }
  const Sha256 actual = hash_file(*summary.dist.path);
  if (actual != *summary.dist.webc_sha256) {
    throw Error(ErrorCode::kCorrupt, "\"" + *summary.dist.path + "\", the package \"" + summary.pkg.id.to_string() +
                                         "\", isn't what was locked: expected hash " +
                                         to_hex(*summary.dist.webc_sha256) + ", found " + to_hex(actual));
  }
}

}  // namespace

void PackageOpener::read_lock(const std::string& path) {
  lock_path_ = path;
  try {
    const auto text = read_small_file(path, kLockBytes);
    if (!text) {
      throw Error(ErrorCode::kNotFound, "there is no such file");
    }
    lock_ = parse_lock(*text);
    for (const LockFile::Locked& locked : lock_->packages) {
      check_local_file(locked.summary);
    }
  } catch (Error& error) {
    throw std::move(error).context("Unable to use the lock file \"" + path + "\"");
  }
  source_ = std::make_unique<LockSource>(*lock_);
}

RootPackage PackageOpener::find_locked(const std::string& text) {
  const PackageSummary& root = lock_->packages.front().summary;
  if (!is_named_by(root, text)) {
    throw Error(ErrorCode::kUsage, "the lock file \"" + lock_path_ + "\" is for \"" + root.pkg.id.to_string() +
                                       "\" from \"" + root.dist.url + "\", not for \"" + text + "\"");
  }
  return {nullptr, root.pkg, root.dist};
}

}  // namespace pkgfs
