// SPDX-License-Identifier: MIT
#include "core/load/package_directory.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "core/package/package_info.h"

namespace pkgfs {

namespace {

/// A module is read as a whole, to hash it. Engines limit modules to 1 GiB.
constexpr std::uint64_t kModuleBytes = 1ULL << 30U;

PackageFiles package_files(const PackageDirectory& directory) {
  PackageFiles files;
  files.read = [&directory](const std::string& path) {
    try {
      return directory.read(path, kModuleBytes);
    } catch (const Error& error) {  // the caller says which file it was
      if (error.is_of_run()) {
        throw;
      }
      const auto& chain = error.chain();
      throw Error(error.code(), std::vector<std::string>(chain.begin() + (chain.size() > 1 ? 1 : 0), chain.end()));
    }
  };
  files.exists = [&directory](const std::string& path) { return directory.exists(path); };
  files.directory = directory.name();
  return files;
}

std::vector<webc::Atom> open_modules(const WasmerToml& toml, const PackageDirectory& directory) {
  std::map<std::string, const WasmerToml::Module*> modules;
  for (const auto& module : toml.modules) {
    modules[module.name] = &module;  // of two modules with one name the later one is used
  }
  std::vector<webc::Atom> atoms;
  atoms.reserve(modules.size());
  for (const auto& [name, module] : modules) {
    PackageDirectory::File file = directory.open(module->source);
    atoms.push_back({.name = name, .body = std::move(file.body), .mode = file.mode});
  }
  return atoms;
}

std::vector<MetadataFile> open_metadata(const WasmerToml& toml, const PackageDirectory& directory) {
  std::map<std::string, std::string> paths;  // in the volume -> as written
  const auto add = [&](const std::string& path) { paths.emplace(sanitize_path(path), path); };
  const auto add_optional = [&](const std::optional<std::string>& path) {
    if (path && directory.exists(*path)) {
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
  std::vector<MetadataFile> files;
  for (const auto& [volume_path, path] : paths) {
    PackageDirectory::File file = directory.open(path);
    files.push_back({.path = volume_path, .body = std::move(file.body), .modified = file.modified, .mode = file.mode});
  }
  return files;
}

}  // namespace

std::string PackageDirectory::read(const std::string& path, std::uint64_t limit) const {
  const Blob body = open(path).body;
  if (body.length > limit) {
    throw Error(ErrorCode::kUnsupported,
                {"Unable to read \"" + display(path) + "\"", "it has more than " + std::to_string(limit) + " bytes"});
  }
  const auto bytes = body.bytes();
  std::string content(bytes.size(), '\0');
  std::ranges::transform(bytes, content.begin(), [](std::byte byte) { return static_cast<char>(byte); });
  if (body.source->damaged()) {
    throw unreadable(*this, path, EIO);
  }
  return content;
}

WasmerToml read_package_toml(const PackageDirectory& directory, const std::string& name, Sha256* hash) {
  const std::string text = directory.read(name, kTomlBytes);
  if (hash != nullptr) {
    *hash = sha256(text);
  }
  try {
    return parse_wasmer_toml(text);
  } catch (Error& error) {
    throw std::move(error).context("Unable to deserialize \"" + directory.display(name) + "\"");
  }
}

PackageParts derive_parts(const WasmerToml& toml, const PackageDirectory& directory) {
  try {
    PackageParts parts;
    parts.manifest = derive_manifest(toml, package_files(directory));
    parts.atoms = open_modules(toml, directory);
    parts.metadata_files = open_metadata(toml, directory);
    return parts;
  } catch (Error& error) {
    throw std::move(error).context("Unable to load the \"wasmer.toml\" manifest");
  }
}

Error unreadable(const PackageDirectory& directory, const std::string& path, int errnum) {
  const std::string what = "Unable to read \"" + directory.display(path) + "\"";
  if (errnum == EXDEV) {
    return {ErrorCode::kPermission, {what, "its path leads out of the package directory"}};
  }
  return os_error(what, errnum);
}

Error unmappable(const PackageDirectory& directory, const std::string& host, int errnum) {
  const std::string path = "Path: \"" + host + "\"";
  if (errnum == ENOENT || errnum == ENOTDIR) {
    return {ErrorCode::kNotFound, path + " does not exist"};
  }
  if (errnum == EXDEV) {
    return {ErrorCode::kPermission, path + " leads out of \"" + directory.name() + "\""};
  }
  return os_error(path + " can't be opened", errnum);
}

}  // namespace pkgfs
