// SPDX-License-Identifier: MIT
#pragma once

#include <cerrno>
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

class HostWatcher;
class LiveChanges;

/// A file system's handle of one of its own inodes, below 2^62; callers can't interpret it. The number that `stat`
/// shows is `Attributes::number`.
using Inode = std::uint64_t;

enum class FileType : std::uint8_t { kDirectory, kFile, kSymlink };

/// How live entries are numbered. An entry on `device` has the host's inode number plus `base`. On another device,
/// or for a huge inode number, the number of the entry is a hash (`host_number`).
struct HostNumbers {
  std::uint64_t device = 0;
  std::uint64_t base = 0;
};

/// The attributes that stat(2) shows. The times of access and of change equal `modified`; the FUSE adapter adds the
/// owner.
struct Attributes {
  FileType type = FileType::kFile;
  std::uint16_t mode = 0644;      // permission bits only
  std::uint32_t modified_ns = 0;  // below 10^9
  std::int64_t modified = 1;      // seconds since the epoch; 1 stands for "no time", as in Wasmer
  std::uint64_t size = 0;         // file: bytes; symbolic link: length of the text; directory: 0
  std::uint64_t number = 0;       // st_ino, or the number in this layer (`FileSystem::numbers`); 0: not known here
  std::uint32_t links = 1;
  /// No layer has this directory: it exists only because a layer is mounted below it.
  bool synthetic = false;
  /// A layer is mounted below this path. So this is a directory, even if a layer has a file here
  /// (docs/rules/filesystem.md, 9.2 rule 1).
  bool mount_ancestor = false;
  /// The entry may change at any time, as a host file does: LiveChanges says what may be cached of it.
  bool live = false;
  /// The file's first bytes decide whether it is executable (executables.h), and nothing has read them yet. So `mode`
  /// lacks the x bits. Layers and listings may set this flag. `lookup` and `metadata` of OverlayFileSystem read the
  /// bytes and clear it.
  bool may_be_program = false;
  /// The entry is live and changed within the last two seconds, or its directory of the host is gone (HostRoot). More
  /// changes are likely to come soon.
  bool recent = false;
};

/// The result of a look-up. In a file system that counts references to inodes, the caller owns one reference and
/// returns it with `forget`.
struct Entry {
  Inode inode = 0;
  Attributes attributes;
  /// Tells a live file from a later one that has the same number (HostFileSystem). 0: not known.
  std::uint64_t generation = 0;
};

/// One name of a listing. `name` is valid during the visit. In a file system without `live` entries it stays valid as
/// long as the file system exists.
struct DirEntry {
  std::string_view name;
  Inode inode = 0;         // 0: not looked up. Set only if inodes live as long as the file system; don't `forget` it
  int error = 0;           // not 0: the errno with which `lookup` of this name fails; `inode` is 0 then
  std::uint64_t next = 0;  // the position to pass to `read_dir` to continue after this entry
  Attributes attributes;   // type and number are always right; the rest only if `inode` isn't 0
};

/// The position of an entry in the listing of its directory.
struct Place {
  Inode directory = 0;
  std::uint64_t next = 0;  // the position to pass to `read_dir` to continue after the entry
};

/// The bytes of a file as one run of a source. Valid as long as the file system exists. In a file system that counts
/// references to inodes: only until the inode is forgotten, or until the OpenFile that gave it is closed.
struct Extent {
  const ByteSource* source = nullptr;
  ByteRun run;
};

/// An open file; destroying it closes it. Thread-safe.
class OpenFile {
 public:
  virtual ~OpenFile() = default;
  /// Reads up to `out.size()` bytes at `offset`; fewer only at the end of the file. If some of the bytes can't be read,
  /// because the container was truncated or its disk fails, the call fails with EIO.
  [[nodiscard]] virtual Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) = 0;
  /// The file's bytes as one run of a source, if they are that; else EINVAL.
  [[nodiscard]] virtual Result<Extent> extent() const { return fail(EINVAL); }
  /// The descriptor of the host file, open for reading and owned by this object; -1 if the file isn't a whole host
  /// file.
  [[nodiscard]] virtual int descriptor() const { return -1; }
  /// The attributes of the open file itself, which may have lost its name. ENOTSUP if files here can't lose it.
  [[nodiscard]] virtual Result<Attributes> attributes() const { return fail(ENOTSUP); }
  /// The attributes that it had when it was opened. Costs no system call.
  [[nodiscard]] virtual Result<Attributes> attributes_at_open() const { return fail(ENOTSUP); }
};

/// The package, volume and path that an entry comes from; for `user.pkgfs.*` and messages.
struct Origin {
  std::string package;
  std::string volume;
  std::string path;  // inside the volume
  std::optional<Sha256> sha256;
};

/// Called with an entry and its position; a listing from that position begins with the entry. False ends the listing.
using StoredVisitor = FunctionRef<bool(std::uint64_t position, const DirEntry&)>;

