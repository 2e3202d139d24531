// SPDX-License-Identifier: MIT
#include "core/source/local_registry_source.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/source/container_summary.h"
#include "core/source/files_below.h"

namespace pkgfs {
namespace {

constexpr std::string_view kExtension = ".webc";
// `sha256:`, 64 digits, and room for white space.
constexpr std::streamsize kSidecarBytes = 4096;

std::vector<std::string_view> components(std::string_view path) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t slash = path.find('/');
    parts.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) {
      return parts;
    }
    path.remove_prefix(slash + 1);
  }
}

bool is_safe_component(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('\\') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

/// The directory of a package below the root; none if the name could lead out of it.
std::optional<std::string> package_dir(const std::string& root, std::string_view full_name) {
  const auto parts = components(full_name);
  if (!std::all_of(parts.begin(), parts.end(), is_safe_component)) {
    return std::nullopt;
  }
  return root + "/" + std::string(full_name);
}

std::optional<Version> version_of(std::string_view file_name) {
  if (!file_name.ends_with(kExtension)) {
    return std::nullopt;
  }
  return Version::try_parse(file_name.substr(0, file_name.size() - kExtension.size()));
}

/// The hash that the file beside `path` states; none if there is no such file.
std::optional<Sha256> sidecar_of(const std::string& path) {
  const std::string name = path.substr(0, path.size() - kExtension.size()) + ".sha256";
  struct stat st{};
  if (::stat(name.c_str(), &st) != 0) {
    return std::nullopt;
  }
  std::string text(static_cast<std::size_t>(kSidecarBytes), '\0');
  std::ifstream file;
  if (S_ISREG(st.st_mode)) {
    file.open(name, std::ios::binary);
    file.read(text.data(), kSidecarBytes);
  }
  text.resize(S_ISREG(st.st_mode) && !file.bad() ? static_cast<std::size_t>(file.gcount()) : 0);
  std::string_view hex = text;
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  hex.remove_prefix(std::min(hex.find_first_not_of(kBlanks), hex.size()));
  hex = hex.substr(0, hex.find_last_not_of(kBlanks) + 1);
  if (hex.starts_with("sha256:")) {
    hex.remove_prefix(7);
  }
  const auto digest = sha256_from_hex(hex);
  if (!digest) {
    throw Error(ErrorCode::kCorrupt, "\"" + name + "\" doesn't hold a SHA-256 in hex");
  }
  return digest;
}

bool is_version_file(const std::string& path) {
  struct stat st{};
  // A file that stat fails for counts, too: leaving out a version silently would be a downgrade.
  return ::stat(path.c_str(), &st) != 0 || S_ISREG(st.st_mode);
}

}  // namespace

LocalRegistrySource::LocalRegistrySource(std::string root) : root_(std::move(root)) {
  std::error_code failed;
  if (!std::filesystem::is_directory(root_, failed)) {
    throw Error(ErrorCode::kNotFound, "package directory does not exist: \"" + root_ + "\"");
  }
  while (root_.size() > 1 && root_.ends_with('/')) {
    root_.pop_back();
  }
  if (root_ == "/") {
    root_ = "/.";  // paths below are `{root}/…`
  }
}

std::vector<PackageSummary> LocalRegistrySource::query(const PackageSpecifier& specifier) {
  try {
    if (specifier.named() != nullptr) {
      return by_name(specifier);
    }
    if (specifier.hash() != nullptr) {
      return {by_hash(specifier)};
    }
  } catch (const QueryError&) {
    throw;
  } catch (const Error& error) {
    throw QueryError(specifier, error);
  }
  throw QueryError(QueryError::Kind::kUnsupported, specifier);
}

std::vector<PackageSummary> LocalRegistrySource::by_name(const PackageSpecifier& specifier) {
  const std::string full_name = specifier.named()->full_name();
  const auto dir = package_dir(root_, full_name);
  struct stat st{};
  if (!dir || ::stat(dir->c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) {
    throw QueryError(QueryError::Kind::kNotFound, specifier);
  }
  const VersionReq wanted = specifier.named()->requirement();
  std::vector<std::pair<Version, std::string>> versions;
  std::error_code failed;
  for (auto it = std::filesystem::directory_iterator(*dir, failed); !failed && it != decltype(it)();
       it.increment(failed)) {
    auto version = version_of(it->path().filename().string());
    if (version && wanted.matches(*version) && is_version_file(it->path().string())) {
      versions.emplace_back(std::move(*version), it->path().string());
    }
  }
  if (failed) {
    throw Error(ErrorCode::kIo, "Unable to read the directory \"" + *dir + "\": " + failed.message());
  }
  if (versions.empty()) {
    throw QueryError(QueryError::Kind::kNoMatches, specifier);
  }
  std::sort(versions.begin(), versions.end());
  std::vector<PackageSummary> answers;
  answers.reserve(versions.size());
  for (const auto& [version, path] : versions) {
    answers.push_back(load(path, PackageId(NamedId{full_name, version})));
  }
  return answers;
}

PackageSummary LocalRegistrySource::by_hash(const PackageSpecifier& specifier) {
  const Sha256& wanted = specifier.hash()->digest();
  std::vector<std::string> unstated;
  for (std::string& path : files_below(root_, limits::kTreeDepth)) {
    if (!path.ends_with(kExtension)) {
      continue;
    }
    std::optional<Sha256> stated;
    try {
      stated = sidecar_of(path);
    } catch (const Error& error) {
      log::warn("{}; leaving out \"{}\"", error, path);
      continue;
    }
    if (!stated) {
      unstated.push_back(std::move(path));
    } else if (*stated == wanted) {
      return load(path, id_of(path));
    }
  }
  for (const std::string& path : unstated) {
    std::optional<Sha256> digest;
    try {
      digest = hashes_.of(path);
    } catch (const Error& error) {
      if (error.is_of_run()) {
        throw;
      }
      log::warn("{}", error);
    }
    if (digest == wanted) {
      PackageSummary answer = load(path, id_of(path));
      answer.dist.webc_sha256 = digest;
      return answer;
    }
  }
  throw QueryError(QueryError::Kind::kNotFound, specifier);
}

PackageSummary LocalRegistrySource::load(const std::string& path, const std::optional<PackageId>& id) {
  const auto stated = sidecar_of(path);
  if (stated) {
    const Sha256& actual = hashes_.of(path);
    if (*stated != actual) {
      throw Error(ErrorCode::kCorrupt, "sha256 mismatch for \"" + path + "\": expected " + to_hex(*stated) +
                                           ", file hashes to " + to_hex(actual));
    }
  }
  try {
    PackageSummary summary = id ? container_summary(path, *id) : container_summary(path);
    summary.dist.webc_sha256 = stated;
    if (id) {
      summary.dist.registry = local_distribution(root_).path;
    }
    return summary;
  } catch (Error& error) {
    error.context("Unable to load \"" + path + "\"");
    throw;
  }
}

std::optional<PackageId> LocalRegistrySource::id_of(const std::string& path) const {
  const std::string_view below = std::string_view(path).substr(root_.size() + 1);
  const auto parts = components(below);
  if (parts.size() != 2 && parts.size() != 3) {
    return std::nullopt;
  }
  auto version = version_of(parts.back());
  if (!version) {
    return std::nullopt;
  }
  return PackageId(NamedId{std::string(below.substr(0, below.rfind('/'))), std::move(*version)});
}

}  // namespace pkgfs
