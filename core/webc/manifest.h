// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/function_ref.h"
#include "core/webc/json_builder.h"

namespace pkgfs::webc {

/// A file inside a volume, as `license-file` and `readme` name it.
struct VolumePath {
  std::string volume;
  std::string path;
};

/// The `wapm` package annotation (docs/rules/webc-format.md, 8.4). Packers since 2024 leave out name, version and
/// description.
struct Wapm {
  std::optional<std::string> name;
  std::optional<std::string> version;
  std::optional<std::string> description;
  std::optional<std::string> license;
  std::optional<VolumePath> license_file;
  std::optional<VolumePath> readme;
  std::optional<std::string> repository;
  std::optional<std::string> homepage;
  bool is_private = false;
};

/// One entry of the `fs` package annotation (docs/rules/webc-format.md, 8.5), in the order of the list.
struct FsEntry {
  std::optional<std::string> from;  // alias of a dependency; none: this package
  std::string volume_name;
  std::optional<std::string> host_path;  // also spelled `original_path`: the directory inside the volume
  std::string mount_path;
};

/// A value of `use` (docs/rules/webc-format.md, 8.2): either a text (a URL or a specifier) or a vendored manifest.
struct Dependency {
  std::string alias;
  std::optional<std::string> text;
  std::optional<Json> vendored;
  /// The specifier as it is in a `wasmer.toml`, if `text` has lost its build metadata. Not a part of the manifest.
  std::optional<std::string> as_written = {};
};

/// A value of `atoms` (docs/rules/webc-format.md, 8.3). It is not checked against the atom's bytes.
struct AtomEntry {
  std::string name;
  std::string kind;
  std::string signature;  // "sha256:" + base64 of the digest
  Json annotations = Json::object();
};

/// A value of `commands` (docs/rules/webc-format.md, 8.6).
struct Command {
  std::string name;
  std::string runner;
  Json annotations = Json::object();
};

/// The atom that a command runs, as its annotations give it (docs/rules/loading.md, 4.2, steps 1 and 2).
struct AtomRef {
  std::string name;
  std::optional<std::string> dependency;  // an alias in `use`
};

/// A package manifest; plain data. The package annotations `wapm` and `fs` are decoded on request, as in the reference.
/// So a package with a bad annotation can still be listed.
struct Manifest {
  std::vector<Dependency> use;
  Json package = Json::object();  // the package annotations, of any form
  std::vector<AtomEntry> atoms;
  std::vector<Command> commands;
  Json bindings = Json::array();
  std::optional<std::string> entrypoint;

  /// Throws Error `Failed to deserialize package annotation 'wapm': …`; nothing when the annotation is missing.
  [[nodiscard]] std::optional<Wapm> wapm() const;
  /// As `wapm()`, for `fs`. An empty list is not the same as a missing annotation.
  [[nodiscard]] std::optional<std::vector<FsEntry>> fs() const;
  /// Reads the same entries without a list of them, for a caller that makes a list of another type. Calls `begin` with
  /// the number of entries, and then `add` for each. False if there is no annotation. Throws as `fs`, possibly after
  /// some calls of `add`.
  bool each_fs(FunctionRef<void(std::size_t count)> begin, FunctionRef<void(FsEntry&& entry)> add) const;
  /// The same, and frees the memory of each entry of the annotation, which is several times that of its text.
  /// Afterwards, the annotation can't be read any more.
  bool take_fs(FunctionRef<void(std::size_t count)> begin, FunctionRef<void(FsEntry&& entry)> add);

  [[nodiscard]] const Command* find_command(std::string_view name) const;
  [[nodiscard]] const AtomEntry* find_atom(std::string_view name) const;

  /// The manifest as the reference writes it: keys in the order of its declarations, without empty ones. The second
  /// form takes the values out of this object.
  [[nodiscard]] Json to_json() const&;
  [[nodiscard]] Json to_json() &&;
};

/// The atom that the annotations of `command` name; nothing if they name none. Throws Error
/// `Unable to deserialize atom annotations` (causes: docs/rules/loading.md, 4.2).
[[nodiscard]] std::optional<AtomRef> command_atom(const Command& command);

/// Decodes the CBOR of a manifest section. Bytes after the first item are ignored. Limits: base/limits.h.
/// Throws Error(kCorrupt) with the problem and its offset in `cbor`; the caller adds file and section.
[[nodiscard]] Manifest parse_manifest(std::span<const std::byte> cbor);

/// As `parse_manifest`, from a JSON value: a registry's answer or a derived manifest.
[[nodiscard]] Manifest manifest_from_json(Json json);
/// `Manifest::wapm()` of a vendored manifest.
[[nodiscard]] std::optional<Wapm> wapm_of(const Json& manifest);

/// The CBOR of `json`, with definite lengths and its order of keys.
[[nodiscard]] std::vector<std::byte> encode_manifest(const Json& json);

/// Decodes one CBOR item (RFC 8949), for the manifest and the index. Tags are skipped, indefinite lengths are accepted,
/// `undefined` becomes null, map keys must be text and unique. Throws Error(kCorrupt) with the offset in `cbor` for
/// damage and for input beyond the limits of base/limits.h. Uses constant stack, whatever the input.
[[nodiscard]] Json parse_cbor(std::span<const std::byte> cbor);

}  // namespace pkgfs::webc
