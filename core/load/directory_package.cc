// SPDX-License-Identifier: MIT
#include "core/load/directory_package.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/load/followed_package.h"
#include "core/load/host_path.h"
#include "core/load/ignore_rules.h"
#include "core/load/outside.h"
#include "core/package/package_info.h"
#include "core/vfs/host_file_system.h"
#include "core/vfs/host_status.h"
#include "core/vfs/static_file_system.h"

namespace pkgfs {

namespace {

constexpr std::string_view kMetadata = "metadata";
constexpr const char* kTomlName = "wasmer.toml";

/// Throws for an entry of the mount that shows the package.
void refuse_own(const struct stat& status, std::uint64_t own_device, const std::string& path) {
  if (own_device != 0 && status.st_dev == own_device) {
    throw Error(ErrorCode::kUsage, "Path: \"" + path + "\" leads into the mount that shows the package");
  }
}

/// The path of the directory that the descriptor `base` refers to.
class HostDirectory final : public PackageDirectory {
 public:
  HostDirectory(int base, const std::string& name, std::uint64_t own_device)
      : base_(base), name_(name), own_device_(own_device) {}

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] bool exists(const std::string& path) const override {
    return static_cast<bool>(open_host_path(base_, HostPath::parse(path), O_PATH));
  }
  [[nodiscard]] File open(const std::string& path) const override {
    // Not blocking: opening a FIFO would wait for a writer.
    UniqueFd fd = open_host_path(base_, HostPath::parse(path), O_RDONLY | O_NONBLOCK | O_NOCTTY);
    struct stat status{};
    if (!fd || ::fstat(fd.get(), &status) != 0) {
      throw unreadable(*this, path, errno);
    }
    refuse_own(status, own_device_, path);
    if (!S_ISREG(status.st_mode)) {
      throw Error(ErrorCode::kUnsupported, {"Unable to read \"" + display(path) + "\"", "it isn't a regular file"});
    }
    const std::shared_ptr<const ByteSource> file =
        MappedFile::adopt(std::move(fd), display(path), MappedFile::Changes::kAllowed);
    const auto size = file->size();
    File opened{.body = {.source = file, .offset = 0, .length = size}, .modified = status.st_mtim.tv_sec, .mode = {}};
    if (HostPath::parse(path).leaves()) {
      opened.mode = static_cast<std::uint16_t>(status.st_mode & 0777U);
    }
    return opened;
  }

 private:
  int base_;
  const std::string& name_;
  std::uint64_t own_device_;
};

}  // namespace

DirectoryPackage::DirectoryPackage(const std::string& path, const DirectoryOptions& options)
    : name_(path), fd_(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)), options_(options) {
  while (name_.size() > 1 && name_.ends_with('/')) {
    name_.pop_back();
  }
  const std::string what = "Unable to open the package \"" + name_ + "\"";
  if (!fd_) {
    throw os_error(what, errno);
  }
  std::error_code failed;
  const std::string canonical = std::filesystem::canonical(path, failed).string();
  if (failed) {
    throw os_error(what, failed.value());
  }
  hash_.emplace(sha256(canonical));
  canonical_ = canonical;
  load(canonical);
}

DirectoryPackage::DirectoryPackage(const DirectoryPackage& before, UniqueFd directory, std::uint64_t own_device)
    : name_(before.name_),
      canonical_(before.canonical_),
      fd_(std::move(directory)),
      options_(before.options_),
      own_device_(own_device),
      hash_(before.hash_),
      followed_(before.followed_) {
  load({});
}

std::shared_ptr<const DirectoryPackage> DirectoryPackage::reopen(std::uint64_t own_device) const {
  UniqueFd directory = followed_->open();
  if (!directory) {
    throw os_error("Unable to open the package \"" + name_ + "\"", errno);
  }
  return std::make_shared<DirectoryPackage>(*this, std::move(directory), own_device);
}

void DirectoryPackage::load(const std::string& canonical) {
  const HostDirectory directory(fd_.get(), name_, own_device_);
  struct stat ignored{};
  if (::fstatat(fd_.get(), kTomlName, &ignored, AT_SYMLINK_NOFOLLOW) != 0) {
    throw os_error("Unable to get the absolute path for \"" + directory.display(kTomlName) + "\"", errno);
  }
  const WasmerToml toml = read_package_toml(directory, kTomlName, &manifest_hash_);
  if (followed_ == nullptr) {
    followed_ =
        std::make_shared<FollowedPackage>(fd_.get(), canonical, name_, manifest_hash_, !options_.follow_manifest);
  }
  check_outside(toml, fd_.get(), name_, options_.allow_outside);
  open_host_volumes(toml, directory);
  parts_ = derive_parts(toml, directory);
}

