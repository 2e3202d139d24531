// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/base/limits.h"

namespace pkgfs {

/// `text`, a path or a name of a package, for a message: of more than `most` characters, the middle is replaced by "…".
/// Both ends stay, because the end of a path tells most. `most` is at least 2. Cuts between characters of UTF-8; up
/// to four bytes that aren't UTF-8 count as one.
[[nodiscard]] std::string cut_middle(std::string_view text, std::size_t most = limits::kShownPath);

}  // namespace pkgfs
