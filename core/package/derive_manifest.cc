// SPDX-License-Identifier: MIT
#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/package/package_info.h"
#include "core/package/wasmer_toml.h"
#include "core/webc/parse_json.h"

namespace pkgfs {
namespace {

using webc::Json;

constexpr const char* kMetadataVolume = "metadata";
constexpr std::string_view kKinds = "https://webc.org/kind/";
constexpr std::string_view kRunners = "https://webc.org/runner/";
constexpr std::size_t kAnnotationsBytes = 128U << 10U;  // of a file with annotations, which is written by hand

std::string in_quotes(std::string_view text) { return '"' + std::string(text) + '"'; }
std::string joined(const std::string& first, char between, const std::string& second) {
  return first + between + second;
}

[[noreturn]] void reject_manifest(std::string message) { throw Error(ErrorCode::kCorrupt, std::move(message)); }

/// A path of the file as messages show it.
std::string shown(const PackageFiles& files, const std::string& path) {
  return files.directory.empty() || path.starts_with('/') ? path : files.directory + "/" + path;
}

bool is_url(std::string_view text) {
  const auto is_alpha = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const std::size_t colon = text.find(':');
  return colon != std::string_view::npos && colon > 0 && is_alpha(text.front()) &&
         std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(colon),
                     [&](char c) { return is_alpha(c) || (c >= '0' && c <= '9') || c == '+' || c == '.' || c == '-'; });
}

bool is_dependency_name(std::string_view name) {
  const std::size_t slash = name.find('/');
  return slash != std::string_view::npos &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == slash &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", slash + 1) ==
             std::string_view::npos;
}

std::vector<webc::Dependency> derive_use(const WasmerToml& toml) {
  std::vector<webc::Dependency> use;
  for (const auto& [name, requirement] : toml.dependencies) {
    if (!is_dependency_name(name)) {
      reject_manifest("The dependency, " + in_quotes(name) + R"(, isn't in the "namespace/name" format)");
    }
    std::string build;
    const std::string normal = VersionReq::parse(requirement, &build).to_string();
    use.push_back({name, joined(name, '@', normal), std::nullopt,
                   build.empty() ? std::nullopt : std::optional(joined(name, '@', requirement))});
  }
  return use;
}

/// A license or readme is left out if it doesn't exist or can't be in the package.
void add_metadata_file(Json& wapm, const char* key, const std::optional<std::string>& path, const PackageFiles& files) {
  if (path && !path->starts_with('/') && files.exists(*path)) {
    wapm[key] = {{"volume", kMetadataVolume}, {"path", sanitize_path(*path)}};
  }
}

Json derive_package(const WasmerToml& toml, const PackageFiles& files) {
  Json annotations = Json::object();
  if (toml.package) {
    const WasmerToml::Package& package = *toml.package;
    Json wapm = Json::object();
    const auto add = [&wapm](const char* key, const std::optional<std::string>& value) {
      if (value) {
        wapm[key] = *value;
      }
    };
    add("license", package.license);
    add_metadata_file(wapm, "license-file", package.license_file, files);
    add_metadata_file(wapm, "readme", package.readme, files);
    add("repository", package.repository);
    add("homepage", package.homepage);
    if (package.is_private) {
      wapm["private"] = true;
    }
    annotations["wapm"] = std::move(wapm);
  }
  for (const auto& [guest, host] : toml.fs) {
    annotations["fs"].push_back(
        {{"from", nullptr}, {"volume_name", sanitize_path(host)}, {"mount_path", sanitize_path(guest)}});
  }
  return annotations;
}

std::string atom_kind(const std::optional<std::string>& kind) {
  if (!kind || *kind == "wasm" || *kind == "tensorflow-SavedModel") {
    return std::string(kKinds) + kind.value_or("wasm");
  }
  if (!is_url(*kind)) {
    reject_manifest("Unknown atom kind, " + in_quotes(*kind));
  }
  return *kind;
}

webc::AtomEntry derive_atom(const WasmerToml::Module& module, std::string_view content) {
  webc::AtomEntry atom{module.name, atom_kind(module.kind), "sha256:" + base64_encode(sha256(content)), Json::object()};
  constexpr const char* kOptimizations = "suggested_compiler_optimizations";
  if (const auto found = module.annotations.find(kOptimizations);
      found != module.annotations.end() && found->is_object() && found->contains("pass_params")) {
    atom.annotations[kOptimizations] = {{"pass_params", found->at("pass_params")}};
  }
  if (const std::vector<std::string> features = wasm_features(content); !features.empty()) {
    atom.annotations["wasm"] = {{"features", features}};
  }
  return atom;
}

std::vector<webc::AtomEntry> derive_atoms(const WasmerToml& toml, const PackageFiles& files) {
  std::map<std::string, webc::AtomEntry> sorted;
  for (const WasmerToml::Module& module : toml.modules) {
    std::string content;
    try {
      content = files.read(module.source);
    } catch (Error& error) {
      throw error.context("Unable to read the " + in_quotes(module.name) + " module's file from " +
                          in_quotes(shown(files, module.source)));
    }
    sorted.insert_or_assign(module.name, derive_atom(module, content));
  }
  std::vector<webc::AtomEntry> atoms;
  atoms.reserve(sorted.size());
  for (auto& [name, atom] : sorted) {
    atoms.push_back(std::move(atom));
  }
  return atoms;
}

std::string runner_url(std::string_view name) {
  if (name == "wasi@unstable_" || name == "generic" || name == "none") {
    name = "wasi";
  }
  return is_url(name) ? std::string(name) : std::string(kRunners) + std::string(name);
}

/// The runner of an old-form command follows from its module.
std::string inferred_runner(const WasmerToml& toml, const WasmerToml::Command& command) {
  if (command.module.find(':') != std::string::npos) {
    return runner_url("wasi");
  }
  const auto module = std::find_if(toml.modules.begin(), toml.modules.end(),
                                   [&](const WasmerToml::Module& m) { return m.name == command.module; });
  if (module == toml.modules.end()) {
    reject_manifest("The " + in_quotes(command.name) + " command uses a non-existent module, " +
                    in_quotes(command.module));
  }
  return runner_url(module->abi);
}

/// Two values of one key that contradict each other.
struct Conflict {
  std::string path;  // of the key: `wasi.atom`
  Json derived;
  Json written;
};

/// Merges `addition` into `original`, the value at `path`: maps and lists grow, null is replaced. Returns the first
/// conflict.
std::optional<Conflict> merge(Json& original, const Json& addition, const std::string& path) {
  if (original.is_object() && addition.is_object()) {
    // Only a key from before can collide. Searching the added ones, too, would make large maps slow.
    using Members = std::vector<Json::object_t::value_type, Json::object_t::allocator_type>;
    Members& members = original.get_ref<Json::object_t&>();
    const std::size_t known = members.size();
    for (const auto& [key, value] : addition.get_ref<const Json::object_t&>()) {
      std::size_t i = 0;
      while (i < known && members[i].first != key) {
        ++i;
      }
      if (i == known) {
        members.emplace_back(key, value);
      } else if (auto conflict = merge(members[i].second, value, path.empty() ? key : joined(path, '.', key))) {
        return conflict;
      }
    }
    return std::nullopt;
  }
  if (original.is_array() && addition.is_array()) {
    original.insert(original.end(), addition.begin(), addition.end());
    return std::nullopt;
  }
  if (original.is_null()) {
    original = addition;
    return std::nullopt;
  }
  if (addition.is_null() || (original.type() == addition.type() && original == addition)) {
    return std::nullopt;
  }
  return Conflict{path, original, addition};
}

/// `value` for a message, which a file of a package may have made very long.
std::string value_text(const Json& value) {
  constexpr std::size_t kShown = 100;
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() <= kShown ? text : text.substr(0, kShown) + "…";
}

/// A command with annotations gets only those that follow from its key `module`, so that this one is at odds with them.
[[noreturn]] void refuse_conflict(const std::string& key, const WasmerToml::Command& command,
                                  const Conflict& conflict) {
  throw Error(
      ErrorCode::kCorrupt,
      {"Unable to merge in user-defined " + in_quotes(key) + " annotations for the " + in_quotes(command.name) +
           " command",
       "the key \"module\" makes " + in_quotes(conflict.path) + " " + value_text(conflict.derived) + ", but the key " +
           in_quotes("annotations." + conflict.path) + " has " + value_text(conflict.written)});
}

/// Reads a command's annotations from a file. A YAML file is read if it is JSON as well. Otherwise the command has no
/// annotations, because a package can be mounted without them.
Json annotations_from_file(const WasmerToml::Command& command, const PackageFiles& files) {
  const std::string& path = command.annotations_file->first;
  const std::string& kind = command.annotations_file->second;
  const auto failed = [&](const std::string& reason) {
    return Error(ErrorCode::kCorrupt, {"Unable to deserialize custom annotations from the wasmer.toml manifest",
                                       "Error reading " + in_quotes(command.name) + ".annotation (" +
                                           in_quotes(shown(files, path)) + "): " + reason});
  };
  std::string text;
  try {
    text = files.read(path);
  } catch (const Error& error) {
    throw failed(error.chain().back());
  }
  if (text.size() > kAnnotationsBytes) {
    throw failed("the file has more than " + std::to_string(kAnnotationsBytes) + " bytes");
  }
  try {
    return webc::parse_json(text, webc::kManifestJson);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt) {
      throw;
    }
    if (kind == "json" || Json::accept(text)) {
      throw failed(error.message());
    }
    log::warn("The annotations of the \"{}\" command in \"{}\" are left out: YAML isn't supported, JSON is",
              command.name, shown(files, path));
    return nullptr;
  }
}

