// SPDX-License-Identifier: MIT
#include "daemon/packages/locked_packages.h"

#include <fmt/format.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/files.h"
#include "core/cache/file_hash.h"
#include "core/source/graphql.h"
#include "daemon/packages/open_tree.h"
#include "daemon/packages/package_path.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;

constexpr std::size_t kLockBytes = 64U << 20U;

bool is_same(const stdfs::path& a, const stdfs::path& b) {
  std::error_code failed;
  return a == b || stdfs::equivalent(a, b, failed);
}

/// Whether `written`, a path in the manifest of a package, may stand for `path`. The file doesn't have the working
/// directory from which it was written: a relative path may count from the present one, and from each directory above
/// `near`, the places of the package and of the lock file.
bool leads_to(const std::string& written, const std::string& path, const std::vector<std::string>& near) {
  if (is_same(written, path)) {
    return true;
  }
  std::error_code failed;
  for (const std::string& each : near) {
    for (stdfs::path above = stdfs::absolute(each, failed); !failed && stdfs::path(written).is_relative();
         above = above.parent_path()) {
      if (is_same(above / written, path)) {
        return true;
      }
      if (above == above.parent_path()) {
        break;
      }
    }
  }
  return false;
}

/// Whether the package is one of the artifact that `name` stands for. A tag may stand for any artifact of its
/// repository, because it may have been moved.
bool is_named_by(const DistributionInfo& dist, const oci::Reference& name) {
  if (!is_of_artifact(dist)) {
    return false;
  }
  const oci::Reference own = oci::Reference::parse(*dist.registry);
  return own.is_same_repository(name) && (!name.digest() || name.digest() == own.digest());
}

/// Whether `package` answers `specifier`, which is no path.
bool answers(const PackageSummary& package, const PackageSpecifier& specifier) {
  const DistributionInfo& dist = package.dist;
  if (!dist.webc_sha256) {
    return false;  // a directory, whose contents nothing confirms
  }
  if (specifier.hash() != nullptr) {
    return *dist.webc_sha256 == specifier.hash()->digest();
  }
  if (specifier.url() != nullptr) {
    const std::string& url = specifier.url()->text;
    return oci::Reference::is_one(url) ? is_named_by(dist, oci::Reference::parse(url)) : dist.url == url;
  }
  const NamedId* id = package.pkg.id.named();
  return id != nullptr && graphql::is_same_name(specifier.named()->full_name(), id->full_name) &&
         specifier.named()->requirement().matches(id->version);
}

/// Compares the hash of a local file with the locked one. The loader hashes only downloads.
void check_local_file(const PackageSummary& summary) {
  if (!summary.dist.path) {
    return;
  }
  const std::string& path = *summary.dist.path;
  if (!summary.dist.webc_sha256) {
    std::error_code failed;
    if (stdfs::is_directory(path, failed)) {
      return;  // a directory is locked by its path only
    }
    if (failed) {
      throw system_error(fmt::format("Unable to open the package \"{}\"", path), failed.value());
    }
    throw Error(ErrorCode::kCorrupt, fmt::format("it has no hash for \"{}\"", path));
  }
  const Sha256 actual = FileHashes().of(path);
  if (actual != *summary.dist.webc_sha256) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("\"{}\", the package \"{}\", has changed since it was locked: expected hash {}, found {}",
                            path, summary.pkg.id.to_string(), to_hex(*summary.dist.webc_sha256), to_hex(actual)));
  }
}

/// Opens the packages of one lock file.
class LockReader {
 public:
  LockReader(std::string path, LockFile lock, const LockReading& reading)
      : path_(std::move(path)),
        lock_(std::move(lock)),
        reading_(reading),
        is_reached_(lock_.packages.size()),
        is_by_path_(lock_.packages.size()),
        loaded_(lock_.packages.size()) {
    for (std::size_t i = 0; i < lock_.packages.size(); ++i) {
      index_.emplace(lock_.packages[i].summary.pkg.id.to_string(), i);
    }
  }

