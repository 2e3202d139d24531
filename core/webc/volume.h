// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/byte_source.h"
#include "core/base/error.h"
#include "core/base/function_ref.h"
#include "core/base/hash.h"

namespace pkgfs::webc {

enum class EntryKind : std::uint8_t { kDirectory, kFile, kSymlink };

/// Where an entry is described, inside its volume's header. Opaque; `kRootRef` is the root directory.
using EntryRef = std::uint64_t;
inline constexpr EntryRef kRootRef = 0;

/// What a volume says about one entry.
struct EntryInfo {
  EntryKind kind = EntryKind::kFile;
  std::uint64_t offset = 0;              // file: of the body, in the container file
  std::uint64_t length = 0;              // file: of the body; link: of the target; directory: 0
  std::optional<std::int64_t> modified;  // seconds since the epoch, clamped to what fits; none before version 3
  std::string_view target;               // link: as stored, in the mapping
  std::span<const std::byte> sha256;     // 32 stored bytes of body, target or directory, or none (version 1)
};

/// One name in a directory. `name` lies in the mapping and lives as long as the source.
struct DirRecord {
  std::string_view name;
  EntryRef ref = kRootRef;
  /// Not 0: the record can't be used and this errno (EIO) is the answer for it; `info` is then meaningless.
  int error = 0;
  EntryInfo info;
};

/// One volume of a container: decodes directories straight from the mapped header, on demand. What was decoded isn't
/// kept; the only state is what finds directories that are reached twice. Thread-safe; meant for first touches, the
/// layers above keep what they have seen.
///
/// Damage (docs/rules/webc-format.md, 11): an unusable name (empty, ".", "..", with "/" or NUL, not UTF-8, over 255
/// bytes) or a second entry of a name is left out; an entry with a bad offset, tag or length, or a directory that is
/// reached twice, is listed with `error` EIO; a directory whose own table is damaged can't be listed (EIO). Each is
/// logged once with source, volume and offset.
class Volume {
 public:
  virtual ~Volume() = default;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::shared_ptr<const ByteSource>& source() const { return source_; }

  /// What the volume says about `ref`, which came from `list` or is `kRootRef`. EIO if it is damaged.
  [[nodiscard]] virtual Result<EntryInfo> info(EntryRef ref) const = 0;
  /// Calls `visit` for each record of the directory `dir`, in stored order, until it answers false. ENOTDIR, EIO.
  [[nodiscard]] virtual Result<void> list(EntryRef dir, FunctionRef<bool(const DirRecord&)> visit) const = 0;

 protected:
  Volume(std::string name, std::shared_ptr<const ByteSource> source)
      : name_(std::move(name)), source_(std::move(source)) {}

 private:
  std::string name_;
  std::shared_ptr<const ByteSource> source_;
};

}  // namespace pkgfs::webc
