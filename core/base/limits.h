// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

/// Limits on hostile or damaged input: containers, manifests, archives, replies. Each with its reason.
namespace pkgfs::limits {

/// Linux's NAME_MAX: a longer name can't be looked up through the kernel.
inline constexpr std::size_t kNameBytes = 255;
/// Linux's PATH_MAX less the NUL: readlink can't return a longer target.
inline constexpr std::size_t kLinkBytes = 4095;
/// Nesting of CBOR and JSON. Copying and printing a value recurse. Real manifests stay below 10.
inline constexpr std::size_t kCborDepth = 64;
/// Items in one CBOR document. Each takes tens of bytes in memory, even if it takes one byte in the file.
inline constexpr std::size_t kCborItems = 1'000'000;
inline constexpr std::uint64_t kManifestBytes = 16ULL << 20U;
inline constexpr std::uint64_t kIndexBytes = 64ULL << 20U;
/// Nesting of directories in a walk (verify, extract, footprint). A path has at most PATH_MAX / 2 components.
inline constexpr std::size_t kTreeDepth = 4096;
/// Layers of a tree with live directories: of the 62 bits of an inode, 48 number the inodes of one layer.
inline constexpr std::size_t kLiveLayers = 1U << 14U;
/// Changes of live directories that a server thread reads before it answers a request. It reads the queue of the
/// kernel, which other programs can fill as fast as it is read.
inline constexpr std::size_t kHostChanges = 1024;
/// Notices of changed names that wait to be told to the kernel, as long as the queue of inotify by default.
inline constexpr std::size_t kLiveNotices = 1U << 14U;
/// Unpacked bytes of a gzip'd tar: limits a decompression bomb.
inline constexpr std::uint64_t kTarballBytes = 8ULL << 30U;
inline constexpr std::size_t kTarballEntries = 1'000'000;
/// Nesting of directories in a tar: far more than any package has. A name of 512 bytes already asks for 256 levels.
inline constexpr std::size_t kTarballDepth = 256;
/// Bytes of a download without a stated size: an endless reply must not fill the disk.
inline constexpr std::uint64_t kDownloadBytes = 16ULL << 30U;
/// Bytes of a registry's reply, which holds all versions of a package with their manifests.
inline constexpr std::uint64_t kAnswerBytes = 64ULL << 20U;
/// Transfers and queries at a time (docs/rules/loading.md, 3).
inline constexpr std::size_t kParallelRequests = 32;
/// The reference's limits of dependency resolution (docs/rules/resolution.md, 4.2).
inline constexpr std::size_t kResolvePackages = 1'000;
inline constexpr std::size_t kResolvePending = 4'000;
inline constexpr std::size_t kResolveStates = 10'000;

}  // namespace pkgfs::limits
