// SPDX-License-Identifier: MIT
#include "daemon/packages/package_path.h"

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/package/package_specifier.h"

namespace pkgfs {
namespace {

constexpr std::string_view kManifest = "wasmer.toml";
constexpr std::array<std::string_view, 4> kEndings{".webc", ".wasmer", ".tar.gz", "/wasmer.toml"};

/// Why `text`, which names no file, can only be meant as one; empty if it may be a specifier.
std::string why_a_path(std::string_view text) {
  if (text.find("://") != std::string_view::npos || text.starts_with("sha256:")) {
    return {};
  }
  for (const std::string_view ending : kEndings) {
    if (text.ends_with(ending)) {
      return "\"" + std::string(ending.substr(ending.starts_with('/') ? 1 : 0)) +
             "\" at its end means a file, so that no registry was asked";
    }
  }
  if (text == kManifest) {
    return "it is the name of a file, so that no registry was asked";
  }
  const std::string_view name = text.substr(0, text.rfind('@'));
  const std::size_t slash = name.find('/');
  if (slash == std::string_view::npos) {
    return {};
  }
  if (name.ends_with('/') || name.starts_with("~/") || name.find('/', slash + 1) != std::string_view::npos) {
    return "a name has the form \"namespace/name\", so that this is a path, and no registry was asked";
  }
  return {};
}

/// The path in a text that is a path by its form; nothing for any other text.
std::optional<std::string> written_path(const std::string& text) {
  if (text.starts_with('.') || text.starts_with('/')) {
    return text;
  }
  if (text.starts_with("file://") || text.starts_with("FILE://")) {
    const PackageSpecifier specifier = PackageSpecifier::parse(text);
    return specifier.path() == nullptr ? std::nullopt : std::optional(specifier.path()->text);
  }
  return std::nullopt;
}

bool is_manifest(const std::string& path, const struct stat& status) {
  return S_ISREG(status.st_mode) && std::filesystem::path(path).filename() == kManifest;
}

}  // namespace

std::optional<std::string> package_path(const std::string& text) {
  const auto written = written_path(text);
  const std::string& path = written ? *written : text;
  struct stat status{};
  const int errnum = path.empty() || path.find('\0') != std::string::npos ? EINVAL
                     : ::stat(path.c_str(), &status) != 0                 ? errno
                                                                          : 0;
  if (errnum == 0) {
    if (is_manifest(path, status)) {
      const auto directory = std::filesystem::path(path).parent_path();
      return directory.empty() ? "." : directory.string();
    }
    if (written || S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {
      return path;
    }
  }
  const std::string why = written ? "" : why_a_path(text);
  if (errnum == EINVAL || (!written && why.empty())) {
    return std::nullopt;
  }
  Error failure = system_error("Unable to open the package \"" + path + "\"", errnum == 0 ? ENOENT : errnum);
  if (!why.empty()) {
    failure.caused_by(why);
  }
  throw failure;
}

std::string meant_path(const std::string& text) { return written_path(text).value_or(text); }

std::shared_ptr<const Package> open_path(const std::string& path, const OpenOptions& options) {
  try {
    return open_package(path, options);
  } catch (Error& error) {
    std::error_code unknown;
    const std::filesystem::path directory(path);
    if (!std::filesystem::is_directory(directory, unknown) || std::filesystem::exists(directory / kManifest, unknown) ||
        unknown) {
      throw;
    }
    error.caused_by("the directory \"" + path + "\" has no wasmer.toml, so that it isn't a package");
    throw;
  }
}

}  // namespace pkgfs