  /// Checks that `text` names the first package.
  void check_root(const std::string& text) {
    const PackageSummary& root = lock_.packages.front().summary;
    const std::optional<std::string> path = reading_.is_never_path ? std::nullopt : package_path(text);
    if (is_locked_directory(root.dist) && !path) {
      throw Error(ErrorCode::kPermission,
                  fmt::format("the lock file \"{}\" has the directory \"{}\" for \"{}\": only its path may name a "
                              "directory",
                              path_, root.dist.url, text));
    }
    if (path ? !root.dist.path || !is_same(*path, *root.dist.path) : !answers(root, PackageSpecifier::parse(text))) {
      throw Error(ErrorCode::kUsage, fmt::format("the lock file \"{}\" is for \"{}\" from \"{}\", not for \"{}\"",
                                                 path_, root.pkg.id.to_string(), root.dist.url, text));
    }
    is_root_by_path_ = path.has_value();
  }

  LockedPackages read() && {
    place(0, is_root_by_path_);
    is_reached_.front() = true;
    load_announced();
    std::vector<std::size_t> level{0};
    while (!level.empty()) {
      open(level);
      level = next_level(level);
    }
    return {std::move(lock_), std::move(root_)};
  }

 private:
  /// Refuses a package that can't be where the file says. `by_path`: what asks for it names this path.
  void place(std::size_t i, bool by_path) {
    is_by_path_[i] = is_by_path_[i] || by_path;
    const PackageSummary& package = lock_.packages[i].summary;
    if (auto why = reading_.reach.refusal_of_lock(package.dist, is_by_path_[i])) {
      throw Error(ErrorCode::kPermission,
                  {fmt::format("\"{}\" can't be used", package.pkg.id.to_string()), *std::move(why)});
    }
  }

  /// Loads what may be loaded without a look at a manifest, so that a chain of downloads takes the time of one: the
  /// packages of the registries in the settings, which every package may name.
  void load_announced() {
    std::vector<std::size_t> announced;
    for (std::size_t i = 0; i < lock_.packages.size(); ++i) {
      const DistributionInfo& dist = lock_.packages[i].summary.dist;
      if (!dist.path && dist.registry && !reading_.reach.refusal_of_lock(dist, false)) {
        announced.push_back(i);
      }
    }
    load(announced);
  }

  void open(const std::vector<std::size_t>& level) {
    std::vector<std::size_t> missing;
    for (const std::size_t i : level) {
      check_local_file(lock_.packages[i].summary);
      if (!loaded_[i]) {
        missing.push_back(i);
      }
    }
    load(missing);
    for (const std::size_t i : level) {
      const std::shared_ptr<const Package>& package = *loaded_[i];
      confirm(lock_, i, package == nullptr ? std::nullopt : std::optional(info_of({package, std::nullopt, {}})));
    }
    if (level.front() == 0) {
      root_ = *loaded_.front();
    }
  }

