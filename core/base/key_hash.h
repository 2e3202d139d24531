// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "core/base/hash.h"

namespace pkgfs {

/// The SHA-256 of a short text, for a command that may compute no other digest. libmd computes it, which is part of
/// pkgfs: to load libcrypto takes longer than the rest of such a command. For long data, libmd is slower than `sha256`.
/// Thread-safe.
[[nodiscard]] Sha256 sha256_of_key(std::string_view text);

}  // namespace pkgfs