/// A read-only tree: inodes, and directories that give them names. A FileSystem that is made of others owns them.
///
/// All functions are thread-safe; they return errno numbers and don't throw. A caller passes only the root, or an inode
/// that this file system returned and that isn't forgotten (exception: `fingerprint`). `find_path` and `TreeWalk`
/// (walk.h) work on any FileSystem.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  [[nodiscard]] virtual Inode root() const = 0;
  /// The entry `name` of directory `dir`. ENOENT, ENOTDIR, ENAMETOOLONG, EIO.
  [[nodiscard]] virtual Result<Entry> lookup(Inode dir, std::string_view name) = 0;
  [[nodiscard]] virtual Result<Attributes> metadata(Inode inode) = 0;
  /// Calls `visit` for the entries of `dir`, sorted by the bytes of their names, without "." and "..". Begins at
  /// position `from` (0, or a `next`) and ends when `visit` returns false. ENOTDIR, EIO.
  ///
  /// Holds no lock during a visit: `visit` may call every function of this file system, `read_dir` included. An
  /// exception of `visit` reaches the caller.
  [[nodiscard]] virtual Result<void> read_dir(Inode dir, std::uint64_t from,
                                              FunctionRef<bool(const DirEntry&)> visit) = 0;
  /// Like `read_dir`, but in the order in which the layer stores the entries. Begins at position `from`: 0, the
  /// position of an entry, or its `next`. A layer that may hold large directories reads nothing that lies before the
  /// position.
  [[nodiscard]] virtual Result<void> list_stored(Inode dir, std::uint64_t from, StoredVisitor visit);
  /// The number (`Attributes::number`) of the parent of directory `dir`; the root is its own parent.
  [[nodiscard]] virtual Result<std::uint64_t> parent_number(Inode dir);
  /// The text of a symbolic link; EINVAL for an inode of another type. The text is valid until the caller's ReadSection
  /// (core/base/read_section.h) ends; without a ReadSection, until the caller's next call. After `forget` of the inode,
  /// the text is invalid.
  [[nodiscard]] virtual Result<std::string_view> read_link(Inode inode) = 0;
  [[nodiscard]] virtual Result<std::unique_ptr<OpenFile>> open(Inode inode) = 0;
  /// The file's bytes as one run, for callers that need no open file. EINVAL if they aren't one run (a host file).
  [[nodiscard]] virtual Result<Extent> extent(Inode inode);
  /// ENOTSUP if the file system doesn't know the places of its entries; EINVAL for the root.
  [[nodiscard]] virtual Result<Place> place(Inode inode);
  /// True: nothing here ever changes, and `extent` works for every file, so that no file needs `open`. The daemon asks
  /// when the mount begins, and uses the answer for the whole mount. One layer that can change makes it false for all.
  [[nodiscard]] virtual bool is_immutable() const { return false; }
  /// Whether the packages that `inode` comes from are as they were when they were opened; the root comes from all. A
  /// caller asks this after it has copied a text that may lie in a mapped file (`read_link`). False: the caller answers
  /// EIO.
  [[nodiscard]] virtual bool is_intact(Inode /*inode*/) { return true; }
  /// The changes of live entries that the kernel must be told of; null where nothing is live.
  [[nodiscard]] virtual LiveChanges* changes() { return nullptr; }
  /// Makes `watcher` watch the host directory that `dir` of a live layer shows. The watcher reports changes of its
  /// entries with the number `watch`. False: not all changes will be reported.
  [[nodiscard]] virtual bool watch(Inode dir, HostWatcher& watcher, std::uint64_t watch);
  /// Returns `count` references that `lookup` gave. By default this does nothing: inodes live as long as the file
  /// system. OverlayFileSystem relies on that: it never calls `forget` of its layers.
  virtual void forget(Inode inode, std::uint64_t count);
  /// The highest number (`Attributes::number`) of this layer's entries, live entries not counted: their numbers come
  /// from the host (HostNumbers). A layer numbers its other entries from 1, in an order that doesn't depend on
  /// look-ups. No two of them have the same number.
  [[nodiscard]] virtual std::uint64_t numbers() const { return 0; }
  /// The device (`st_dev`) of the host directory that this file system shows; 0 if it shows none.
  [[nodiscard]] virtual std::uint64_t device() const { return 0; }
  /// Sets how live entries are numbered. Called before the first look-up.
  virtual void number_hosts(const HostNumbers& /*numbers*/) {}
  /// The path of the entry of this layer whose `Attributes::number` is `number`; ENOENT if there is none. Slow: the
  /// function reads directories until it comes to the entry.
  [[nodiscard]] virtual Result<std::string> path_of_number(std::uint64_t number);
  /// A number that identifies the tree in every process; 0 if it isn't known. If two OverlayFileSystems have the same
  /// fingerprint, an inode is the same entry in both. So inodes stay valid in later processes: a caller may pass one of
  /// an earlier process to an OverlayFileSystem whose fingerprint isn't 0. The answer is ESTALE if no entry has the
  /// inode. With any other file system, a caller uses only inodes that it got from that same object.
  [[nodiscard]] virtual std::uint64_t fingerprint() const { return 0; }
  /// The origin of `inode`; slow. ENODATA if it comes from no package (a synthetic directory).
  [[nodiscard]] virtual Result<Origin> origin(Inode inode);
};

}  // namespace pkgfs::vfs
