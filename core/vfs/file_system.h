// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
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

namespace pkgfs::vfs {

/// A file system's own handle of one of its inodes; opaque to everybody else, below 2^62. Not the number that `stat`
/// shows (`Attributes::number`).
using Inode = std::uint64_t;

enum class FileType : std::uint8_t { kDirectory, kFile, kSymlink };

/// What `stat` shows; times of access and change equal `modified`. Owners are the adapter's business.
struct Attributes {
  FileType type = FileType::kFile;
  std::uint16_t mode = 0644;      // permission bits only
  std::uint32_t modified_ns = 0;  // below 10^9
  std::int64_t modified = 1;      // seconds since the epoch; the reference's "no time" is 1
  std::uint64_t size = 0;         // file: bytes; link: length of the text; directory: 0
  std::uint64_t number = 0;       // st_ino; 0: not decided at this layer
  std::uint32_t links = 1;
  /// No layer has this directory: it exists only because something is mounted below it.
  bool synthetic = false;
  /// Something is mounted below it: whatever else is at this path, it is a directory
  /// (docs/rules/filesystem.md, 9.2 rule 1).
  bool mount_ancestor = false;
  /// May change at any time: a host file. Nothing about it may be cached for long.
  bool live = false;
};

/// An inode that was looked up. Where inodes are counted, that took one reference: return it with `forget`.
struct Entry {
  Inode inode = 0;
  Attributes attributes;
};

/// One name of a listing. `name` is valid during the visit; where nothing is `live`, as long as the file system.
struct DirEntry {
  std::string_view name;
  Inode inode = 0;         // 0: not looked up. Holds no reference: given only where inodes live for ever
  int error = 0;           // not 0: what `lookup` answers for this name; `inode` is 0 then
  std::uint64_t next = 0;  // pass it to `read_dir` to go on after this entry
  Attributes attributes;   // type and number are always right; the rest only if `inode` isn't 0
};

/// Where an entry stands in the listing of its directory.
struct Place {
  Inode directory = 0;
  std::uint64_t next = 0;  // pass it to `read_dir` to go on after the entry
};

/// Where a file's bytes lie when they lie in one run of a source.
struct Extent {
  const ByteSource* source = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

/// An open file. Destroying it closes it. Thread-safe.
class OpenFile {
 public:
  virtual ~OpenFile() = default;
  /// Reads up to `out.size()` bytes at `offset`; fewer only at the end of the file. EIO, never a short answer, when the
  /// container lost bytes.
  [[nodiscard]] virtual Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) = 0;
  /// The host file that it is, open for reading, as long as this lives; -1 if it is none, or a part of one.
  [[nodiscard]] virtual int descriptor() const { return -1; }
};

/// Where an entry comes from; for `user.pkgfs.*` and messages.
struct Origin {
  std::string package;
  std::string volume;
  std::string path;  // inside the volume
  std::optional<Sha256> sha256;
};

/// What a directory is: inodes with names. Layers are stacked by owning others of this kind. All operations may be
/// called from many threads; failures are errno numbers. Path walking is `vfs::walk` over it.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  [[nodiscard]] virtual Inode root() const = 0;
  /// The entry `name` of directory `dir`. ENOENT, ENOTDIR, ENAMETOOLONG, EIO.
  [[nodiscard]] virtual Result<Entry> lookup(Inode dir, std::string_view name) = 0;
  [[nodiscard]] virtual Result<Attributes> metadata(Inode inode) = 0;
  /// Calls `visit` for the entries of `dir`, sorted by name bytes, from position `from` (0, or a `next`) until it
  /// answers false. No "." and "..". ENOTDIR, EIO.
  [[nodiscard]] virtual Result<void> read_dir(Inode dir, std::uint64_t from,
                                              FunctionRef<bool(const DirEntry&)> visit) = 0;
  /// The number (`Attributes::number`) of the directory that holds directory `dir`; of the root itself for the root.
  [[nodiscard]] virtual Result<std::uint64_t> parent_number(Inode dir);
  /// The text of a link; valid until the inode is forgotten. EINVAL if it is none.
  [[nodiscard]] virtual Result<std::string_view> read_link(Inode inode) = 0;
  [[nodiscard]] virtual Result<std::unique_ptr<OpenFile>> open(Inode inode) = 0;
  /// The file's bytes as one run, for readers that need no open file. EINVAL when they aren't (a host file).
  [[nodiscard]] virtual Result<Extent> extent(Inode inode);
  /// ENOTSUP where entries don't know it; EINVAL for the root.
  [[nodiscard]] virtual Result<Place> place(Inode inode);
  /// True: nothing here ever changes, and every file can be read through `extent`, so that nobody has to call `open`.
  [[nodiscard]] virtual bool is_immutable() const { return false; }
  /// Returns `count` references that `lookup` took. Default: inodes live for ever.
  virtual void forget(Inode inode, std::uint64_t count);
  /// Where `inode` comes from. Not on the hot path. ENODATA when it comes from nowhere (a synthetic directory).
  [[nodiscard]] virtual Result<Origin> origin(Inode inode);

  // Changes. A read-only layer is what all of ours are: EROFS (docs/rules/filesystem.md, 8), never ENOSYS.
  [[nodiscard]] virtual Result<Entry> create(Inode dir, std::string_view name, std::uint16_t mode);
  [[nodiscard]] virtual Result<Entry> make_directory(Inode dir, std::string_view name, std::uint16_t mode);
  [[nodiscard]] virtual Result<Entry> make_symlink(Inode dir, std::string_view name, std::string_view target);
  [[nodiscard]] virtual Result<void> remove(Inode dir, std::string_view name, bool directory);
  [[nodiscard]] virtual Result<void> rename(Inode dir, std::string_view name, Inode new_dir, std::string_view new_name);
  [[nodiscard]] virtual Result<void> write(Inode inode, std::uint64_t offset, std::span<const std::byte> bytes);
  [[nodiscard]] virtual Result<void> set_attributes(Inode inode, const Attributes& attributes);
};

/// Walks `path` (components separated by "/", leading and doubled ones ignored, "." and ".." not interpreted) from the
/// root; doesn't follow links. The last entry holds a reference, those before it don't.
[[nodiscard]] Result<Entry> walk(FileSystem& fs, std::string_view path);

}  // namespace pkgfs::vfs