webc::Command derive_command(const WasmerToml& toml, const WasmerToml::Command& command, const PackageFiles& files) {
  webc::Command result{command.name, command.runner ? runner_url(*command.runner) : inferred_runner(toml, command),
                       Json::object()};
  const std::size_t colon = command.module.find(':');
  const bool foreign = colon != std::string::npos;
  Json& atom = result.annotations["atom"];
  atom["name"] = foreign ? command.module.substr(colon + 1) : command.module;
  if (foreign) {
    atom["dependency"] = command.module.substr(0, colon);
  }
  if (result.runner == runner_url("wasi") || result.runner == runner_url("wcgi")) {
    Json& wasi = result.annotations["wasi"];
    wasi["atom"] = command.module;
    if (command.package) {
      wasi["package"] = *command.package;
    }
    if (command.main_args) {
      Json& words = wasi["main-args"] = Json::array();
      std::istringstream in(*command.main_args);
      for (std::string word; in >> word;) {
        words.push_back(word);
      }
    }
  }
  Json custom = command.annotations_file ? annotations_from_file(command, files) : command.annotations;
  if (custom.is_object()) {
    for (auto& [key, value] : result.annotations.items()) {
      if (const auto found = custom.find(key); found != custom.end()) {
        if (const auto conflict = merge(value, *found, key)) {
          refuse_conflict(key, command, *conflict);
        }
      }
      custom.erase(key);
    }
    static_cast<void>(merge(result.annotations, custom, ""));  // no key of both is left
  }
  if (foreign) {
    const std::string dependency = command.module.substr(0, colon);
    if (std::none_of(toml.dependencies.begin(), toml.dependencies.end(),
                     [&](const auto& declared) { return declared.first == dependency; })) {
      reject_manifest("The " + in_quotes(command.name) + " command references the undeclared dependency " +
                      in_quotes(dependency));
    }
  }
  return result;
}

