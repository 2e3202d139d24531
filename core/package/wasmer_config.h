// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pkgfs {

/// The settings that pkgfs uses from `$WASMER_DIR/wasmer.toml`, which `wasmer login` and `wasmer config` write. Other
/// keys are ignored.
struct WasmerConfig {
  std::optional<std::string> active_registry;
  std::vector<std::pair<std::string, std::string>> tokens;  // registry and token, in file order
  std::optional<std::string> proxy;

  /// The token that is stored for the registry `name` or `endpoint`; of several, the last one.
  [[nodiscard]] std::optional<std::string> token_of(std::string_view name, std::string_view endpoint) const;
};

/// Throws Error(kCorrupt) with the line that is wrong.
[[nodiscard]] WasmerConfig parse_wasmer_config(std::string_view text);

}  // namespace pkgfs
