// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace pkgfs {

/// The one of `names` that `wrong` is most likely a misspelling of: at most two letters changed, added, lost or
/// swapped, and fewer than half of them. Nothing if none is near.
[[nodiscard]] std::optional<std::string_view> suggest(std::string_view wrong, std::span<const std::string_view> names);

}  // namespace pkgfs
