// SPDX-License-Identifier: MIT
#include "core/webc/manifest.h"

#include <algorithm>
#include <cctype>
#include <type_traits>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/webc/json_fields.h"

namespace pkgfs::webc {
namespace {

// Levels of vendored manifests inside each other; each takes two levels of CBOR.
constexpr std::size_t kVendoredDepth = limits::kJsonDepth / 2;

/// The members of an ordered map as a vector: adding to the map would look for the key first, in linear time.
using Members = std::vector<Json::object_t::value_type, Json::object_t::allocator_type>;

/// Takes the parts of `json`, which may be large, out of it.
Manifest read_manifest(Json& json, const std::string& where, std::size_t depth);

bool has_scheme(std::string_view url) {
  const std::size_t colon = url.find(':');
  if (colon == std::string_view::npos || colon == 0 || std::isalpha(static_cast<unsigned char>(url[0])) == 0) {
    return false;
  }
  return std::all_of(url.begin(), url.begin() + static_cast<std::ptrdiff_t>(colon), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.';
  });
}

Dependency read_dependency(const std::string& alias, Json& value, std::size_t depth) {
  Dependency dependency{.alias = alias, .text = {}, .vendored = {}};
  if (value.is_string()) {
    dependency.text = std::move(value.get_ref<std::string&>());
    return dependency;
  }
  const std::string where = below("use", alias);
  if (value.is_object() && depth < kVendoredDepth) {
    try {
      // What is kept is what the reference keeps: the fields it knows, in its order.
      dependency.vendored = read_manifest(value, "", depth + 1).to_json();
      return dependency;
    } catch (Error& error) {
      throw std::move(error).context(where + ": data did not match any variant of untagged enum UrlOrManifest");
    }
  }
  throw Error(ErrorCode::kCorrupt, where + ": data did not match any variant of untagged enum UrlOrManifest");
}

AtomEntry read_atom(const std::string& name, Json& value, const std::string& where) {
  expect_map(value, where);
  AtomEntry atom;
  atom.name = name;
  atom.kind = expect_text(required(value, "kind", where), below(where, "kind"));
  if (!has_scheme(atom.kind)) {
    throw Error(ErrorCode::kCorrupt, below(where, "kind") + ": relative URL without a base");
  }
  atom.signature = expect_text(required(value, "signature", where), below(where, "signature"));
  if (Json* annotations = member(value, "annotations")) {
    expect_map(*annotations, below(where, "annotations"));
    atom.annotations = std::move(*annotations);
  }
  return atom;
}

Command read_command(const std::string& name, Json& value, const std::string& where) {
  expect_map(value, where);
  Command command;
  command.name = name;
  command.runner = expect_text(required(value, "runner", where), below(where, "runner"));
  expect_map(required(value, "annotations", where), below(where, "annotations"));
  command.annotations = std::move(*member(value, "annotations"));
  return command;
}

Json read_binding(Json& value, const std::string& where) {
  expect_map(value, where);
  Json binding = Json::object();
  for (const char* key : {"name", "kind"}) {
    binding[key] = expect_text(required(value, key, where), below(where, key));
  }
  static_cast<void>(required(value, "annotations", where));
  binding["annotations"] = std::move(*member(value, "annotations"));
  return binding;
}

Json::object_t& members_of(Json& value, const std::string& where) {
  expect_map(value, where);
  return value.get_ref<Json::object_t&>();
}

Manifest read_manifest(Json& json, const std::string& where, std::size_t depth) {
  Manifest manifest;
  for (auto& [key, value] : members_of(json, where)) {
    const std::string here = below(where, key);
    if (key == "use") {
      Json::object_t& all = members_of(value, here);
      manifest.use.reserve(all.size());
      for (auto& [alias, dependency] : all) {
        manifest.use.push_back(read_dependency(alias, dependency, depth));
      }
    } else if (key == "package") {
      expect_map(value, here);
      manifest.package = std::move(value);
    } else if (key == "atoms") {
      Json::object_t& all = members_of(value, here);
      manifest.atoms.reserve(all.size());
      for (auto& [name, atom] : all) {
        manifest.atoms.push_back(read_atom(name, atom, below(here, name)));
      }
    } else if (key == "commands") {
      Json::object_t& all = members_of(value, here);
      manifest.commands.reserve(all.size());
      for (auto& [name, command] : all) {
        manifest.commands.push_back(read_command(name, command, below(here, name)));
      }
    } else if (key == "bindings") {
      expect_list(value, here);
      for (Json& binding : value) {
        manifest.bindings.push_back(read_binding(binding, below(here, std::to_string(manifest.bindings.size()))));
      }
    } else if (key == "entrypoint") {
      manifest.entrypoint = optional_text(json, key, where);
    }
  }
  return manifest;
}

std::optional<VolumePath> volume_path(const Json& map, std::string_view key) {
  const Json* value = member(map, key);
  if (value == nullptr || value->is_null()) {
    return std::nullopt;
  }
  expect_map(*value, key);
  return VolumePath{.volume = expect_text(required(*value, "volume", key), below(key, "volume")),
                    .path = expect_text(required(*value, "path", key), below(key, "path"))};
}

Wapm read_wapm(const Json& json) {
  expect_map(json, "");
  Wapm wapm;
  wapm.name = optional_text(json, "name", "");
  wapm.version = optional_text(json, "version", "");
  wapm.description = optional_text(json, "description", "");
  wapm.license = optional_text(json, "license", "");
  wapm.license_file = volume_path(json, "license-file");
  wapm.readme = volume_path(json, "readme");
  wapm.repository = optional_text(json, "repository", "");
  wapm.homepage = optional_text(json, "homepage", "");
  if (const Json* is_private = member(json, "private")) {
    if (!is_private->is_boolean()) {
      wrong_type(*is_private, "a boolean", "private");
    }
    wapm.is_private = is_private->get<bool>();
  }
  return wapm;
}

/// Frees the entries that are read, if they may change.
template <typename Value>
void read_fs(Value& json, FunctionRef<void(std::size_t)> begin, FunctionRef<void(FsEntry&&)> add) {
  (void)expect_list(json, "");
  begin(json.size());
  std::size_t read = 0;
  for (Value& value : json) {
    const std::string where = std::to_string(read++);
    expect_map(value, where);
    FsEntry entry;
    entry.from = optional_text(value, "from", where);
    entry.volume_name = expect_text(required(value, "volume_name", where), below(where, "volume_name"));
    if (member(value, "host_path") != nullptr && member(value, "original_path") != nullptr) {
      throw Error(ErrorCode::kCorrupt, where + ": duplicate field `host_path`");
    }
    entry.host_path = optional_text(value, "host_path", where);
    if (!entry.host_path) {
      entry.host_path = optional_text(value, "original_path", where);
    }
    entry.mount_path = expect_text(required(value, "mount_path", where), below(where, "mount_path"));
    add(std::move(entry));
    if constexpr (!std::is_const_v<Value>) {
      value = nullptr;
    }
  }
}

template <typename Read>
auto annotation(const Json& package, const char* name, Read read) -> std::optional<decltype(read(package))> {
  const Json* value = member(package, name);
  if (value == nullptr) {
    return std::nullopt;
  }
  try {
    return read(*value);
  } catch (const Error& error) {
    throw Error(ErrorCode::kCorrupt,
                std::string("Failed to deserialize package annotation '") + name + "': " + error.message());
  }
}

// Text, null or nothing; false for anything else.
bool text_or_null(const Json& map, const char* key) {
  const Json* value = member(map, key);
  return value == nullptr || value->is_null() || value->is_string();
}

bool texts_or_null(const Json& map, const char* key) {
  const Json* value = member(map, key);
  return value == nullptr || value->is_null() ||
         (value->is_array() && std::all_of(value->begin(), value->end(), [](const Json& v) { return v.is_string(); }));
}

// The `atom` text of the annotation `wasi` or `emscripten`. One that can't be decoded as a whole counts as missing.
std::optional<std::string> runner_atom(const Command& command, const char* name) {
  const Json* value = member(command.annotations, name);
  if (value == nullptr || !value->is_object()) {
    return std::nullopt;
  }
  for (const char* key : {"atom", "package", "mount-atom-in-volume", "cwd", "exec-name"}) {
    if (!text_or_null(*value, key)) {
      return std::nullopt;
    }
  }
  if (!texts_or_null(*value, "env") || !texts_or_null(*value, "main-args")) {
    return std::nullopt;
  }
  return optional_text(*value, "atom", "");
}

}  // namespace

