// SPDX-License-Identifier: MIT
#include "daemon/packages/artifact.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <random>
#include <utility>

#include "core/base/age_text.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/base/private_directory.h"
#include "core/cache/cache_files.h"
#include "core/webc/json_fields.h"
#include "daemon/packages/artifact_files.h"

namespace pkgfs {
namespace {

/// Stands for the artifact itself, in the lock file that it has.
constexpr std::string_view kItself = "oci";

constexpr const char* kSaltFile = "salt";
constexpr std::size_t kSaltBytes = 32;

/// Manifests and lock files by hash, the hashes that tags led to, and how registries of this machine are reached.
class ArtifactCache {
 public:
  explicit ArtifactCache(const ArtifactPlace& place)
      : shared_(place.directory + "/" + std::string(artifact_files::kOpen)),
        own_(place.login.empty() ? shared_ : place.directory + "/" + name_of(place)) {}

  [[nodiscard]] std::optional<std::string> find(const Sha256& digest) const {
    const std::string name = to_hex(digest) + std::string(artifact_files::kDocument);
    for (const std::string& directory : {own_, shared_}) {
      auto text = read(directory + "/" + name);
      if (text && sha256(*text) == digest) {
        return text;
      }
    }
    return std::nullopt;
  }
  void keep(const Sha256& digest, const std::string& text) const {
    write(own_, to_hex(digest) + std::string(artifact_files::kDocument), text);
  }

  /// `http` or `https`, by which `reference` was reached last.
  [[nodiscard]] std::optional<std::string> find_scheme(const oci::Reference& reference) const {
    for (const std::string& directory : {own_, shared_}) {
      const auto text = read(directory + "/" + file_of(reference.repository_text(), artifact_files::kScheme));
      if (text == "http" || text == "https") {
        return text;
      }
    }
    return std::nullopt;
  }
  void keep_scheme(const oci::Reference& reference, const std::string& scheme) const {
    if (find_scheme(reference).value_or("https") != scheme) {
      write(own_, file_of(reference.repository_text(), artifact_files::kScheme), scheme);
    }
  }

  struct Tag {
    Sha256 digest{};
    std::optional<std::chrono::seconds> age;  // none if the clock was set back
  };
  [[nodiscard]] std::optional<Tag> find_tag(const oci::Reference& reference) const {
    auto tag = read_tag(own_ + "/" + file_of(reference.to_string(), artifact_files::kTag));
    return tag || own_ == shared_ ? tag
                                  : read_tag(shared_ + "/" + file_of(reference.to_string(), artifact_files::kTag));
  }
  void keep_tag(const oci::Reference& reference, const Sha256& digest) const {
    write(own_, file_of(reference.to_string(), artifact_files::kTag), oci::digest_text(digest));
  }

 private:
  static std::string file_of(const std::string& name, std::string_view ending) {
    return to_hex(sha256(name)) + std::string(ending);
  }

  /// The name of the login's directory, which messages may show: nobody can find the secret by trying, because the
  /// cache has a random salt.
  static std::string name_of(const ArtifactPlace& place) {
    auto salt = read(place.directory + "/" + kSaltFile);
    if (!salt || salt->size() != 2 * kSaltBytes) {
      std::random_device random;
      std::string bytes(kSaltBytes, '\0');
      std::ranges::generate(bytes, [&random] { return static_cast<char>(random()); });
      salt = to_hex(sha256(bytes));
      write(place.directory, kSaltFile, *salt);
    }
    return to_hex(sha256(*salt + place.login));
  }

  static std::optional<Tag> read_tag(const std::string& path) {
    const auto text = read(path);
    const auto digest = text ? oci::parse_digest(*text) : std::nullopt;
    struct stat status{};
    if (!digest || ::stat(path.c_str(), &status) != 0) {
      return std::nullopt;
    }
    Tag tag{.digest = *digest, .age = std::nullopt};
    const auto age = std::chrono::system_clock::now() - std::chrono::system_clock::from_time_t(status.st_mtime);
    if (age >= age.zero()) {
      tag.age = std::chrono::duration_cast<std::chrono::seconds>(age);
    }
    return tag;
  }

  static std::optional<std::string> read(const std::string& path) {
    try {
      auto text = read_own_file(path, limits::kAnswerBytes);
      if (text) {
        cache_files::mark_used(path);  // for `pkgfs cache prune`
      }
      return text;
    } catch (const Error& error) {
      if (error.is_of_run()) {
        throw;
      }
      log::info("\"{}\" isn't used: {}", path, error);
      return std::nullopt;
    }
  }

  static void write(const std::string& directory, const std::string& name, const std::string& text) {
    try {
      static_cast<void>(PrivateDirectory::make(directory));  // no link that another user put there is followed
      write_file_atomically(directory + "/" + name, text, Durability::kUnsynced);
    } catch (const Error& error) {
      if (error.is_of_run()) {
        throw;
      }
      log::info("\"{}\" isn't kept: {}", directory + "/" + name, error);
    }
  }

