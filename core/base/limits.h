// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

/// Limits on hostile or damaged input: containers, manifests, archives, replies. Each with its reason. Some limits are
/// higher for packages on this machine than for those of strangers: these are in the two sets at the end, `kLocal` and
/// `kStranger`.
namespace pkgfs::limits {

/// Linux's NAME_MAX: a longer name can't be looked up through the kernel.
inline constexpr std::size_t kNameBytes = 255;
/// Linux's PATH_MAX less the NUL: readlink can't return a longer target.
inline constexpr std::size_t kLinkBytes = 4095;
/// Nesting of JSON and CBOR. Copying and printing a value recurse. Real manifests stay below 10.
inline constexpr std::size_t kJsonDepth = 64;
/// Memory that the value of any JSON or CBOR document may take. A longer one may take `kJsonGrowth` or `kCborGrowth`
/// bytes for each of its own. A value takes tens of bytes, even if it takes one byte in the file. `kMappings` with
/// short names take 5.3 MB, eight times their text; `kCommands` take 7 MB.
inline constexpr std::size_t kJsonMemory = 8U << 20U;
inline constexpr std::size_t kJsonGrowth = 8;
inline constexpr std::size_t kCborGrowth = 20;
/// A manifest or index: its bytes, values and keys, and the memory of its value. With these, any command can show any
/// package in 64 MB. 20,000 commands take 280,000 items; real manifests have less than 200.
inline constexpr std::uint64_t kManifestBytes = 16ULL << 20U;
inline constexpr std::size_t kManifestItems = 300'000;
inline constexpr std::size_t kManifestMemory = 32U << 20U;
/// The CBOR of an index: a hundred bytes and a name for each volume, so this suffices for kVolumes with long names.
inline constexpr std::uint64_t kIndexBytes = 16ULL << 20U;
/// Volumes of a container. Each is a file system in memory, and a tree shows at most kMappings of them.
inline constexpr std::size_t kVolumes = 10'000;
/// Mappings of a tree, of all packages together. Each is a layer, and the directories above its mount path are merged
/// from all layers. Real trees have fewer than 100.
inline constexpr std::size_t kMappings = 10'000;
/// Components of a mount path. Each layer has a directory for each of them. Real mount paths have fewer than 10.
inline constexpr std::size_t kMountDepth = 256;
/// Linux's PATH_MAX: no system call takes a longer path. Of a mount path, and of the path that a mapping has in its
/// volume.
inline constexpr std::size_t kPathBytes = 4096;
/// Commands of a tree, of all packages together. Each is a file in one directory. Real packages have fewer than 300.
inline constexpr std::size_t kCommands = 20'000;
/// Messages of one kind that are told in full (core/base/repeated_warning.h): enough to see what is wrong.
inline constexpr std::size_t kRepeatedWarnings = 3;
/// Nesting of directories in a walk (verify, extract, footprint). A path has at most PATH_MAX / 2 components.
inline constexpr std::size_t kTreeDepth = 4096;
/// Layers of a tree with live directories: of the 62 bits of an inode, 48 number the inodes of one layer.
inline constexpr std::size_t kLiveLayers = 1U << 14U;
/// Changes of live directories that a server thread reads before it answers a request. It reads the queue of the
/// kernel, which other programs can fill as fast as it is read.
inline constexpr std::size_t kHostChanges = 1024;
/// Notices of changed names that wait to be told to the kernel, as long as the queue of inotify by default.
inline constexpr std::size_t kLiveNotices = 1U << 14U;
/// Unpacked bytes of a gzip'd tar, which take room in the directory for temporary files.
inline constexpr std::uint64_t kTarballBytes = 8ULL << 30U;
/// Unpacked bytes of a gzip'd tar up to which its ratio doesn't matter: zeros shrink to a thousandth, and packages with
/// an empty disk image or database exist. To unpack, pack and hash so many takes a second.
inline constexpr std::uint64_t kUnpackedFreely = 64ULL << 20U;
/// Beyond that, unpacked bytes for each byte of the file. Text shrinks to a tenth, logs to a fiftieth, and a bomb to a
/// thousandth.
inline constexpr std::uint64_t kUnpackedRatio = 100;
/// Unpacked bytes from which the ratio of what was read so far counts, so that a bomb of any size is refused within a
/// second. A sound file may begin with an empty disk image of so many bytes.
inline constexpr std::uint64_t kUnpackedAtFirst = 256ULL << 20U;
inline constexpr std::size_t kTarballEntries = 1'000'000;
/// Nesting of directories in a tar: far more than any package has. A name of 512 bytes already asks for 256 levels.
inline constexpr std::size_t kTarballDepth = 256;
/// Bytes of a download without a stated size: an endless reply must not fill the disk.
inline constexpr std::uint64_t kDownloadBytes = 16ULL << 30U;
/// Bytes of a registry's reply, which holds all versions of a package with their manifests.
inline constexpr std::uint64_t kAnswerBytes = 64ULL << 20U;
/// Values and keys of such a reply: 20,000 versions have 280,000.
inline constexpr std::size_t kAnswerItems = 500'000;
/// Transfers and queries at a time (docs/rules/loading.md, 3).
inline constexpr std::size_t kParallelRequests = 32;
/// The reference's limits of dependency resolution (docs/rules/resolution.md, 4.2).
inline constexpr std::size_t kResolvePackages = 1'000;
inline constexpr std::size_t kResolvePending = 4'000;
inline constexpr std::size_t kResolveStates = 10'000;

/// The limits of one package, and of all packages of its kind in a tree.
struct PackageLimits {
  std::string_view name;  // of the packages that the set is for, as errors give it
  std::uint64_t manifest_bytes;
  std::uint64_t index_bytes;
  std::size_t volumes;
  std::size_t mappings;
  std::size_t commands;
  std::size_t mount_depth;
  std::size_t path_bytes;
  std::uint64_t tarball_bytes;
  std::size_t tarball_entries;
  /// What is otherwise a warning of damage, or of a name that leads out, is an error.
  bool refuses_damage;
};

/// For a package that lies on this machine: the user chose it, and can look into it.
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

/// For a package from a registry or a URL, and with --untrusted for every package: pkgfs fetches it by its name, and
/// the user may never have looked into it. Each limit is many times what real packages need. The largest of seven real
/// ones has a manifest of 1,811 bytes, 6 commands, 3 volumes and 2 mappings, at paths of 2 directories and 9 bytes.
inline constexpr PackageLimits kStranger{
    .name = "packages of strangers",
    .manifest_bytes = 1ULL << 20U,  // 500 times as long; its value takes 20 MB at most (kCborGrowth)
    .index_bytes = 1ULL << 20U,     // for 1,000 volumes with names of 900 bytes
    .volumes = 1'000,               // 300 times as many
    .mappings = 1'000,              // 500 times as many
    .commands = 2'000,              // 300 times as many; toolboxes of one program for each command have 300
    .mount_depth = 64,              // 30 times as deep; the deepest package of the tests has 4
    .path_bytes = 1024,             // 100 times as long, and four names of the greatest length
    .tarball_bytes = 2ULL << 30U,   // a compiler with its libraries takes a quarter when unpacked
    .tarball_entries = 200'000,     // a distribution of Python with its usual libraries has 20,000
    .refuses_damage = true};

}  // namespace pkgfs::limits
