// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string_view>

#include "core/webc/json_builder.h"

namespace pkgfs::webc {

/// For a registry's answer, a cached answer, and JSON of other processes.
inline constexpr JsonLimits kAnyJson{.bytes = limits::kAnswerBytes,
                                     .items = limits::kAnswerItems,
                                     .growth = limits::kJsonGrowth,
                                     .memory = limits::kAnswerBytes * limits::kJsonGrowth,
                                     .is_strict = false};
/// For a lock file.
inline constexpr JsonLimits kLockJson{.bytes = kAnyJson.bytes,
                                      .items = kAnyJson.items,
                                      .growth = kAnyJson.growth,
                                      .memory = kAnyJson.memory,
                                      .is_strict = true};
/// For the manifest of one package.
inline constexpr JsonLimits kManifestJson{.bytes = limits::kManifestBytes,
                                          .items = limits::kManifestItems,
                                          .growth = limits::kJsonGrowth,
                                          .memory = limits::kManifestMemory,
                                          .is_strict = false};

/// Parses a JSON text from outside, in linear time and within `limits`. Throws Error(kCorrupt) that names the limit, or
/// the byte at which the text is wrong. With `is_strict`, also throws it for a byte order mark. Throws
/// Error(kInterrupted) within a fraction of a second (core/base/cancel.h).
[[nodiscard]] Json parse_json(std::string_view text, const JsonLimits& limits = kAnyJson);

/// The object that `text` contains; nothing if `text` isn't JSON or isn't an object. Throws Error(kInterrupted) only.
[[nodiscard]] std::optional<Json> parse_object(std::string_view text);

}  // namespace pkgfs::webc
