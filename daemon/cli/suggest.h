// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace pkgfs {

/// The one of `names` that is most likely meant by the misspelling `wrong`. At most two letters may be changed, added,
/// lost or swapped. That must be fewer than half of the letters of the name. Nothing if no name is that similar, or if
/// `wrong` has more than 64 bytes.
[[nodiscard]] std::optional<std::string_view> suggest(std::string_view wrong, std::span<const std::string_view> names);

}  // namespace pkgfs
