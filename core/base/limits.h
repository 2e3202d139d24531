// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

/// Bounds on what is accepted from a container, a manifest or a file system; each with its reason.
namespace pkgfs::limits {

/// Linux's NAME_MAX: a longer name can't be looked up through the kernel.
inline constexpr std::size_t kNameBytes = 255;
/// Linux's PATH_MAX less the NUL: a longer link target can't be returned by readlink.
inline constexpr std::size_t kLinkBytes = 4095;
/// CBOR nesting. nlohmann's own readers recurse; real manifests stay below 10.
inline constexpr std::size_t kCborDepth = 64;
/// Items in one CBOR document: each costs tens of bytes in memory, whatever it costs in the file.
inline constexpr std::size_t kCborItems = 1'000'000;
inline constexpr std::uint64_t kManifestBytes = 16ULL << 20U;
inline constexpr std::uint64_t kIndexBytes = 64ULL << 20U;
/// Depth of directories that are walked (verify, extract, footprint): PATH_MAX / 2 levels can't be opened anyway.
inline constexpr std::size_t kTreeDepth = 4096;
/// Layers of a tree with live directories: inodes have 62 bits, 48 of them for what lies in a layer.
inline constexpr std::size_t kLiveLayers = 1U << 14U;
/// A gzip'd tar is unpacked before it is used; this bounds a decompression bomb.
inline constexpr std::uint64_t kTarballBytes = 8ULL << 30U;
inline constexpr std::size_t kTarballEntries = 1'000'000;
/// Levels of directories in it: far more than any package has, and a name says so many in a few bytes.
inline constexpr std::size_t kTarballDepth = 256;
/// Of a download, when nobody says otherwise: an endless answer must not fill the disk.
inline constexpr std::uint64_t kDownloadBytes = 16ULL << 30U;
/// Of a registry's answer: all versions of a package with their manifests.
inline constexpr std::uint64_t kAnswerBytes = 64ULL << 20U;
/// Transfers and queries at a time (docs/rules/loading.md, 3).
inline constexpr std::size_t kParallelRequests = 32;
/// The reference's limits of dependency resolution (docs/rules/resolution.md, 4.2).
inline constexpr std::size_t kResolvePackages = 1'000;
inline constexpr std::size_t kResolvePending = 4'000;
inline constexpr std::size_t kResolveStates = 10'000;

}  // namespace pkgfs::limits
