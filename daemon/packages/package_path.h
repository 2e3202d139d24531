// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/load/package.h"

namespace pkgfs {

/// The path of the package that `text`, a PACKAGE of the command line, names on this machine; nothing if it is a
/// specifier that sources answer (docs/rules/resolution.md, 1.5). For a wasmer.toml that is its directory. Throws Error
/// for a path that doesn't exist, and for a text that can only be meant as one, so that no registry is asked for it.
[[nodiscard]] std::optional<std::string> package_path(const std::string& text);

/// Opens the package at `path`, which `package_path` gave. Throws Error as `open_package`, and says of a directory that
/// it has no wasmer.toml.
[[nodiscard]] std::shared_ptr<const Package> open_path(const std::string& path, const OpenOptions& options);

}  // namespace pkgfs
