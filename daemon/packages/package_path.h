// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/load/package.h"

namespace pkgfs {

/// The path on this machine that `text`, a PACKAGE of the command line, names. Nothing if `text` is a specifier for the
/// sources (docs/rules/resolution.md, 1.5). For a wasmer.toml, the path is that of its directory. Throws Error for a
/// path that doesn't exist. That includes a text that can only be a path, such as `app.webc`: no registry is asked for
/// it.
[[nodiscard]] std::optional<std::string> package_path(const std::string& text);

/// The path in a text for which `package_path` throws Error: it can only be a path, and that doesn't exist.
[[nodiscard]] std::string meant_path(const std::string& text);

/// Opens the package at `path`, which `package_path` gave. Throws Error as `open_package`. The error of a directory
/// without a wasmer.toml says that it has none.
[[nodiscard]] std::shared_ptr<const Package> open_path(const std::string& path, const OpenOptions& options);

}  // namespace pkgfs
