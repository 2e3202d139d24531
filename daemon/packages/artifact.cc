// SPDX-License-Identifier: MIT
#include "daemon/packages/artifact.h"

#include <sys/stat.h>

#include <chrono>
#include <map>
#include <optional>
#include <utility>

#include "core/base/age_text.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/base/private_directory.h"
#include "core/webc/json_fields.h"

namespace pkgfs {
namespace {

/// Stands for the artifact itself, in the lock file that it has.
constexpr std::string_view kItself = "oci";

/// Manifests and lock files by hash, and the hashes that tags led to.
class ArtifactCache {
 public:
  explicit ArtifactCache(std::string directory) : directory_(std::move(directory)) {}

  [[nodiscard]] std::optional<std::string> find(const Sha256& digest) const {
    auto text = read(directory_ + "/" + to_hex(digest) + ".json");
    return text && sha256(*text) == digest ? std::move(text) : std::nullopt;
  }
  void keep(const Sha256& digest, const std::string& text) const { write(to_hex(digest) + ".json", text); }

  struct Tag {
    Sha256 digest{};
    std::optional<std::chrono::seconds> age;  // none if the clock was set back
  };
  [[nodiscard]] std::optional<Tag> find_tag(const oci::Reference& reference) const {
    const std::string path = directory_ + "/" + file_of(reference);
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
  void keep_tag(const oci::Reference& reference, const Sha256& digest) const {
    write(file_of(reference), oci::digest_text(digest));
  }

 private:
  static std::string file_of(const oci::Reference& reference) { return to_hex(sha256(reference.to_string())) + ".tag"; }

  static std::optional<std::string> read(const std::string& path) {
    try {
      return read_own_file(path, limits::kAnswerBytes);
    } catch (const Error& error) {
      if (error.is_of_run()) {
        throw;
      }
      log::info("\"{}\" isn't used: {}", path, error);
      return std::nullopt;
    }
  }

  void write(const std::string& name, const std::string& text) const {
    try {
      static_cast<void>(PrivateDirectory::make(directory_));  // no link that another user put there is followed
      write_file_atomically(directory_ + "/" + name, text, Durability::kUnsynced);
    } catch (const Error& error) {
      if (error.is_of_run()) {
        throw;
      }
      log::info("\"{}\" isn't kept: {}", directory_ + "/" + name, error);
    }
  }

  std::string directory_;
};

/// The manifest that `reference` names.
oci::Repository::Document find_manifest(const oci::Reference& reference, oci::Repository* repository,
                                        const ArtifactCache& cache) {
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
    cache.keep(found.digest, found.text);
    if (!reference.digest()) {
      cache.keep_tag(reference, found.digest);
    }
    return found;
  } catch (const Error& error) {
    if (error.is_of_run() || error.code() != ErrorCode::kNetwork) {
      throw;
    }
    if (auto kept = last(error.what())) {
      return *std::move(kept);
    }
    throw;
  }
}

/// Whether URLs of the registry begin with https. If that can't be found out now, everything must be in the cache.
bool is_https(oci::Repository* repository) {
  try {
    return repository == nullptr || repository->is_https();
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    log::debug("{}", error);
    return true;
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

LockFile find_artifact(const oci::Reference& reference, oci::Repository* repository, const std::string& cache) {
  const ArtifactCache kept(cache);
  try {
    const oci::Repository::Document document = find_manifest(reference, repository, kept);
    const oci::Manifest manifest = oci::parse_manifest(document.text);
    auto lock = kept.find(manifest.lock.digest);
    if (!lock) {
      if (repository == nullptr) {
        throw Error(ErrorCode::kNetwork, "its lock file isn't in the cache, and with --offline no registry is asked");
      }
      lock = repository->blob(manifest.lock);
      kept.keep(manifest.lock.digest, *lock);
    }
    return parse_artifact_lock(*lock, manifest, oci::Reference::parse(reference.at(document.digest)),
                               reference.api_url(is_https(repository) ? "https" : "http"));
  } catch (Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    throw std::move(error).context("Unable to use the package \"" + reference.to_string() + "\"");
  }
}

}  // namespace pkgfs
