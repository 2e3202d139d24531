// SPDX-License-Identifier: MIT
#include "core/load/container_package.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/libcrypto.h"
#include "core/vfs/webc_volume_file_system.h"
#include "core/webc/header_digest.h"

namespace pkgfs {

namespace {

/// Problems in the message; `pkgfs verify` lists all.
constexpr std::size_t kProblemsShown = 3;

PackageHash hash_of(const std::shared_ptr<const ByteSource>& source) {
  return PackageHash([source] {
    source->need(0, source->size());
    const Sha256 digest = sha256(source->bytes());
    if (source->damaged()) {
      throw system_error("Unable to hash \"" + source->name() + "\"", EIO);
    }
    return digest;
  });
}

/// The time of the last modification of the file; the reference's "no time" for bytes in memory.
std::int64_t file_time(const ByteSource& source) {
  struct stat status{};
  const auto* file = dynamic_cast<const MappedFile*>(&source);
  return file != nullptr && ::fstat(file->fd(), &status) == 0 ? status.st_mtim.tv_sec : 1;
}

/// The time of the entries of a container that have none, if no hash of their own is stored either.
std::int64_t default_time(const webc::Container& container, vfs::Times times) {
  switch (times) {
    case vfs::Times::kDigest:
      return vfs::digest_time(webc::header_digest(container));
    case vfs::Times::kContainer:
      return file_time(*container.source());
    case vfs::Times::kStored:
      break;
  }
  return 1;
}

void refuse_damaged(const std::string& name, const webc::Container& container, webc::VerifyDepth depth) {
  const auto problems = webc::verify(container, depth);
  if (problems.empty()) {
    return;
  }
  std::vector<std::string> chain{"The package \"" + name + "\" is damaged"};
  const auto shown = std::min(problems.size(), kProblemsShown);
  chain.insert(chain.end(), problems.begin(), problems.begin() + static_cast<std::ptrdiff_t>(shown));
  if (problems.size() > shown) {
    chain.push_back("and " + std::to_string(problems.size() - shown) + " more problems");
  }
  throw Error(ErrorCode::kCorrupt, std::move(chain));
}

}  // namespace

ContainerPackage::ContainerPackage(std::string name, std::shared_ptr<const webc::Container> container,
                                   std::optional<PackageHash> hash, const OpenOptions& options)
    : name_(std::move(name)),
      container_(std::move(container)),
      hash_(hash ? *hash : hash_of(container_->source())),
      atoms_(container_->atoms().begin(), container_->atoms().end()),
      limits_(options.limits()),
      volume_options_{.verify_on_open = options.verify == Verify::kRead,
                      .detect_executables = options.detect_executables,
                      .default_modified = default_time(*container_, options.times),
                      .digest_times = options.times == vfs::Times::kDigest} {
  if (options.verify == Verify::kRead) {
    (void)libcrypto();  // loaded now, so that a failure shows before the mount and no request waits for it
  }
  if (options.verify == Verify::kOpen) {
    refuse_damaged(name_, *container_, webc::VerifyDepth::kContent);
  } else if (options.strict) {
    refuse_damaged(name_, *container_, webc::VerifyDepth::kStructure);
  }
}

void ContainerPackage::set_dependencies(std::vector<webc::Dependency> use) {
  manifest_ = container_->manifest();
  manifest_->use = std::move(use);
}

std::vector<std::string> ContainerPackage::volume_names() const {
  std::vector<std::string> names;
  for (const auto& volume : container_->volumes()) {
    names.push_back(volume->name());
  }
  return names;
}

std::unique_ptr<vfs::FileSystem> ContainerPackage::open_volume(std::string_view name) const {
  auto volume = container_->find_volume(name);
  if (volume == nullptr) {
    return nullptr;
  }
  return std::make_unique<vfs::WebcVolumeFileSystem>(std::move(volume), volume_options_);
}

}  // namespace pkgfs