  /// Loads the packages `wanted`. With `skip_unavailable`, one that can't be loaded is null, but never the root.
  void load(std::vector<std::size_t> wanted) {
    const PackageSummary& root = lock_.packages.front().summary;
    if (!wanted.empty() && wanted.front() == 0 && (root.dist.path || reading_.skip_unavailable)) {
      // A local root is opened here, because the loader never lets a package lead out of its directory.
      loaded_.front() =
          root.dist.path ? open_path(*root.dist.path, reading_.root) : reading_.loader.load_all({&root, 1}).front();
      wanted.erase(wanted.begin());
    }
    std::vector<PackageSummary> summaries;
    for (const std::size_t i : wanted) {
      summaries.push_back(lock_.packages[i].summary);
    }
    std::vector<std::shared_ptr<const Package>> packages =
        reading_.skip_unavailable
            ? reading_.loader.load_available(summaries, [](const PackageSummary&, const Error&) {})
            : reading_.loader.load_all(summaries);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      loaded_[wanted[i]] = std::move(packages[i]);
    }
  }

  /// The packages that those of `level` ask for, and that weren't asked for before.
  [[nodiscard]] std::vector<std::size_t> next_level(const std::vector<std::size_t>& level) {
    std::vector<std::size_t> next;
    for (const std::size_t from : level) {
      const LockFile::Locked& locked = lock_.packages[from];
      for (std::size_t i = 0; i < locked.summary.pkg.dependencies.size(); ++i) {
        const std::size_t to = index_.at(locked.dependency_ids.at(i));
        if (may_lead(locked.summary, locked.summary.pkg.dependencies[i].specifier, to) && !is_reached_[to]) {
          is_reached_[to] = true;
          next.push_back(to);
        }
      }
    }
    return next;
  }

  /// Checks that the package number `to` is what `from` asks for by `wanted`. False if `from` may not ask for that, and
  /// the resolver is to say so.
  [[nodiscard]] bool may_lead(const PackageSummary& from, const PackageSpecifier& wanted, std::size_t to) {
    const PackageSummary& package = lock_.packages[to].summary;
    const std::string id = from.pkg.id.to_string();
    if (is_of_artifact(from.dist)) {
      // Its dependencies may be named in any way, but they are in the artifact.
      if (package.dist.registry != from.dist.registry ||
          (wanted.path() == nullptr && wanted.url() == nullptr && !answers(package, wanted))) {
        throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" needs \"{}\", and \"{}\" from \"{}\" isn't that", id,
                                                     wanted.to_string(), package.pkg.id.to_string(), package.dist.url));
      }
      place(to, false);
      return true;
    }
    if (auto why = reading_.reach.refusal(from.dist, wanted)) {
      if (reading_.skip_unavailable) {
        return false;
      }
      throw Error(
          ErrorCode::kPermission,
          {fmt::format("The package \"{}\" may not depend on \"{}\"", id, wanted.to_string()), *std::move(why)});
    }
    const bool by_path = wanted.path() != nullptr && package.dist.path &&
                         leads_to(wanted.path()->text, *package.dist.path, {from.dist.path.value_or(path_), path_});
    if (is_locked_directory(package.dist) && !by_path) {
      throw Error(ErrorCode::kPermission,
                  fmt::format("\"{}\" depends on \"{}\", for which the lock file has the directory \"{}\": only a "
                              "dependency that names this path may lead there",
                              id, wanted.to_string(), *package.dist.path));
    }
    if (!by_path && (wanted.path() != nullptr || !answers(package, wanted))) {
      throw Error(ErrorCode::kCorrupt, fmt::format("\"{}\" needs \"{}\", and \"{}\" from \"{}\" isn't that", id,
                                                   wanted.to_string(), package.pkg.id.to_string(), package.dist.url));
    }
    place(to, by_path);
    return true;
  }

  std::string path_;
  LockFile lock_;
  const LockReading& reading_;
  bool is_root_by_path_ = false;
  std::vector<bool> is_reached_;
  std::vector<bool> is_by_path_;
  std::map<std::string, std::size_t> index_;                           // by id
  std::vector<std::optional<std::shared_ptr<const Package>>> loaded_;  // null: it can't be loaded, and is skipped
  std::shared_ptr<const Package> root_;
};

template <typename Step>
auto with_context(const std::string& path, const Step& step, const char* kind = "lock file") {
  try {
    return step();
  } catch (Error& error) {
    if (error.code() == ErrorCode::kInterrupted) {
      throw;
    }
    throw std::move(error).context(fmt::format("Unable to use the {} \"{}\"", kind, path));
  }
}

}  // namespace

LockFile parse_lock_file(const std::string& path, std::string* text) {
  return with_context(path, [&] {
    auto file = read_small_file(path, kLockBytes);
    if (!file) {
      throw Error(ErrorCode::kNotFound, "there is no such file");
    }
    LockFile lock = parse_lock(*file);
    if (text != nullptr) {
      *text = *std::move(file);
    }
    return lock;
  });
}

LockedPackages open_artifact(LockFile lock, const std::string& name, const LockReading& reading) {
  LockReader reader(name, std::move(lock), reading);
  return with_context(name, [&] { return std::move(reader).read(); }, "package");
}

LockedPackages read_lock(LockFile lock, const std::string& path, const std::string& text, const LockReading& reading) {
  LockReader reader(path, std::move(lock), reading);
  reader.check_root(text);
  return with_context(path, [&] { return std::move(reader).read(); });
}

}  // namespace pkgfs