void DirectoryPackage::open_host_volumes(const WasmerToml& toml, const PackageDirectory& directory) {
  std::map<std::string, HostVolume> volumes;
  for (const auto& [guest, host] : toml.fs) {
    const HostPath path = HostPath::parse(host);
    const std::string volume = sanitize_path(host);
    const auto known = volumes.find(volume);
    if (known != volumes.end()) {
      if (known->second.host != host && HostPath::parse(known->second.host).climbs != path.climbs) {
        log::warn("the package \"{}\" maps both \"{}\" and \"{}\", which are one volume, \"{}\": the first is shown",
                  name_, known->second.host, host, volume);
      }
      continue;
    }
    UniqueFd fd = open_host_path(fd_.get(), path, O_PATH);
    struct stat status{};
    if (!fd || ::fstat(fd.get(), &status) != 0) {
      throw unmappable(directory, host, errno);
    }
    refuse_own(status, own_device_, host);
    if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) {
      throw Error(ErrorCode::kUnsupported, "Path: \"" + host + "\" is neither a directory nor a file");
    }
    if (S_ISREG(status.st_mode)) {  // a file is read through this descriptor
      fd.reset(::open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDONLY | O_CLOEXEC));
      if (!fd) {
        throw unmappable(directory, host, errno);
      }
    }
    volumes.emplace(volume,
                    HostVolume{.name = volume, .host = host, .fd = std::move(fd), .is_file = S_ISREG(status.st_mode)});
  }
  for (auto& [volume, opened] : volumes) {
    host_volumes_.push_back(std::move(opened));
  }
}

std::vector<std::string> DirectoryPackage::volume_names() const {
  std::vector<std::string> names;
  names.reserve(host_volumes_.size() + 1);
  for (const auto& volume : host_volumes_) {
    names.push_back(volume.name);
  }
  names.emplace_back(kMetadata);  // after every name that starts with "/"
  return names;
}

std::unique_ptr<vfs::FileSystem> DirectoryPackage::open_volume(std::string_view name) const {
  if (name == kMetadata) {
    std::vector<vfs::StaticFile> files;
    files.reserve(parts_.metadata_files.size());
    for (const auto& file : parts_.metadata_files) {
      files.push_back({.path = file.path,
                       .content = file.body,
                       .mode = file.mode.value_or(vfs::StaticFile{}.mode),
                       .modified = file.modified});
    }
    const bool digest = options_.times == vfs::Times::kDigest;
    return std::make_unique<vfs::StaticFileSystem>(std::move(files), digest ? vfs::digest_time(header_digest()) : 1);
  }
  const auto found = std::ranges::lower_bound(host_volumes_, name, {},
                                              [](const HostVolume& volume) -> std::string_view { return volume.name; });
  if (found == host_volumes_.end() || found->name != name) {
    return nullptr;
  }
  UniqueFd fd(::fcntl(found->fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd) {
    throw os_error("Unable to open \"" + name_ + "/" + found->host + "\"", errno);
  }
  std::shared_ptr<const vfs::HostFilter> filter;
  if (options_.as_built && !found->is_file) {
    filter = std::make_shared<IgnoreRules>(found->fd.get());
  }
  std::shared_ptr<const vfs::HostWay> way;
  if (!found->is_file && !HostPath::parse(found->host).leaves()) {
    way = std::make_shared<MappedWay>(followed_, found->host,
                                      [](int root) { return std::make_shared<IgnoreRules>(root); });
  }
  return std::make_unique<vfs::HostFileSystem>(std::move(fd), name_ + "/" + found->host, std::move(filter),
                                               std::move(way));
}

std::string DirectoryPackage::volume_key(std::string_view name) const {
  const auto found = std::ranges::lower_bound(host_volumes_, name, {},
                                              [](const HostVolume& volume) -> std::string_view { return volume.name; });
  if (found == host_volumes_.end() || found->name != name) {
    return {};  // the volume `metadata`, whose files are read when the package is opened
  }
  std::string key = std::to_string(reinterpret_cast<std::uintptr_t>(followed_.get()));
  key.append(1, '\0').append(found->host);
  if (found->is_file || HostPath::parse(found->host).leaves()) {
    const Result<struct statx> status = vfs::status_of(found->fd);
    if (!status) {
      return {};
    }
    for (const std::uint64_t part : {std::uint64_t{status->stx_dev_major}, std::uint64_t{status->stx_dev_minor},
                                     std::uint64_t{status->stx_ino}, vfs::generation_of(found->fd, *status)}) {
      key.append(1, '\0').append(std::to_string(part));
    }
  }
  return key;
}

std::shared_ptr<const DirectoryPackage> open_directory_package(const std::string& path,
                                                               const DirectoryOptions& options) {
  return std::make_shared<DirectoryPackage>(path, options);
}

}  // namespace pkgfs
