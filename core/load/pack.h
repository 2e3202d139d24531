// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/load/directory_package.h"
#include "core/load/package_directory.h"
#include "core/webc/writer.h"

namespace pkgfs {

/// A directory as the packer reads it, on a disk or in an archive.
class PackedDirectory {
 public:
  struct Entry {
    webc::WriterNode node;                       // without children
    std::unique_ptr<PackedDirectory> directory;  // where they are; null for what is no directory
  };

  virtual ~PackedDirectory() = default;
  [[nodiscard]] virtual std::vector<Entry> entries() const = 0;
};

/// Volumes by name.
using PackedVolumes = std::vector<std::pair<std::string, webc::WriterNode>>;

/// A volume with all that is below `directory`.
[[nodiscard]] webc::WriterNode pack_volume(std::unique_ptr<PackedDirectory> directory);
/// A volume for the host path `host` that is one file. The reference writes one entry that is called like the whole
/// host path; where that has a "/", no reader could look it up, so it becomes a path.
[[nodiscard]] webc::WriterNode pack_file_volume(const std::string& host, webc::Content content, std::int64_t modified);

/// Writes a version 3 container to the file `fd`, which is empty (docs/rules/webc-format.md, 12.4): files by name,
/// times in whole seconds, volume roots and atoms without a time. Links are stored as they are: a reader clamps those
/// that leave their volume. Throws Error for what a container can't hold: a name that isn't UTF-8, for one.
void write_package(const PackageParts& parts, PackedVolumes volumes, int fd);

struct PackOptions {
  /// Leave out what the ignore rules keep out of a build (ignore_rules.h).
  bool apply_ignore_rules = false;
};

/// Writes the directory package. Throws as `write_package`, and for a FIFO, socket or device.
void pack_package(const DirectoryPackage& package, int fd, const PackOptions& options);

/// A modified time as containers keep it.
[[nodiscard]] std::uint64_t packed_time(std::int64_t seconds);

}  // namespace pkgfs
