// SPDX-License-Identifier: MIT
#include "core/load/directory_package.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/load/host_path.h"
#include "core/load/ignore_rules.h"
#include "core/package/package_info.h"
#include "core/vfs/host_file_system.h"
#include "core/vfs/static_file_system.h"

namespace pkgfs {

namespace {

constexpr std::string_view kMetadata = "metadata";
/// A `wasmer.toml` is read by people.
constexpr std::uint64_t kTomlBytes = 16ULL << 20U;
/// A module is read as a whole to hash it; the WebAssembly limit of engines is 1 GiB.
constexpr std::uint64_t kModuleBytes = 1ULL << 30U;

/// `outer`, caused by the operating system's text.
Error os_error(const std::string& outer, int errnum) {
  return Error(system_error(outer, errnum).code(), {outer, std::generic_category().message(errnum)});
}

std::string path_missing(const std::string& host) { return "Path: \"" + host + "\" does not exist"; }

}  // namespace

DirectoryPackage::DirectoryPackage(const std::string& path, const DirectoryOptions& options)
    : name_(options.display_name.value_or(path)),
      fd_(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
      as_built_(options.as_built) {
  while (name_.size() > 1 && name_.ends_with('/')) {
    name_.pop_back();
  }
  const std::string what = "Unable to open the package \"" + name_ + "\"";
  if (!fd_) {
    throw os_error(what, errno);
  }
  std::error_code failed;
  canonical_path_ = std::filesystem::canonical(path, failed).string();
  if (failed) {
    throw os_error(what, failed.value());
  }
  hash_.emplace(sha256(canonical_path_));

  const std::string& toml_name = options.manifest_name;
  struct stat ignored{};
  if (::fstatat(fd_.get(), toml_name.c_str(), &ignored, 0) != 0) {
    throw os_error("Unable to get the absolute path for \"" + display(toml_name) + "\"", errno);
  }
  WasmerToml toml;
  const std::string text = read_file(toml_name, kTomlBytes);
  try {
    toml = parse_wasmer_toml(text);
  } catch (Error& error) {
    throw std::move(error).context("Unable to deserialize \"" + display(toml_name) + "\"");
  }
  open_host_volumes(toml);
  try {
    manifest_ = derive_manifest(toml, package_files());
    map_modules(toml);
    map_metadata(toml);
  } catch (Error& error) {
    throw std::move(error).context("Unable to load the \"wasmer.toml\" manifest");
  }
}

PackageFiles DirectoryPackage::package_files() const {
  PackageFiles files;
  files.read = [this](const std::string& path) {
    try {
      return read_file(path, kModuleBytes);
    } catch (const Error& error) {  // the caller says which file it was
      throw Error(error.code(), std::vector<std::string>(error.chain().begin() + 1, error.chain().end()));
    }
  };
  files.exists = [this](const std::string& path) {
    return static_cast<bool>(open_host_path(fd_.get(), HostPath::parse(path), O_PATH));
  };
  files.directory = name_;
  return files;
}

UniqueFd DirectoryPackage::open_file(const std::string& path) const {
  // Not blocking: opening a FIFO would wait for a writer.
  UniqueFd fd = open_host_path(fd_.get(), HostPath::parse(path), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  const std::string what = "Unable to read \"" + display(path) + "\"";
  struct stat status{};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    if (errno == EXDEV) {
      throw Error(ErrorCode::kPermission, {what, "a link on its path leads out of the package directory"});
    }
    throw os_error(what, errno);
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::kUnsupported, {what, "it isn't a regular file"});
  }
  return fd;
}

std::string DirectoryPackage::read_file(const std::string& path, std::uint64_t limit) const {
  const UniqueFd fd = open_file(path);
  std::string content;
  constexpr std::size_t kStep = 1U << 16U;
  while (true) {
    const auto old_size = content.size();
    if (old_size > limit) {
      throw Error(ErrorCode::kUnsupported,
                  {"Unable to read \"" + display(path) + "\"", "it has more than " + std::to_string(limit) + " bytes"});
    }
    content.resize(old_size + std::max(kStep, old_size / 2));
    const auto count = ::read(fd.get(), content.data() + old_size, content.size() - old_size);
    content.resize(old_size + static_cast<std::size_t>(std::max<::ssize_t>(count, 0)));
    if (count == 0) {
      return content;
    }
    if (count < 0 && errno != EINTR) {
      throw os_error("Unable to read \"" + display(path) + "\"", errno);
    }
  }
}

void DirectoryPackage::open_host_volumes(const WasmerToml& toml) {
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
    if (path.leaves()) {
      log::warn("the package \"{}\" maps \"{}\", which lies outside of it, to \"{}\"", name_, host, guest);
    }
    UniqueFd fd = open_host_path(fd_.get(), path, O_PATH);
    struct stat status{};
    if (!fd || ::fstat(fd.get(), &status) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) {
        throw Error(ErrorCode::kNotFound, path_missing(host));
      }
      if (errno == EXDEV) {
        throw Error(ErrorCode::kPermission, "Path: \"" + host + "\" leads out of \"" + name_ + "\" through a link");
      }
      throw os_error("Path: \"" + host + "\" can't be opened", errno);
    }
    if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) {
      throw Error(ErrorCode::kUnsupported, "Path: \"" + host + "\" is neither a directory nor a file");
    }
    if (S_ISREG(status.st_mode)) {  // nothing is opened below a file: the descriptor itself is read
      fd.reset(::open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDONLY | O_CLOEXEC));
      if (!fd) {
        throw os_error("Path: \"" + host + "\" can't be opened", errno);
      }
    }
    volumes.emplace(volume,
                    HostVolume{.name = volume, .host = host, .fd = std::move(fd), .is_file = S_ISREG(status.st_mode)});
  }
  for (auto& [volume, opened] : volumes) {
    host_volumes_.push_back(std::move(opened));
  }
}

