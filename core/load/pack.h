// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/load/directory_package.h"
#include "core/load/package_directory.h"
#include "core/webc/writer.h"

namespace pkgfs {

/// A directory that is to be packed, on a disk or in an archive.
class PackedDirectory {
 public:
  struct Entry {
    webc::WriterNode node;                       // without children
    std::unique_ptr<PackedDirectory> directory;  // the children of a directory; null for other entries
  };

  virtual ~PackedDirectory() = default;
  [[nodiscard]] virtual std::vector<Entry> entries() const = 0;
};

/// Volumes to be packed: their names and root directories.
using PackedVolumes = std::vector<std::pair<std::string, webc::WriterNode>>;

/// A volume with all entries below `directory`.
[[nodiscard]] webc::WriterNode pack_volume(std::unique_ptr<PackedDirectory> directory);
/// A volume for the host path `host`, which is a single file. The file keeps its path in the volume. The reference
/// instead stores one entry whose name is the whole host path. If that name has a "/", no reader can look it up.
[[nodiscard]] webc::WriterNode pack_file_volume(const std::string& host, webc::Content content, std::int64_t modified);

/// Writes a version 3 container to the empty file `fd` (docs/rules/webc-format.md, 12.4). Entries are sorted by name,
/// and times are in whole seconds. Volume roots and atoms have no time. Links are stored as they are, also those that
/// leave their volume: a mount keeps their targets inside. Throws Error for an entry that a container can't hold, such
/// as a name that isn't UTF-8.
/// A time after `latest`, in seconds since the epoch, becomes `latest`.
void write_package(const PackageParts& parts, PackedVolumes volumes, int fd,
                   std::optional<std::uint64_t> latest = std::nullopt);

struct PackOptions {
  /// Leave out the files that the ignore rules exclude from a build (ignore_rules.h).
  bool apply_ignore_rules = false;
  /// As in `write_package`.
  std::optional<std::uint64_t> latest = {};
};

/// Writes `package` to the empty file `fd` as a version 3 container. Throws as `write_package`, for a FIFO, socket or
/// device, and for a host file that can't be read.
void pack_package(const DirectoryPackage& package, int fd, const PackOptions& options);

/// A modified time in the form of containers: times before 1970 become 0.
[[nodiscard]] std::uint64_t packed_time(std::int64_t seconds);

}  // namespace pkgfs
