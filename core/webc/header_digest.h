// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/webc/container.h"

namespace pkgfs::webc {

/// A 64-bit hash of `bytes`, the same on every machine. Fast, and not meant to withstand an attacker.
[[nodiscard]] std::uint64_t digest64(std::uint64_t seed, std::span<const std::byte> bytes);

/// A number that differs between two versions of a container: a hash of the checksums that it stores (the field of
/// version 1, those of the index of versions 2 and 3) and of its manifest. Where it stores no checksum of a volume, the
/// first 64 KiB of the volume's directory data take its place. No content is read, so that the time that this takes
/// doesn't depend on the size of the container.
[[nodiscard]] std::uint64_t header_digest(const Container& container);

}  // namespace pkgfs::webc
