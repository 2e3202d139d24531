// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace pkgfs {

/// The name that is most likely meant by the misspelling `wrong`: at most two letters are changed, added, lost or
/// swapped, and fewer than half of the letters. Nothing if no name is that similar.
[[nodiscard]] std::optional<std::string_view> suggest(std::string_view wrong, std::span<const std::string_view> names);

}  // namespace pkgfs
