// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/webc/container.h"

namespace pkgfs::webc {

/// A 64-bit hash of `bytes`, the same on every machine. Fast, and not meant to withstand an attacker.
[[nodiscard]] std::uint64_t digest64(std::uint64_t seed, std::span<const std::byte> bytes);

/// A number that tells versions of a container apart: a hash of its manifest and of the checksums that it stores.
/// Version 1 stores one checksum in front of the manifest; versions 2 and 3 store their checksums in the index. If no
/// checksum of a volume is stored, the first 64 KiB of its directory data take its place. No file body is read, so the
/// time doesn't depend on the size of the container.
[[nodiscard]] std::uint64_t header_digest(const Container& container);

}  // namespace pkgfs::webc