std::optional<Wapm> Manifest::wapm() const { return annotation(package, "wapm", read_wapm); }

bool Manifest::each_fs(FunctionRef<void(std::size_t)> begin, FunctionRef<void(FsEntry&&)> add) const {
  const auto read = [&](const Json& json) {
    read_fs(json, begin, add);
    return true;
  };
  return annotation(package, "fs", read).has_value();
}

bool Manifest::take_fs(FunctionRef<void(std::size_t)> begin, FunctionRef<void(FsEntry&&)> add) {
  Json* const fs = member(package, "fs");
  const auto read = [&](const Json& /*json*/) {
    read_fs(*fs, begin, add);
    return true;
  };
  return annotation(package, "fs", read).has_value();
}

std::optional<std::vector<FsEntry>> Manifest::fs() const {
  std::vector<FsEntry> entries;
  const bool is_there = each_fs([&](std::size_t count) { entries.reserve(count); },
                                [&](FsEntry&& entry) { entries.push_back(std::move(entry)); });
  return is_there ? std::optional(std::move(entries)) : std::nullopt;
}

const Command* Manifest::find_command(std::string_view name) const {
  const auto found = std::find_if(commands.begin(), commands.end(), [&](const Command& c) { return c.name == name; });
  return found == commands.end() ? nullptr : &*found;
}

