// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/byte_source.h"
#include "core/base/limits.h"
#include "core/package/package_id.h"
#include "core/vfs/digest_time.h"
#include "core/vfs/file_system.h"
#include "core/webc/container.h"

namespace pkgfs {

enum class Verify {
  kNone,  // check sections, index and manifest now, and a directory when it is first read
  kOpen,  // check everything, hashes included, before the package is used: reads the whole file
  kRead,  // check a file's SHA-256 when it is first opened: reads the file one more time
};

/// An opened package: a container, a directory with a `wasmer.toml`, or a gzip'd tar of such a directory. Immutable
/// (but for the files of a live directory) and safe to use from many threads.
class Package {
 public:
  virtual ~Package() = default;

  /// The name for messages: the path as given.
  [[nodiscard]] virtual const std::string& name() const = 0;
  /// 1, 2 or 3; directories and tarballs count as 3.
  [[nodiscard]] virtual int webc_version() const = 0;
  [[nodiscard]] virtual const webc::Manifest& manifest() const = 0;
  /// The hash that identifies a package without a name: of the whole file, or of a directory's canonical path.
  [[nodiscard]] virtual const PackageHash& hash() const = 0;
  /// Sorted by name bytes.
  [[nodiscard]] virtual const std::vector<webc::Atom>& atoms() const = 0;
  /// Sorted by name bytes.
  [[nodiscard]] virtual std::vector<std::string> volume_names() const = 0;
  /// A new file system over the volume; null if there is no such volume.
  [[nodiscard]] virtual std::unique_ptr<vfs::FileSystem> open_volume(std::string_view name) const = 0;
  /// Volumes of two packages with the same key show the same, as long as both packages exist. Empty: not known.
  [[nodiscard]] virtual std::string volume_key(std::string_view name) const;
  /// The container; null for a directory.
  [[nodiscard]] virtual const webc::Container* container() const { return nullptr; }
  /// True for a directory package: the mapped host directories are served live.
  [[nodiscard]] bool is_live() const { return container() == nullptr; }
  /// limits::kLocal or limits::kStranger, by OpenOptions::untrusted.
  [[nodiscard]] virtual const limits::PackageLimits& limits() const { return limits::kLocal; }

  [[nodiscard]] const webc::Atom* find_atom(std::string_view name) const;
  /// A number that tells versions of the package apart: webc::header_digest of a container, or a hash of the manifest
  /// of a directory. Versions of a directory with the same manifest have the same number.
  [[nodiscard]] std::uint64_t header_digest() const;
};

struct OpenOptions {
  Verify verify = Verify::kNone;
  /// Check the whole structure and refuse a damaged container (docs/rules/webc-format.md, 11).
  bool strict = false;
  /// Directory packages: hide the files that a build leaves out (ignore_rules.h).
  bool as_built = false;
  /// Directory packages: another part of the program follows changes of the manifest, so they aren't logged. Set only
  /// for the package that the user named.
  bool follow_manifest = false;
  /// Directory packages: paths of the manifest may lead out of the directory. Set only for a package that the user
  /// named, never for a dependency.
  bool allow_outside = false;
  /// The package comes from a stranger: limits::kStranger applies, and a directory is refused.
  bool untrusted = false;
  /// Containers: files that begin like a program are executable, by the rules of docs/rules/filesystem.md, 9.5.
  bool detect_executables = false;
  /// Containers that aren't complete: wait for the directory data of all volumes. If not, nothing may look into a
  /// volume before its directory data was waited for (ByteSource::need).
  bool directory_data = true;
  /// Containers: the time of entries that have none.
  vfs::Times times = vfs::Times::kStored;
  /// Tarballs: the number of bytes to which one may unpack (UnpackLimit). None: limits.h decides.
  std::optional<std::uint64_t> max_unpacked = std::nullopt;

  [[nodiscard]] const limits::PackageLimits& limits() const { return untrusted ? limits::kStranger : limits::kLocal; }
};

/// Opens the package at `path`. Its content decides the format, not its name (docs/rules/webc-format.md, 1). Throws
/// Error naming `path`.
[[nodiscard]] std::shared_ptr<const Package> open_package(const std::string& path, const OpenOptions& options = {});
/// Opens the container in `source`, whose SHA-256 is `hash`. Without `hash`, it is computed when it is needed, from all
/// bytes. The package has the name of the source. Throws Error naming it.
[[nodiscard]] std::shared_ptr<const Package> open_container(const std::shared_ptr<const ByteSource>& source,
                                                            const std::optional<Sha256>& hash,
                                                            const OpenOptions& options);

}  // namespace pkgfs
