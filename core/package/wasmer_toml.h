// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/hash.h"
#include "core/webc/manifest.h"

namespace pkgfs {

/// A parsed `wasmer.toml` (docs/rules/webc-format.md, 12.1). Plain values; parsing reads no other file.
struct WasmerToml {
  struct Package {
    std::optional<std::string> name;
    std::optional<std::string> version;
    std::optional<std::string> description;
    std::optional<std::string> license;
    std::optional<std::string> license_file;
    std::optional<std::string> readme;
    std::optional<std::string> repository;
    std::optional<std::string> homepage;
    std::optional<std::string> entrypoint;
    bool is_private = false;
  };
  struct Bindings {
    bool wit = false;  // else wai
    std::string version;
    std::optional<std::string> exports;
    std::vector<std::string> imports;
  };
  struct Module {
    std::string name;
    std::string source;
    std::string abi = "none";
    std::optional<std::string> kind;
    std::optional<Bindings> bindings;
    webc::Json annotations = webc::Json::object();
  };
  struct Command {
    std::string name;
    std::string module;
    std::optional<std::string> runner;  // none: the old form, where the module's abi determines the runner
    std::optional<std::string> main_args;
    std::optional<std::string> package;
    webc::Json annotations = webc::Json::object();
    std::optional<std::pair<std::string, std::string>> annotations_file;  // path, kind
  };

  std::optional<Package> package;
  std::vector<std::pair<std::string, std::string>> dependencies;  // name, requirement; in file order
  std::vector<std::pair<std::string, std::string>> fs;            // guest, host; in file order
  std::vector<Module> modules;
  std::vector<Command> commands;
};

/// Parses the text of a `wasmer.toml` (or `wapm.toml`). Throws Error(kCorrupt) `TOML parse error at line L, column C`
/// with the reason; the caller adds the file name.
[[nodiscard]] WasmerToml parse_wasmer_toml(std::string_view text);

/// The access to the package directory that `derive_manifest` needs. Paths are as written in the file.
struct PackageFiles {
  /// Content of a file. Throws Error if it can't be read.
  std::function<std::string(const std::string& path)> read;
  std::function<bool(const std::string& path)> exists;
  /// The directory, which messages put in front of relative paths.
  std::string directory{};
};

/// The manifest that packing the directory would write (docs/rules/webc-format.md, 12.2). Errors:
/// docs/rules/resolution.md, 3.3.
[[nodiscard]] webc::Manifest derive_manifest(const WasmerToml& toml, const PackageFiles& files);

/// The names of the WebAssembly features that a module needs, as the reference lists them. The reference also counts
/// its defaults. So every module has `simd`, `bulk-memory`, `reference-types`, `multi-value`, `threads` and
/// `multi-memory`. A module has `exception-handling` (before `multi-memory`) if it has a tag section, or a custom
/// section with "exception" in its name. Empty if the bytes are no WebAssembly module.
[[nodiscard]] std::vector<std::string> wasm_features(std::string_view module_bytes);

}  // namespace pkgfs
