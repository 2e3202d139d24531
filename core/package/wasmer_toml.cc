// SPDX-License-Identifier: MIT
#include "core/package/wasmer_toml.h"

#include <algorithm>
#include <array>

#include "core/base/error.h"
#include "core/package/semver.h"
#include "core/package/toml_document.h"

namespace pkgfs {
namespace {

/// Limit on dependencies, mappings, modules and commands, of each. Every one takes a file, a mount or a look-up.
constexpr std::size_t kMaxEntries = 4096;

void check_count(const TomlDocument& document, const toml::node& node, std::size_t count) {
  if (count > kMaxEntries) {
    document.reject(node, "more than " + std::to_string(kMaxEntries) + " entries");
  }
}

/// Calls `parse(text)` and reports what it throws at the position of `node`.
template <typename Parse>
void check(const TomlDocument& document, const toml::node& node, Parse parse) {
  std::string reason;
  try {
    (void)parse(document.as_text(node));
    return;
  } catch (const Error& error) {
    if (!node.is_string()) {
      throw;
    }
    reason = error.message();
  }
  document.reject(node, reason);
}

std::optional<std::string> version(const TomlDocument& document, const toml::table& table, std::string_view key) {
  const toml::node* node = table.get(key);
  if (node == nullptr) {
    return std::nullopt;
  }
  check(document, *node, [](const std::string& text) { return Version::parse(text); });
  return document.as_text(*node);
}

WasmerToml::Package read_package(const TomlDocument& document, const toml::table& table) {
  WasmerToml::Package package;
  package.name = document.text(table, "name");
  package.version = version(document, table, "version");
  package.description = document.text(table, "description");
  package.license = document.text(table, "license");
  package.license_file = document.path(table, "license-file");
  package.readme = document.path(table, "readme");
  package.repository = document.text(table, "repository");
  package.homepage = document.text(table, "homepage");
  package.entrypoint = document.text(table, "entrypoint");
  package.is_private = document.boolean(table, "private");
  return package;
}

WasmerToml::Bindings read_bindings(const TomlDocument& document, const toml::table& table) {
  const bool wit = table.contains("wit-bindgen");
  if (wit == table.contains("wai-version")) {
    document.reject(table, R"(expected one of "wit-bindgen" or "wai-version" to be provided, but not both)");
  }
  WasmerToml::Bindings bindings;
  bindings.wit = wit;
  bindings.version = *version(document, table, wit ? "wit-bindgen" : "wai-version");
  if (wit) {
    bindings.exports = document.required_path(table, "wit-exports");
  } else {
    bindings.exports = document.path(table, "exports");
    bindings.imports = document.paths(table, "imports");
  }
  return bindings;
}

WasmerToml::Module read_module(const TomlDocument& document, const toml::table& table) {
  constexpr std::array<std::string_view, 4> kAbis = {"emscripten", "none", "wasi", "wasm4"};
  WasmerToml::Module module;
  module.name = document.required_text(table, "name");
  module.source = document.required_path(table, "source");
  if (const std::optional<std::string> abi = document.text(table, "abi")) {
    if (std::find(kAbis.begin(), kAbis.end(), *abi) == kAbis.end()) {
      document.reject(*table.get("abi"),
                      "unknown variant `" + *abi + "`, expected one of `emscripten`, `none`, `wasi`, `wasm4`");
    }
    module.abi = *abi;
  }
  module.kind = document.text(table, "kind");
  if (const toml::table* bindings = document.table(table, "bindings", "a map")) {
    module.bindings = read_bindings(document, *bindings);
  }
  if (const toml::table* annotations = document.table(table, "annotations", "struct UserAnnotations")) {
    module.annotations = toml_to_json(*annotations);
  }
  return module;
}

/// A command that names a runner may have any keys. Without one it has the old form, with four keys.
bool is_old_form(const toml::table& table) {
  constexpr std::array<std::string_view, 4> kKeys = {"name", "module", "main_args", "package"};
  return std::all_of(table.begin(), table.end(), [&](const auto& member) {
    return std::find(kKeys.begin(), kKeys.end(), member.first.str()) != kKeys.end();
  });
}

WasmerToml::Command read_command(const TomlDocument& document, const toml::table& table) {
  WasmerToml::Command command;
  command.name = document.required_text(table, "name");
  command.module = document.required_text(table, "module");
  if (std::count(command.module.begin(), command.module.end(), ':') > 1) {
    document.reject(*table.get("module"), "Invalid format");
  }
  if (is_old_form(table)) {
    command.main_args = document.text(table, "main_args");
    command.package = document.text(table, "package");
    return command;
  }
  command.runner = document.required_text(table, "runner");
  const toml::node* annotations = table.get("annotations");
  if (annotations == nullptr || !annotations->is_table()) {
    return command;  // the reference ignores annotations that are no table
  }
  const toml::table& map = *annotations->as_table();
  const auto kind = map["kind"].value<std::string>();
  if (map["file"].is_string() && (kind == "json" || kind == "yaml")) {
    command.annotations_file = {document.as_path(*map.get("file")), *kind};
  } else {
    command.annotations = toml_to_json(map);
  }
  return command;
}

}  // namespace

WasmerToml parse_wasmer_toml(std::string_view text) {
  const TomlDocument document(text);
  WasmerToml result;
  if (const toml::table* package = document.table(document.root(), "package", "struct Package")) {
    result.package = read_package(document, *package);
  }
  if (const toml::table* dependencies = document.table(document.root(), "dependencies", "a map")) {
    check_count(document, *dependencies, dependencies->size());
    for (const auto& [name, node] : in_file_order(*dependencies)) {
      check(document, *node, [](const std::string& requirement) { return VersionReq::parse(requirement); });
      result.dependencies.emplace_back(name, document.as_text(*node));
    }
  }
  if (const toml::table* fs = document.table(document.root(), "fs", "a map")) {
    check_count(document, *fs, fs->size());
    for (const auto& [guest, node] : in_file_order(*fs)) {
      if (guest.find('\0') != std::string::npos) {
        document.reject(*node, "a path can't contain a NUL");
      }
      result.fs.emplace_back(guest, document.as_path(*node));
    }
  }
  for (const toml::table* module : document.tables(document.root(), "module", "struct Module")) {
    check_count(document, *module, result.modules.size() + 1);
    result.modules.push_back(read_module(document, *module));
  }
  for (const toml::table* command : document.tables(document.root(), "command", "a command")) {
    check_count(document, *command, result.commands.size() + 1);
    result.commands.push_back(read_command(document, *command));
  }
  return result;
}

}  // namespace pkgfs
