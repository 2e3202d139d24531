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

namespace pkgfs::webc {

/// Keeps the order of keys: the order of `use`, `commands` and `fs` has a meaning.
using Json = nlohmann::ordered_json;

/// A file inside a volume, as `license-file` and `readme` name it.
struct VolumePath {
  std::string volume;
  std::string path;
};

/// The `wapm` package annotation (docs/rules/webc-format.md, 8.4). Packers since 2024 leave name, version and
/// description out.
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

/// A value of `use` (docs/rules/webc-format.md, 8.2): either a text (URL or specifier, not told apart here) or a
/// vendored manifest.
struct Dependency {
  std::string alias;
  std::optional<std::string> text;
  std::optional<Json> vendored;
};

/// A value of `atoms` (docs/rules/webc-format.md, 8.3). Nothing in it is checked against the atom's bytes.
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

/// What the annotations of a command say about the atom it runs (docs/rules/loading.md, 4.2 step 1 and 4.2 step 2).
struct AtomRef {
  std::string name;
  std::optional<std::string> dependency;  // an alias in `use`
};

/// A package manifest. Plain data; the two package annotations are decoded on request, as the reference does, because a
/// package with a bad one can still be listed.
struct Manifest {
  std::vector<Dependency> use;
  Json package = Json::object();  // the package annotations, free-form
  std::vector<AtomEntry> atoms;
  std::vector<Command> commands;
  Json bindings = Json::array();
  std::optional<std::string> entrypoint;

  /// Throws Error `Failed to deserialize package annotation 'wapm': …`; nothing when the annotation is missing.
  [[nodiscard]] std::optional<Wapm> wapm() const;
  /// The same for `fs`. An empty list differs from none.
  [[nodiscard]] std::optional<std::vector<FsEntry>> fs() const;

  [[nodiscard]] const Command* find_command(std::string_view name) const;
  [[nodiscard]] const AtomEntry* find_atom(std::string_view name) const;

  /// As the reference writes it: keys in declaration order, empty ones left out.
  [[nodiscard]] Json to_json() const;
};

/// Which atom the annotations of `command` ask for; nothing when they don't say. Throws Error
/// `Unable to deserialize atom annotations` (causes: docs/rules/loading.md, 4.2).
[[nodiscard]] std::optional<AtomRef> command_atom(const Command& command);

/// Decodes the CBOR of a manifest section. Bytes after the first item are ignored. Limits: base/limits.h.
/// Throws Error(kCorrupt) saying what is wrong at which byte of `cbor`; the caller adds file and section.
[[nodiscard]] Manifest parse_manifest(std::span<const std::byte> cbor);

/// The same from a JSON value (a registry's answer, a derived manifest).
[[nodiscard]] Manifest manifest_from_json(const Json& json);

/// CBOR with definite lengths, keys in the order of `json`.
[[nodiscard]] std::vector<std::byte> encode_manifest(const Json& json);

/// Decodes one CBOR item (RFC 8949) with the limits of base/limits.h: tags are skipped, indefinite lengths are
/// accepted, `undefined` is null, map keys must be text and unique. For the manifest and the index.
/// Throws Error(kCorrupt) with the offset in `cbor`.
[[nodiscard]] Json parse_cbor(std::span<const std::byte> cbor);

}  // namespace pkgfs::webc