void DirectoryPackage::map_modules(const WasmerToml& toml) {
  std::map<std::string, const WasmerToml::Module*> modules;
  for (const auto& module : toml.modules) {
    modules[module.name] = &module;  // of two with one name the later wins
  }
  for (const auto& [module_name, module] : modules) {
    const std::shared_ptr<const ByteSource> file =
        MappedFile::adopt(open_file(module->source), display(module->source));
    const auto size = file->size();
    atoms_.push_back({.name = module_name, .body = {.source = file, .offset = 0, .length = size}});
  }
}

void DirectoryPackage::map_metadata(const WasmerToml& toml) {
  std::map<std::string, std::string> paths;  // in the volume -> as written
  const auto add = [&](const std::string& path) { paths.emplace(sanitize_path(path), path); };
  const auto add_optional = [&](const std::optional<std::string>& path) {
    if (path && open_host_path(fd_.get(), HostPath::parse(*path), O_PATH)) {
      add(*path);
    }
  };
  if (toml.package) {
    add_optional(toml.package->license_file);
    add_optional(toml.package->readme);
  }
  for (const auto& module : toml.modules) {
    if (module.bindings) {
      if (module.bindings->exports) {
        add(*module.bindings->exports);
      }
      std::ranges::for_each(module.bindings->imports, add);
    }
  }
  for (const auto& [volume_path, path] : paths) {
    UniqueFd fd = open_file(path);
    struct stat status{};
    if (::fstat(fd.get(), &status) != 0) {
      throw os_error("Unable to read \"" + display(path) + "\"", errno);
    }
    const std::shared_ptr<const ByteSource> file = MappedFile::adopt(std::move(fd), display(path));
    const auto size = file->size();
    metadata_files_.push_back({.path = volume_path,
                               .body = {.source = file, .offset = 0, .length = size},
                               .modified = status.st_mtim.tv_sec});
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
    files.reserve(metadata_files_.size());
    for (const auto& file : metadata_files_) {
      files.push_back({.path = file.path, .content = file.body, .modified = file.modified});
    }
    return std::make_unique<vfs::StaticFileSystem>(std::move(files));
  }
  const auto found = std::ranges::find(host_volumes_, name, &HostVolume::name);
  if (found == host_volumes_.end()) {
    return nullptr;
  }
  UniqueFd fd(::fcntl(found->fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd) {
    throw os_error("Unable to open \"" + display(found->host) + "\"", errno);
  }
  std::shared_ptr<const vfs::HostFilter> filter;
  if (as_built_ && !found->is_file) {
    filter = std::make_shared<IgnoreRules>(found->fd.get());
  }
  return std::make_unique<vfs::HostFileSystem>(std::move(fd), display(found->host), std::move(filter));
}

std::shared_ptr<const DirectoryPackage> open_directory_package(const std::string& path,
                                                               const DirectoryOptions& options) {
  return std::make_shared<DirectoryPackage>(path, options);
}

}  // namespace pkgfs
