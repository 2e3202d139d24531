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

/// A parsed `wasmer.toml` (docs/rules/webc-format.md, 12.1). Plain values; nothing is looked up on disk.
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
    std::optional<std::string> runner;  // none: old form, the runner follows from the module's abi
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
/// with what is wrong; the caller adds the file.
[[nodiscard]] WasmerToml parse_wasmer_toml(std::string_view text);

/// What deriving a manifest needs to see of the package directory. Paths are as written in the file.
struct PackageFiles {
  /// Content of a file. Throws Error if it can't be read.
  std::function<std::string(const std::string& path)> read;
  std::function<bool(const std::string& path)> exists;
  /// The directory, for messages: put in front of relative paths.
  std::string directory{};
};

/// The manifest that packing the directory would write (docs/rules/webc-format.md, 12.2). Errors:
/// docs/rules/resolution.md, 3.3.
[[nodiscard]] webc::Manifest derive_manifest(const WasmerToml& toml, const PackageFiles& files);

/// Names of the WebAssembly features that a module is detected to need, as the reference lists them: `simd`,
/// `bulk-memory`, `reference-types`, `multi-value`, `threads` and `multi-memory` for every module, because its defaults
/// count as needed; `exception-handling` (before `multi-memory`) for a module with a tag section or a custom section
/// that has "exception" in its name. Empty if the bytes are no WebAssembly module.
[[nodiscard]] std::vector<std::string> wasm_features(std::string_view module_bytes);

}  // namespace pkgfs
