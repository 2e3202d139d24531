// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace pkgfs {

/// An age for messages, in its largest unit: "3 minutes", "1 day". None gives "an unknown time".
[[nodiscard]] std::string age_text(std::optional<std::chrono::seconds> age);

}  // namespace pkgfs