const AtomEntry* Manifest::find_atom(std::string_view name) const {
  const auto found = std::find_if(atoms.begin(), atoms.end(), [&](const AtomEntry& a) { return a.name == name; });
  return found == atoms.end() ? nullptr : &*found;
}

Json Manifest::to_json() const& { return Manifest(*this).to_json(); }

Json Manifest::to_json() && {
  const auto add_map = [](Json& parent, const char* key, auto& values, auto entry) {
    if (values.empty()) {
      return;
    }
    Json::object_t map;
    Members& members = map;
    members.reserve(values.size());  // to grow, the vector would copy them
    for (auto& value : values) {
      members.emplace_back(entry(value));
    }
    parent[key] = std::move(map);
  };
  using Member = std::pair<std::string, Json>;
  Json json = Json::object();
  constexpr std::size_t kMostMembers = 6;
  json.get_ref<Json::object_t&>().reserve(kMostMembers);  // as above
  add_map(json, "use", use, [](Dependency& dependency) {
    return Member(std::move(dependency.alias),
                  dependency.vendored ? std::move(*dependency.vendored) : Json(dependency.text.value_or("")));
  });
  if (!package.empty()) {
    json["package"] = std::move(package);
  }
  add_map(json, "atoms", atoms, [](AtomEntry& atom) {
    Json entry = {{"kind", atom.kind}, {"signature", atom.signature}};
    if (!atom.annotations.empty()) {
      entry["annotations"] = std::move(atom.annotations);
    }
    return Member(std::move(atom.name), std::move(entry));
  });
  add_map(json, "commands", commands, [](Command& command) {
    return Member(std::move(command.name),
                  Json{{"runner", command.runner}, {"annotations", std::move(command.annotations)}});
  });
  if (!bindings.empty()) {
    json["bindings"] = std::move(bindings);
  }
  if (entrypoint) {
    json["entrypoint"] = *entrypoint;
  }
  return json;
}

std::optional<AtomRef> command_atom(const Command& command) {
  if (const Json* atom = member(command.annotations, "atom")) {
    try {
      expect_map(*atom, "");
      return AtomRef{.name = expect_text(required(*atom, "name", ""), "name"),
                     .dependency = optional_text(*atom, "dependency", "")};
    } catch (const Error& error) {
      throw Error(ErrorCode::kCorrupt,
                  std::vector<std::string>{"Unable to deserialize atom annotations",
                                           "Failed to deserialize annotation 'atom': " + error.message()});
    }
  }
  std::optional<std::string> text = runner_atom(command, "wasi");
  if (!text) {
    text = runner_atom(command, "emscripten");
  }
  if (!text) {
    return std::nullopt;
  }
  const std::size_t colon = text->find(':');
  if (colon == std::string::npos) {
    return AtomRef{.name = *text, .dependency = std::nullopt};
  }
  if (text->find(':', colon + 1) != std::string::npos) {
    throw Error(ErrorCode::kCorrupt,
                std::vector<std::string>{"Unable to deserialize atom annotations", "Invalid format"});
  }
  return AtomRef{.name = text->substr(colon + 1), .dependency = text->substr(0, colon)};
}

Manifest parse_manifest(std::span<const std::byte> cbor) { return manifest_from_json(parse_cbor(cbor)); }

Manifest manifest_from_json(Json json) { return read_manifest(json, "", 0); }

std::optional<Wapm> wapm_of(const Json& manifest) {
  const Json* package = member(manifest, "package");
  return package == nullptr ? std::nullopt : annotation(*package, "wapm", read_wapm);
}

std::vector<std::byte> encode_manifest(const Json& json) {
  const std::vector<std::uint8_t> cbor = Json::to_cbor(json);
  const auto* bytes = reinterpret_cast<const std::byte*>(cbor.data());
  return {bytes, bytes + cbor.size()};
}

}  // namespace pkgfs::webc
