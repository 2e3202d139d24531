// SPDX-License-Identifier: MIT
#include "core/package/wasmer_config.h"

#include "core/package/toml_document.h"

namespace pkgfs {

std::optional<std::string> WasmerConfig::token_of(std::string_view name, std::string_view endpoint) const {
  std::optional<std::string> found;
  for (const auto& [registry, token] : tokens) {
    if (registry == name || registry == endpoint) {
      found = token;
    }
  }
  return found;
}

WasmerConfig parse_wasmer_config(std::string_view text) {
  const TomlDocument document(text);
  WasmerConfig config;
  if (const auto* registry = document.table(document.root(), "registry", "a table")) {
    config.active_registry = document.text(*registry, "active_registry");
    for (const toml::table* entry : document.tables(*registry, "tokens", "an array of tables")) {
      config.tokens.emplace_back(document.required_text(*entry, "registry"), document.required_text(*entry, "token"));
    }
  }
  if (const auto* proxy = document.table(document.root(), "proxy", "a table")) {
    config.proxy = document.text(*proxy, "url");
  }
  return config;
}

}  // namespace pkgfs
