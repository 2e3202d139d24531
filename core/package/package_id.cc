// SPDX-License-Identifier: MIT
#include "core/package/package_id.h"

#include <utility>

#include "core/base/thread_annotations.h"

namespace pkgfs {
namespace {

constexpr std::string_view kPrefix = "sha256:";

}  // namespace

struct PackageHash::State {
  Mutex mutex;
  std::function<Sha256()> compute PKGFS_GUARDED_BY(mutex);  // empty once `digest` is set
  // Written under the mutex only, and never again once `compute` is empty, so that `digest()` may return a reference.
  Sha256 digest{};
};

PackageHash::PackageHash(const Sha256& digest) : state_(std::make_shared<State>()) {
  const MutexLock lock(state_->mutex);
  state_->digest = digest;
}

PackageHash::PackageHash(std::function<Sha256()> compute) : state_(std::make_shared<State>()) {
  const MutexLock lock(state_->mutex);
  state_->compute = std::move(compute);
}

const Sha256& PackageHash::digest() const {
  const MutexLock lock(state_->mutex);
  if (state_->compute) {
    state_->digest = state_->compute();
    state_->compute = nullptr;  // it may keep a file open
  }
  return state_->digest;
}

std::optional<Sha256> PackageHash::known() const {
  const MutexLock lock(state_->mutex);
  return state_->compute ? std::nullopt : std::optional(state_->digest);
}

std::string PackageHash::to_string() const { return std::string(kPrefix) + to_hex(digest()); }

std::optional<PackageHash> PackageHash::parse(std::string_view text) {
  if (!text.starts_with(kPrefix)) {
    return std::nullopt;
  }
  const std::optional<Sha256> digest = sha256_from_hex(text.substr(kPrefix.size()));
  return digest ? std::optional(PackageHash(*digest)) : std::nullopt;
}

std::optional<PackageId> PackageId::parse(std::string_view text) {
  if (auto hash = PackageHash::parse(text)) {
    return *std::move(hash);
  }
  const std::size_t at = text.rfind('@');
  auto version = at == std::string_view::npos ? std::nullopt : Version::try_parse(text.substr(at + 1));
  return version && at > 0 ? std::optional<PackageId>(NamedId{std::string(text.substr(0, at)), *std::move(version)})
                           : std::nullopt;
}

std::string PackageId::to_string() const {
  if (const NamedId* id = named()) {
    return id->full_name + "@" + id->version.to_string();
  }
  return hash()->to_string();
}

}  // namespace pkgfs
