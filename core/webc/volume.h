// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/base/byte_source.h"
#include "core/base/error.h"
#include "core/base/function_ref.h"
#include "core/base/hash.h"

namespace pkgfs::webc {

enum class EntryKind : std::uint8_t { kDirectory, kFile, kSymlink };

/// Identifies an entry of a volume. Opaque; valid as long as its volume. `kRootRef` is the root directory.
using EntryRef = std::uint64_t;
inline constexpr EntryRef kRootRef = 0;

/// The attributes of one entry, as stored.
struct EntryInfo {
  EntryKind kind = EntryKind::kFile;
  std::uint64_t offset = 0;              // file: where its body begins in the container file
  std::uint64_t length = 0;              // of a file's body or a link's target; directory: 0
  std::optional<std::int64_t> modified;  // seconds since the epoch, clamped to 63 bits; none before version 3
  std::string_view target;               // link: as stored, in the mapping
  std::span<const std::byte> sha256;     // the stored hash of body, target or directory: 32 bytes, or none (version 1)
};

/// One name in a directory. `name` points into the bytes of the source and lives as long as it.
struct DirRecord {
  std::string_view name;
  EntryRef ref = kRootRef;
  /// If not 0, the record is damaged: a look-up of the name answers this errno (EIO), and `info` is meaningless.
  int error = 0;
  EntryInfo info;
  /// From 2 to `Volume::numbers()`; no two records of the volume have the same. Depends on nothing but the container's
  /// bytes. 1 is the root's.
  std::uint64_t number = 0;
  /// Where a listing of the directory begins with this record, and with the one stored behind it. Never 0.
  std::uint64_t position = 0;
  std::uint64_t next = 0;
};

/// One volume of a container. Thread-safe. Decodes directories from the mapped header on demand and caches nothing: the
/// kernel and the layers above cache the results.
///
/// Damage (docs/rules/webc-format.md, 11) affects only the entry that has it, and is logged once with source, volume
/// and offset:
/// - An unusable name (empty, ".", "..", with "/" or NUL, not UTF-8, over 255 bytes) and the second entry of a name are
///   left out.
/// - An entry with a bad offset, tag or length, or a directory that another one contains already, is listed with
///   `error` EIO.
/// - A directory whose own table is damaged can't be listed: EIO.
class Volume {
 public:
  virtual ~Volume() = default;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::shared_ptr<const ByteSource>& source() const { return source_; }

  /// The attributes of `ref`, which is `kRootRef` or came from `list`. EIO if the entry is damaged.
  [[nodiscard]] virtual Result<EntryInfo> info(EntryRef ref) const = 0;
  /// Calls `visit` for each record of the directory `dir`, in stored order, until it returns false. `visit` may call
  /// this volume. Fails with ENOTDIR or EIO.
  [[nodiscard]] Result<void> list(EntryRef dir, FunctionRef<bool(const DirRecord&)> visit) const {
    return list(dir, 0, visit);
  }
  /// The same from `position`, which a record of `dir` gave; 0: from the beginning. The records before it take no time.
  /// If the first of two records with one name lies before the position, the second one is listed.
  [[nodiscard]] virtual Result<void> list(EntryRef dir, std::uint64_t position,
                                          FunctionRef<bool(const DirRecord&)> visit) const = 0;
  /// The highest number that a record can have. Known without reading a record.
  [[nodiscard]] virtual std::uint64_t numbers() const = 0;
  /// The path of the record with this number. Fails with ENOENT if there is none. Reads the directories that may have
  /// it.
  [[nodiscard]] virtual Result<std::string> path_of_number(std::uint64_t number) const = 0;
  /// A hash of the first 4 KiB of the container, where its stored checksums begin, and of the place of the volume.
  /// Never 0.
  [[nodiscard]] virtual std::uint64_t fingerprint() const = 0;

 protected:
  Volume(std::string name, std::shared_ptr<const ByteSource> source)
      : name_(std::move(name)), source_(std::move(source)) {}

 private:
  std::string name_;
  std::shared_ptr<const ByteSource> source_;
};

}  // namespace pkgfs::webc