std::vector<webc::Command> derive_commands(const WasmerToml& toml, const PackageFiles& files) {
  std::vector<webc::Command> commands;
  std::set<std::string_view> names;
  for (const WasmerToml::Command& command : toml.commands) {
    commands.push_back(derive_command(toml, command, files));
    if (!names.insert(command.name).second) {
      reject_manifest("Duplicate command, " + in_quotes(command.name));
    }
  }
  return commands;
}

/// The place of a binding's file in the metadata volume.
std::string metadata_uri(const std::string& path, const PackageFiles& files) {
  if (path.starts_with('/')) {
    reject_manifest(in_quotes(path) + " is outside of " + in_quotes(files.directory));
  }
  if (!files.exists(path)) {
    throw Error(ErrorCode::kNotFound,
                "The " + in_quotes(shown(files, path)) + " mentioned in the manifest doesn't exist");
  }
  return std::string(kMetadataVolume) + ":/" + sanitize_path(path);
}

Json derive_bindings(const WasmerToml& toml, const PackageFiles& files) {
  Json result = Json::array();
  for (const WasmerToml::Module& module : toml.modules) {
    if (!module.bindings) {
      continue;
    }
    const WasmerToml::Bindings& bindings = *module.bindings;
    const char* format = bindings.wit ? "wit" : "wai";
    Json details = {{"exports", bindings.exports ? Json(metadata_uri(*bindings.exports, files)) : Json()},
                    {"module", module.name}};
    if (!bindings.wit) {
      details["imports"] = Json::array();
      for (const std::string& path : bindings.imports) {
        details["imports"].push_back(metadata_uri(path, files));
      }
    }
    result.push_back({{"name", "library-bindings"},
                      {"kind", std::string(format) + "@" + bindings.version},
                      {"annotations", {{format, std::move(details)}}}});
  }
  return result;
}

std::optional<std::string> derive_entrypoint(const WasmerToml& toml) {
  if (toml.package && toml.package->entrypoint) {
    return toml.package->entrypoint;
  }
  return toml.commands.size() == 1 ? std::optional(toml.commands.front().name) : std::nullopt;
}

}  // namespace

webc::Manifest derive_manifest(const WasmerToml& toml, const PackageFiles& files) {
  webc::Manifest manifest;
  manifest.use = derive_use(toml);
  manifest.package = derive_package(toml, files);
  manifest.atoms = derive_atoms(toml, files);
  manifest.commands = derive_commands(toml, files);
  manifest.bindings = derive_bindings(toml, files);
  manifest.entrypoint = derive_entrypoint(toml);
  return manifest;
}

}  // namespace pkgfs