  std::string shared_;  // of what registries show without a login
  std::string own_;     // of the login
};

/// The manifest that `reference` names.
oci::Repository::Document find_manifest(const oci::Reference& reference, oci::Repository* repository,
                                        const ArtifactCache& cache, bool must_ask) {
  if (reference.digest()) {
    if (auto kept = cache.find(*reference.digest())) {
      return {.text = *std::move(kept), .digest = *reference.digest()};
    }
  }
  const auto last = [&](const std::string& why) -> std::optional<oci::Repository::Document> {
    const auto tag = reference.digest() ? std::nullopt : cache.find_tag(reference);
    auto kept = tag ? cache.find(tag->digest) : std::nullopt;
    if (!kept) {
      return std::nullopt;
    }
    log::warn("{}: the tag \"{}\" was last looked up {} ago, and led to {}", why, reference.to_string(),
              age_text(tag->age), oci::digest_text(tag->digest));
    return oci::Repository::Document{.text = *std::move(kept), .digest = tag->digest};
  };
  if (repository == nullptr) {
    if (auto kept = last("offline")) {
      return *std::move(kept);
    }
    throw Error(ErrorCode::kNetwork, "it isn't in the cache, and with --offline no registry is asked");
  }
  try {
    oci::Repository::Document found = repository->manifest();
    static_cast<void>(oci::parse_manifest(found.text));  // nothing is kept of what isn't a package
    cache.keep(found.digest, found.text);
    if (!reference.digest()) {
      cache.keep_tag(reference, found.digest);
    }
    return found;
  } catch (const Error& error) {
    if (error.is_of_run() || error.code() != ErrorCode::kNetwork || must_ask) {
      throw;
    }
    if (auto kept = last(error.what())) {
      return *std::move(kept);
    }
    throw;
  }
}

/// How URLs of the registry begin. It is asked only if a container must be fetched, or if it was asked before. If that
/// fails, everything must be in the cache.
std::string scheme_of(const oci::Reference& reference, oci::Repository* repository, const ArtifactCache& cache,
                      bool must_fetch) {
  const std::optional<std::string> kept = cache.find_scheme(reference);
  if (repository == nullptr || !(must_fetch || repository->is_reached())) {
    return kept.value_or("https");
  }
  try {
    const std::string scheme = repository->is_https() ? "https" : "http";
    cache.keep_scheme(reference, scheme);
    return scheme;
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    log::debug("{}", error);
    return kept.value_or("https");
  }
}

}  // namespace

std::string artifact_lock(const Resolution& resolution) {
  LockFile lock = make_lock(resolution);
  lock.format = 2;  // without profiles, which belong to a machine
  for (LockFile::Locked& locked : lock.packages) {
    DistributionInfo& dist = locked.summary.dist;
    dist = {.url = oci::digest_text(dist.webc_sha256.value()),
            .path = std::nullopt,
            .webc_sha256 = dist.webc_sha256,
            .registry = std::string(kItself)};
  }
  return print_lock(lock);
}

LockFile parse_artifact_lock(std::string_view text, const oci::Manifest& manifest, const oci::Reference& reference,
                             const std::string& repository) {
  LockFile lock = parse_lock(text);
  std::map<Sha256, bool> is_used;
  for (const oci::Descriptor& container : manifest.containers) {
    is_used.emplace(container.digest, false);
  }
  const std::string own_name = reference.at(reference.digest().value());
  for (LockFile::Locked& locked : lock.packages) {
    DistributionInfo& dist = locked.summary.dist;
    const std::string id = locked.summary.pkg.id.to_string();
    if (dist.path || !dist.webc_sha256 || dist.url != oci::digest_text(*dist.webc_sha256) || dist.registry != kItself) {
      throw Error(ErrorCode::kCorrupt,
                  "its lock file has the package \"" + id + "\" outside of the artifact, at \"" + dist.url + "\"");
    }
    const auto container = is_used.find(*dist.webc_sha256);
    if (container == is_used.end()) {
      throw Error(ErrorCode::kCorrupt,
                  "its lock file has the package \"" + id + "\", and the manifest has no layer " + dist.url);
    }
    container->second = true;
    dist.url = repository + "blobs/" + dist.url;
    dist.registry = own_name;
    *webc::member(locked.entry, "url") = dist.url;
    *webc::member(*webc::member(locked.entry, "registry"), "url") = own_name;
  }
  for (const auto& [digest, used] : is_used) {
    if (!used) {
      throw Error(ErrorCode::kCorrupt,
                  "the manifest has the layer " + oci::digest_text(digest) + ", which isn't in its lock file");
    }
  }
  return lock;
}

LockFile find_artifact(const oci::Reference& reference, oci::Repository* repository, const ArtifactPlace& place) {
  try {
    const ArtifactCache kept(place);
    const oci::Repository::Document document = find_manifest(reference, repository, kept, place.must_ask);
    const oci::Manifest manifest = oci::parse_manifest(document.text);
    auto lock = kept.find(manifest.lock.digest);
    bool is_new = false;
    if (!lock) {
      if (repository == nullptr) {
        throw Error(ErrorCode::kNetwork, "its lock file isn't in the cache, and with --offline no registry is asked");
      }
      lock = repository->blob(manifest.lock);
      is_new = true;
    }
    const bool has_all = std::ranges::all_of(
        manifest.containers, [&](const oci::Descriptor& container) { return place.has_container(container.digest); });
    LockFile found = parse_artifact_lock(*lock, manifest, oci::Reference::parse(reference.at(document.digest)),
                                         reference.api_url(scheme_of(reference, repository, kept, !has_all)));
    if (is_new) {
      kept.keep(manifest.lock.digest, *lock);
    }
    return found;
  } catch (Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    throw std::move(error).context("Unable to use the package \"" + reference.to_string() + "\"");
  }
}

}  // namespace pkgfs
