// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/byte_source.h"
#include "core/package/package_id.h"
#include "core/vfs/file_system.h"
#include "core/webc/container.h"

namespace pkgfs {

enum class Verify {
  kNone,  // structure of sections, index and manifest; everything else when it is touched
  kOpen,  // everything, hashes included, before the package is used: reads the whole file once
  kRead,  // each file's SHA-256 when it is first opened: reads that file twice, once
};

/// An opened package, whatever it was on disk: a container, a directory with a `wasmer.toml`, a gzip'd tar of one.
/// Immutable and shared.
class Package {
 public:
  virtual ~Package() = default;

  /// What messages call it: the path as given.
  [[nodiscard]] virtual const std::string& name() const = 0;
  /// 1, 2 or 3; directories and tarballs count as 3.
  [[nodiscard]] virtual int webc_version() const = 0;
  [[nodiscard]] virtual const webc::Manifest& manifest() const = 0;
  /// The hash that stands for the id of a package without a name: of the whole file, or of a directory's canonical
  /// path.
  [[nodiscard]] virtual const PackageHash& hash() const = 0;
  /// Sorted by name bytes.
  [[nodiscard]] virtual const std::vector<webc::Atom>& atoms() const = 0;
  /// Sorted by name bytes.
  [[nodiscard]] virtual std::vector<std::string> volume_names() const = 0;
  /// The volume as a file system, made anew at each call; null if there is no such volume.
  [[nodiscard]] virtual std::unique_ptr<vfs::FileSystem> open_volume(std::string_view name) const = 0;
  /// The container; null for a directory.
  [[nodiscard]] virtual const webc::Container* container() const { return nullptr; }
  /// True for a directory package: the mapped host directories are served live.
  [[nodiscard]] bool is_live() const { return container() == nullptr; }

  [[nodiscard]] const webc::Atom* find_atom(std::string_view name) const;
};

struct OpenOptions {
  Verify verify = Verify::kNone;
  /// Check structure completely and refuse a damaged container (docs/rules/webc-format.md, 11).
  bool strict = false;
  /// Directory packages: leave out what `.wasmerignore` (without one: `.git`) keeps out of a built package.
  bool as_built = false;
  /// Containers: set the x bits of files that begin like a program (docs/rules/filesystem.md, 9.5).
  bool detect_executables = false;
  /// Containers: entries without a time show that of the container file.
  bool container_times = false;
};

/// Opens whatever is at `path` by content, not by name (docs/rules/webc-format.md, 1). Throws Error naming `path`.
[[nodiscard]] std::shared_ptr<const Package> open_package(const std::string& path, const OpenOptions& options = {});

}  // namespace pkgfs
