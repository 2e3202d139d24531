// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

/// Limits on hostile or damaged input: containers, manifests, archives, replies. Each with its reason. Some limits are
/// higher for local packages than for those of strangers. These are in the two sets at the end, `kLocal` and
/// `kStranger`.
namespace pkgfs::limits {

/// Linux's NAME_MAX: a longer name can't be looked up through the kernel.
inline constexpr std::size_t kNameBytes = 255;
/// Linux's PATH_MAX without the final NUL: readlink(2) can't return a longer target.
inline constexpr std::size_t kLinkBytes = 4095;
/// Levels of arrays and maps in JSON and CBOR. To copy or print a value takes stack for each level. Real manifests have
/// fewer than 10.
inline constexpr std::size_t kJsonDepth = 64;
/// Bytes of memory that the value of a JSON or CBOR document may take, however short the document is. The value of a
/// longer document may take `kJsonGrowth` or `kCborGrowth` times the length of the document. A number takes tens of
/// bytes of memory, even if it takes one byte in the document. For example, `kMappings` mappings with short names take
/// 5.3 MB, eight times their text, and `kCommands` commands take 7 MB.
inline constexpr std::size_t kJsonMemory = 8U << 20U;
inline constexpr std::size_t kJsonGrowth = 8;
inline constexpr std::size_t kCborGrowth = 20;
/// A manifest: its length in bytes, the number of its values and keys together, and the bytes of memory that its value
/// takes. The last two also limit the index of a container of version 2 or 3. With these limits, any command can show
/// any package in 64 MB of memory. A manifest with `kCommands` commands has 280,000 values and keys; real manifests
/// have fewer than 200.
inline constexpr std::uint64_t kManifestBytes = 16ULL << 20U;
inline constexpr std::size_t kManifestItems = 300'000;
inline constexpr std::size_t kManifestMemory = 32U << 20U;
/// Bytes of the CBOR of an index. A volume takes a hundred bytes and its name, so this suffices for `kVolumes` volumes
/// with long names.
inline constexpr std::uint64_t kIndexBytes = 16ULL << 20U;
/// Volumes of a container. Each takes memory while the container is open, and a tree can show at most `kMappings` of
/// them.
inline constexpr std::size_t kVolumes = 10'000;
/// Mappings of all packages in a tree together. Each mapping is a layer. The directories on the way to its mount path
/// are merged with those of all other layers. Real trees have fewer than 100 mappings.
inline constexpr std::size_t kMappings = 10'000;
/// Components of a mount path. A layer has one directory for each component. Real mount paths have fewer than 10
/// components.
inline constexpr std::size_t kMountDepth = 256;
/// Bytes of a mount path, and of the path of a mapping inside its volume. Linux's PATH_MAX: no system call takes a
/// longer path.
inline constexpr std::size_t kPathBytes = 4096;
/// Commands of all packages in a tree together. They are files in one directory. Real packages have fewer than 300.
inline constexpr std::size_t kCommands = 20'000;
/// Warnings of one kind that are logged in full (core/base/repeated_warning.h): enough to find the cause.
inline constexpr std::size_t kRepeatedWarnings = 3;
/// Levels of directories that pkgfs follows, for example to verify, extract, merge or pack a tree. One path names at
/// most PATH_MAX / 2 levels, so this is more than enough.
inline constexpr std::size_t kTreeDepth = 4096;
/// Layers of a tree with live directories. An inode there has 62 bits: 48 for the layer's own inode, and 14 for the
/// layer.
inline constexpr std::size_t kLiveLayers = 1U << 14U;
/// Changes of live directories after which a server thread stops reading them and answers its request. Other programs
/// can fill the kernel's queue of changes as fast as the thread reads it.
inline constexpr std::size_t kHostChanges = 1024;
/// Notices about changed names that may wait for the thread that sends them to the kernel. The queue of inotify has the
/// same length by default.
inline constexpr std::size_t kLiveNotices = 1U << 14U;
/// Unpacked bytes of a gzip'd tar, which take room in the directory for temporary files.
inline constexpr std::uint64_t kTarballBytes = 8ULL << 30U;
/// Unpacked bytes of a gzip'd tar up to which its compression ratio doesn't matter. Zeros shrink to a thousandth, and
/// there are packages with an empty disk image or database. To unpack, pack and hash so many bytes takes a second.
inline constexpr std::uint64_t kUnpackedFreely = 64ULL << 20U;
/// Unpacked bytes for each byte of a gzip'd tar, if there are more than `kUnpackedFreely`. Text shrinks to a tenth,
/// logs shrink to a fiftieth, and a decompression bomb shrinks to a thousandth.
inline constexpr std::uint64_t kUnpackedRatio = 100;
/// Once more bytes than this are unpacked, they must also keep the ratio to the bytes of the tar that were read so far.
/// So pkgfs refuses a decompression bomb of any size within a second. A sound file may begin with an empty disk image
/// of this size.
inline constexpr std::uint64_t kUnpackedAtFirst = 256ULL << 20U;
/// Entries of a gzip'd tar, which are all in memory while it is read.
inline constexpr std::size_t kTarballEntries = 1'000'000;
/// Levels of directories in a gzip'd tar: far more than any package has. A name of 512 bytes can already ask for 256
/// levels.
inline constexpr std::size_t kTarballDepth = 256;
/// Bytes of one download, unless the user sets another limit (--max-download). An endless reply must not fill the disk.
inline constexpr std::uint64_t kDownloadBytes = 16ULL << 30U;
/// Bytes of a registry's reply, which holds all versions of a package with their manifests.
inline constexpr std::uint64_t kAnswerBytes = 64ULL << 20U;
/// Values and keys of such a reply: 20,000 versions have 280,000.
inline constexpr std::size_t kAnswerItems = 500'000;
/// Downloads and queries that run at the same time (docs/rules/loading.md, 3).
inline constexpr std::size_t kParallelRequests = 32;
/// The reference's limits of dependency resolution (docs/rules/resolution.md, 4.2).
inline constexpr std::size_t kResolvePackages = 1'000;
inline constexpr std::size_t kResolvePending = 4'000;
inline constexpr std::size_t kResolveStates = 10'000;

/// The limits for packages of one kind: local packages, or packages of strangers. Most are limits for each package.
/// `mappings` and `commands` limit sums. Those of `kStranger` limit the sums over the packages of strangers in a tree.
/// Those of `kLocal` limit the sums over all packages in it, of both kinds.
struct PackageLimits {
  std::string_view name;  // of this kind of packages, in messages
  std::uint64_t manifest_bytes;
  std::uint64_t index_bytes;
  std::size_t volumes;
  std::size_t mappings;
  std::size_t commands;
  std::size_t mount_depth;
  std::size_t path_bytes;
  std::uint64_t tarball_bytes;
  std::size_t tarball_entries;
  /// True: damage in such a package is an error. False: pkgfs warns, and leaves out the damaged part.
  bool refuses_damage;
};

/// For a local package: the user chose it, and can look into it.
inline constexpr PackageLimits kLocal{.name = "local packages",
                                      .manifest_bytes = kManifestBytes,
                                      .index_bytes = kIndexBytes,
                                      .volumes = kVolumes,
                                      .mappings = kMappings,
                                      .commands = kCommands,
                                      .mount_depth = kMountDepth,
                                      .path_bytes = kPathBytes,
                                      .tarball_bytes = kTarballBytes,
                                      .tarball_entries = kTarballEntries,
                                      .refuses_damage = false};

/// For a package from a registry or a URL, and with --untrusted for every package. The user may never have looked into
/// such a package. Each limit is many times as high as real packages need. The largest of seven real packages has a
/// manifest of 1,811 bytes, 6 commands, 3 volumes and 2 mappings. Its mount paths have at most 2 directories and 9
/// bytes.
inline constexpr PackageLimits kStranger{
    .name = "packages of strangers",
    .manifest_bytes = 1ULL << 20U,  // 500 times as long; its value takes 20 MB at most (kCborGrowth)
    .index_bytes = 1ULL << 20U,     // for 1,000 volumes with names of 900 bytes
    .volumes = 1'000,               // 300 times as many
    .mappings = 1'000,              // 500 times as many
    .commands = 2'000,              // 300 times as many; packages that are a whole set of tools have 300
    .mount_depth = 64,              // 30 times as deep; the deepest package of the tests has 4
    .path_bytes = 1024,             // 100 times as long: room for four names of the greatest length
    .tarball_bytes = 2ULL << 30U,   // a compiler with its libraries takes a quarter when unpacked
    .tarball_entries = 200'000,     // a distribution of Python with its usual libraries has 20,000
    .refuses_damage = true};

}  // namespace pkgfs::limits
