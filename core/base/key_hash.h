// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "core/base/hash.h"

namespace pkgfs {

/// The SHA-256 of a short text, for a command that may compute no other digest. libmd computes it, because libmd loads
/// in a tenth of the time that libcrypto takes; libcrypto does so if this machine has no libmd. For long data,
/// libmd is slower than `sha256`. Throws as Sha256Hasher. Thread-safe.
[[nodiscard]] Sha256 sha256_of_key(std::string_view text);

}  // namespace pkgfs
