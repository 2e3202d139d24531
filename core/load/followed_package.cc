// SPDX-License-Identifier: MIT
#include "core/load/followed_package.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <exception>
#include <span>
#include <utility>

#include "core/base/files.h"
#include "core/base/log.h"
#include "core/load/package_directory.h"

namespace pkgfs {
namespace {

constexpr int kDirectoryPath = O_PATH | O_DIRECTORY | O_CLOEXEC;
constexpr const char* kManifest = "wasmer.toml";

}  // namespace

/// Logs that the manifest isn't the one that was mounted, once for each new text.
class FollowedPackage::Manifest final : public vfs::NameListener {
 public:
  Manifest(const FollowedPackage& package, const Sha256& mounted)
      : package_(package), mounted_(mounted), last_(mounted) {}
  void suspect() noexcept override {}
  void look() noexcept override {
    try {
      compare();
    } catch (const std::exception&) {
      return;  // it is being written: the end of that is another change
    }
  }

 private:
  void compare() {
    const std::optional<Sha256> now = package_.manifest_hash();
    if (!now) {
      return;
    }
    if (*now != last_ && *now != mounted_) {
      log::warn(
          "\"{}/{}\" has changed, but the mount shows the package as the old one described it; unmount and mount "
          "it again to take the change over, or mount it with --follow-manifest",
          package_.name(), kManifest);
    }
    last_ = *now;
  }

  const FollowedPackage& package_;  // owns this
  Sha256 mounted_;
  Sha256 last_;
};

FollowedPackage::FollowedPackage(int directory, const std::string& canonical, std::string name, const Sha256& manifest,
                                 bool tells)
    : fd_(::openat(directory, ".", kDirectoryPath)),
      name_(std::move(name)),
      manifest_(tells ? std::make_shared<Manifest>(*this, manifest) : nullptr) {
  const auto slash = canonical.rfind('/');
  struct stat status{};
  if (slash == std::string::npos || slash + 1 == canonical.size() || !fd_ || ::fstat(fd_.get(), &status) != 0) {
    return;
  }
  own_name_ = canonical.substr(slash + 1);
  owner_ = status.st_uid;
  parent_.reset(::open(slash == 0 ? "/" : canonical.substr(0, slash).c_str(), kDirectoryPath));
}

UniqueFd FollowedPackage::open() const {
  if (parent_) {
    HostPath path;
    path.components.push_back(own_name_);
    UniqueFd found = reopen_host_path(parent_.get(), path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    struct stat status{};
    if (found && ::fstat(found.get(), &status) == 0 && status.st_uid == owner_) {
      return found;
    }
    if (!found && vfs::leads_nowhere(errno)) {
      return found;
    }
  }
  return UniqueFd(::openat(fd_.get(), ".", kDirectoryPath));
}

std::optional<Sha256> FollowedPackage::manifest_hash() const {
  const UniqueFd directory = open();
  UniqueFd file;
  if (directory) {
    file = reopen_host_path(directory.get(), HostPath::parse(kManifest), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  }
  struct stat status{};
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return std::nullopt;  // a program that writes a new one removes the old one first
  }
  const std::string text = read_to_end(file.get(), kTomlBytes, kManifest);
  return text.empty() ? std::nullopt : std::optional(sha256(text));  // empty: it writes into the old one
}

void FollowedPackage::watch_manifest(int directory, vfs::HostWatcher& watcher, std::uint64_t watch) const {
  if (manifest_ != nullptr &&
      watcher.add_name(directory, kManifest, watch, manifest_) == vfs::HostWatcher::Added::kYes) {
    watcher.suspect(manifest_);  // it may have changed while the kernel didn't know the directory
  }
}

bool FollowedPackage::watch(vfs::HostWatcher& watcher, std::uint64_t watch,
                            const std::shared_ptr<vfs::NameListener>& listener) const {
  using Added = vfs::HostWatcher::Added;
  const bool is_followed = !parent_ || watcher.add_name(parent_.get(), own_name_, watch, listener) == Added::kYes;
  const UniqueFd directory = open();
  return is_followed && directory && watcher.add_name(directory.get(), kManifest, watch, listener) == Added::kYes;
}

MappedWay::MappedWay(std::shared_ptr<const FollowedPackage> package, const std::string& host, MakeFilter make_filter)
    : package_(std::move(package)), path_(HostPath::parse(host)), make_filter_(std::move(make_filter)) {}

UniqueFd MappedWay::open() const {
  const UniqueFd base = package_->open();
  return base ? reopen_host_path(base.get(), path_, O_PATH | O_DIRECTORY) : UniqueFd();
}

void MappedWay::watch(vfs::HostWatcher& watcher, std::uint64_t watch,
                      const std::shared_ptr<vfs::NameListener>& listener) const {
  UniqueFd directory = package_->open();
  if (!directory) {
    return;
  }
  package_->watch_manifest(directory.get(), watcher, watch);
  if (path_.components.empty()) {
    (void)watcher.add_name(directory.get(), {}, watch, listener);
  }
  HostPath next;
  for (const std::string& name : path_.components) {
    (void)watcher.add_name(directory.get(), name, watch, listener);
    next.components.assign(1, name);
    directory = reopen_host_path(directory.get(), next, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (!directory) {
      return;  // it is missing, or a link, whose target isn't watched
    }
  }
}

}  // namespace pkgfs
