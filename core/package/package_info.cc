// SPDX-License-Identifier: MIT
#include "core/package/package_info.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/printable.h"
#include "core/webc/manifest.h"

namespace pkgfs {
namespace {

/// Parses a version in a container. The message is that for a version a user typed, the exit code is not.
Version stored_version(const std::string& text) {
  try {
    return Version::parse(text);
  } catch (const Error& error) {
    throw Error(ErrorCode::kCorrupt, error);
  }
}

/// The specifier of a vendored package: exactly its name and version.
PackageSpecifier vendored_specifier(const webc::Json& json) {
  const std::optional<webc::Wapm> wapm = webc::wapm_of(json);
  if (!wapm || !wapm->name || !wapm->version) {
    throw Error(ErrorCode::kCorrupt, "Unable to determine a package specifier for a vendored dependency");
  }
  const PackageSpecifier specifier = PackageSpecifier::parse(*wapm->name);
  if (specifier.named() == nullptr || !std::holds_alternative<std::monostate>(specifier.named()->tag)) {
    throw Error(ErrorCode::kCorrupt, "\"" + *wapm->name + "\" isn't a package name");
  }
  NamedIdent ident = *specifier.named();
  ident.tag = VersionReq::exactly(stored_version(*wapm->version));
  return ident;
}

PackageSpecifier dependency_specifier(const webc::Dependency& dependency) {
  try {
    if (dependency.vendored) {
      return vendored_specifier(*dependency.vendored);
    }
    return PackageSpecifier::parse(dependency.as_written ? *dependency.as_written : dependency.text.value_or(""));
  } catch (const Error& error) {
    throw Error(ErrorCode::kCorrupt, error).context("The \"" + dependency.alias + "\" dependency can't be used");
  }
}

/// `each` is Manifest::each_fs or Manifest::take_fs.
template <typename Each>
std::vector<FileSystemMapping> mappings(const Each& each, int webc_version) {
  std::vector<FileSystemMapping> result;
  const auto add = [&](webc::FsEntry&& entry) {
    result.push_back(
        {std::move(entry.volume_name), std::move(entry.mount_path), std::move(entry.host_path), std::move(entry.from)});
  };
  if (!each([&](std::size_t count) { result.reserve(count); }, add) && webc_version < 3) {
    result.push_back({"atom", "/", "/", std::nullopt});
  }
  return result;
}

PackageInfo describe(PackageId id, const webc::Manifest& manifest, std::vector<FileSystemMapping> filesystem) {
  PackageInfo info{std::move(id), {}, manifest.entrypoint, {}, std::move(filesystem)};
  info.commands.reserve(manifest.commands.size());
  for (const webc::Command& command : manifest.commands) {
    info.commands.push_back(command.name);
  }
  info.dependencies.reserve(manifest.use.size());
  for (const webc::Dependency& dependency : manifest.use) {
    info.dependencies.push_back({dependency.alias, dependency_specifier(dependency)});
  }
  return info;
}

/// Walks the components of `path`. False if a `..` climbs above the root; there it is dropped.
bool clean_path(std::string_view path, std::string& result) {
  bool inside = true;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
    if (component == "..") {
      const std::size_t last = result.rfind('/');
      inside = inside && last != std::string::npos;
      result.resize(last == std::string::npos ? 0 : last);
    } else if (!component.empty() && component != ".") {
      result += '/';
      result += component;
    }
  }
  if (result.empty()) {
    result = "/";
  }
  return inside;
}

}  // namespace

PackageId id_from_manifest(const webc::Manifest& manifest, const PackageHash& hash) {
  const std::optional<webc::Wapm> wapm = manifest.wapm();
  if (!wapm || !wapm->name) {
    return hash;
  }
  return NamedId{*wapm->name, stored_version(wapm->version.value_or("0.0.0"))};
}

PackageInfo info_from_manifest(PackageId id, const webc::Manifest& manifest, int webc_version) {
  const auto each = [&](const auto& begin, const auto& add) { return manifest.each_fs(begin, add); };
  return describe(std::move(id), manifest, mappings(each, webc_version));
}

PackageInfo info_from_manifest(PackageId id, webc::Manifest&& manifest, int webc_version) {
  const auto each = [&](const auto& begin, const auto& add) { return manifest.take_fs(begin, add); };
  return describe(std::move(id), manifest, mappings(each, webc_version));
}

std::string sanitize_path(std::string_view path) {
  std::string result;
  (void)clean_path(path, result);
  return result;
}

std::string normalize_mount_path(std::string_view path) {
  const auto invalid = [&](std::string_view reason) {
    return Error(ErrorCode::kLoad, "Invalid guest mount path \"" + shortened(path) + "\": " + std::string(reason));
  };
  if (path.find('\0') != std::string_view::npos) {
    throw invalid("it contains a NUL");
  }
  std::string result;
  if (!clean_path(path, result)) {
    throw invalid("parent traversal escapes the virtual root");
  }
  return result;
}

}  // namespace pkgfs
