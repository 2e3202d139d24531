// SPDX-License-Identifier: MIT
#include "core/tree/commands.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/log.h"
#include "core/base/printable.h"
#include "core/base/repeated_warning.h"

namespace pkgfs {

namespace {

[[noreturn]] void fail_load(std::string message) { throw Error(ErrorCode::kLoad, std::move(message)); }

/// Which atom the command wants (docs/rules/loading.md, 4.2); nothing if its runner is unknown.
std::optional<webc::AtomRef> wanted_atom(const std::string& name, const webc::Command& command) {
  if (auto annotated = webc::command_atom(command)) {
    return annotated;
  }
  if (command.runner.starts_with("https://webc.org/runner/wasi") ||
      command.runner.starts_with("https://webc.org/runner/wcgi")) {
    return webc::AtomRef{.name = name, .dependency = std::nullopt};
  }
  return std::nullopt;
}

/// The names of the first atoms: a package may have many, and as many commands that name them in a message.
std::string joined_names(const std::vector<webc::Atom>& atoms) {
  constexpr std::size_t kShown = 10;
  constexpr std::size_t kCharacters = 60;  // of a name
  std::string names;
  for (std::size_t i = 0; i < std::min(atoms.size(), kShown); ++i) {
    names += (names.empty() ? "" : ", ") + shortened(atoms[i].name, kCharacters);
  }
  if (atoms.size() > kShown) {
    names += " and " + std::to_string(atoms.size() - kShown) + " more";
  }
  return names.empty() ? "none" : names;
}

/// The digest that the manifest states for an atom. Throws with the reference's texts and the place.
Sha256 signature_of(const webc::AtomEntry& entry, const PackageId& package) {
  static constexpr std::string_view kPrefix = "sha256:";
  const auto refuse = [&](std::string why) {
    return Error(ErrorCode::kLoad,
                 {std::move(why), "the manifest of \"" + package.to_string() + "\" signs the atom \"" + entry.name +
                                      "\" with \"" + entry.signature + "\""});
  };
  if (!entry.signature.starts_with(kPrefix)) {
    throw refuse("malformed atom signature");
  }
  const auto raw = base64_decode(std::string_view(entry.signature).substr(kPrefix.size()));
  if (!raw) {
    throw refuse("malformed base64 encoded hash");
  }
  Sha256 digest{};
  if (raw->size() != digest.size()) {
    throw refuse("sha256 hash must be 32 bytes");
  }
  std::ranges::transform(*raw, digest.begin(), [](char c) { return static_cast<std::uint8_t>(c); });
  return digest;
}

/// The names in the `wasm` annotation; none if it is missing or malformed.
std::vector<std::string> features_of(const webc::AtomEntry& entry) {
  if (!entry.annotations.is_object() || !entry.annotations.contains("wasm")) {
    return {};
  }
  const auto& wasm = entry.annotations["wasm"];
  if (!wasm.is_object() || !wasm.contains("features") || !wasm["features"].is_array()) {
    return {};
  }
  std::vector<std::string> features;
  for (const auto& feature : wasm["features"]) {
    if (!feature.is_string()) {
      return {};
    }
    features.push_back(feature.get<std::string>());
  }
  return features;
}

/// The names of one package, sorted, so that a look-up of each takes no more than n log n together.
class PackageNames {
 public:
  PackageNames(const Package& package, std::map<std::string_view, std::size_t> aliases)
      : package_(package), aliases_(std::move(aliases)), atoms_(joined_names(package.atoms())) {
    for (const webc::Command& command : package.manifest().commands) {
      commands_.emplace(command.name, &command);
    }
    for (const webc::AtomEntry& entry : package.manifest().atoms) {
      entries_.emplace(entry.name, &entry);
    }
  }

  [[nodiscard]] const Package& package() const { return package_; }
  [[nodiscard]] const std::string& atoms() const { return atoms_; }
  [[nodiscard]] const webc::Command* find_command(std::string_view name) const { return found(commands_, name); }
  [[nodiscard]] const webc::AtomEntry* find_atom(std::string_view name) const { return found(entries_, name); }
  /// The node that an alias of `use` leads to.
  [[nodiscard]] std::optional<std::size_t> follow(std::string_view alias) const {
    const auto target = aliases_.find(alias);
    return target == aliases_.end() ? std::nullopt : std::optional(target->second);
  }

 private:
  template <typename Map>
  static typename Map::mapped_type found(const Map& map, std::string_view name) {
    const auto at = map.find(name);
    return at == map.end() ? nullptr : at->second;
  }

  const Package& package_;
  std::map<std::string_view, std::size_t> aliases_;
  std::string atoms_;                                          // for messages
  std::map<std::string_view, const webc::Command*> commands_;  // of equal names the first
  std::map<std::string_view, const webc::AtomEntry*> entries_;
};

/// Builds the commands of a resolution.
class CommandBuilder {
 public:
  CommandBuilder(const Resolution& resolution, const LoadedPackages& packages)
      : resolution_(resolution), packages_(packages), nodes_(resolution.graph.index()) {}

  /// Nothing: its runner is unknown, of which this has warned.
  std::optional<LoadedCommand> build(const std::string& name, const ResolvedCommand& resolved);
  /// The dependency that has the command's atom, if one has it.
  std::optional<PackageId> atom_owner(const std::string& name, const ResolvedCommand& resolved);
  /// Tells the rest of the warnings.
  void finish() { unsupported_.end(); }

 private:
  /// Null: the package isn't loaded.
  const PackageNames* names_of(const PackageId& id);
  const webc::Command& declared(const std::string& name, const ResolvedCommand& resolved);
  /// The package that a command's atom comes from.
  PackageId atom_package(const std::string& command, const PackageId& declaring,
                         const std::optional<std::string>& dependency);

  const Resolution& resolution_;
  const LoadedPackages& packages_;
  std::map<PackageId, std::size_t> nodes_;
  std::map<PackageId, PackageNames> names_;
  RepeatedWarning unsupported_{"commands have a runner that isn't supported"};
};

const PackageNames* CommandBuilder::names_of(const PackageId& id) {
  if (const auto known = names_.find(id); known != names_.end()) {
    return &known->second;
  }
  const auto package = packages_.find(id);
  if (package == packages_.end()) {
    return nullptr;
  }
  const auto node = nodes_.find(id);
  auto aliases =
      node == nodes_.end() ? std::map<std::string_view, std::size_t>() : resolution_.graph.aliases(node->second);
  return &names_.try_emplace(id, *package->second, std::move(aliases)).first->second;
}

const webc::Command& CommandBuilder::declared(const std::string& name, const ResolvedCommand& resolved) {
  const PackageNames* const names = names_of(resolved.package);
  if (names == nullptr) {
    fail_load("Unable to find the \"" + resolved.package.to_string() + "\" package for the \"" + name + "\" command");
  }
  const webc::Command* const command = names->find_command(resolved.name);
  if (command == nullptr) {
    fail_load("Unable to find the \"" + resolved.name + "\" command metadata in the \"" + resolved.package.to_string() +
              "\" package");
  }
  return *command;
}

PackageId CommandBuilder::atom_package(const std::string& command, const PackageId& declaring,
                                       const std::optional<std::string>& dependency) {
  if (!dependency) {
    return declaring;
  }
  const PackageNames* const names = names_of(declaring);
  const auto target = names == nullptr ? std::nullopt : names->follow(*dependency);
  if (!target) {
    fail_load("Unable to find the \"" + *dependency + "\" dependency for the \"" + command + "\" command in \"" +
              declaring.to_string() + "\"");
  }
  return resolution_.graph.nodes[*target].pkg.id;
}

std::optional<PackageId> CommandBuilder::atom_owner(const std::string& name, const ResolvedCommand& resolved) {
  const auto wanted = wanted_atom(name, declared(name, resolved));
  return wanted && wanted->dependency ? std::optional(atom_package(name, resolved.package, wanted->dependency))
                                      : std::nullopt;
}

std::optional<LoadedCommand> CommandBuilder::build(const std::string& name, const ResolvedCommand& resolved) {
  const webc::Command& command = declared(name, resolved);
  const auto wanted = wanted_atom(name, command);
  if (!wanted) {
    unsupported_.add("Skipping unsupported command \"{}\" of \"{}\": its runner is \"{}\"", shortened(name),
                     resolved.package.to_string(), shortened(command.runner));
    return std::nullopt;
  }
  const PackageId origin = atom_package(name, resolved.package, wanted->dependency);
  const PackageNames* const provider = names_of(origin);
  if (provider == nullptr) {
    fail_load("Unable to find the \"" + origin.to_string() + "\" package");
  }
  const Package& package = provider->package();
  const webc::Atom* atom = package.find_atom(wanted->name);
  if (atom == nullptr && command.annotations.empty()) {
    if (package.atoms().empty()) {
      fail_load("container does not have any atom");
    }
    log::info("applying legacy atom hack to the command \"{}\" of \"{}\"", name, resolved.package.to_string());
    atom = &package.atoms().front();
  }
  if (atom == nullptr) {
    fail_load("The '" + name + "' command uses the '" + wanted->name + "' atom, but it isn't present in the package: " +
              origin.to_string() + " (available: " + provider->atoms() + ")");
  }
  const webc::AtomEntry* const entry = provider->find_atom(atom->name);
  if (entry == nullptr) {
    fail_load("failed to get atom: " + atom->name);
  }
  return LoadedCommand{.name = name,
                       .metadata = command,
                       .atom = atom->body,
                       .mode = atom->mode,
                       .module_hash = signature_of(*entry, origin),
                       .features = features_of(*entry),
                       .package = resolved.package,
                       .origin_package = origin};
}

}  // namespace

std::set<PackageId> atom_owners(const Resolution& resolution, const LoadedPackages& packages) {
  std::set<PackageId> owners;
  CommandBuilder builder(resolution, packages);
  for (const auto& [name, resolved] : resolution.package.commands) {
    try {
      if (auto owner = builder.atom_owner(name, resolved)) {
        owners.insert(std::move(*owner));
      }
    } catch (const Error& error) {
      log::debug("{}", error);  // build_commands reports it
    }
  }
  return owners;
}

CommandSet build_commands(const Resolution& resolution, const LoadedPackages& packages) {
  CommandSet set;
  CommandBuilder builder(resolution, packages);
  for (const auto& [name, resolved] : resolution.package.commands) {
    try {
      if (auto command = builder.build(name, resolved)) {
        set.commands.push_back(std::move(*command));
      }
    } catch (const Error& error) {
      set.errors.push_back(error);
    }
  }
  builder.finish();
  return set;
}

}  // namespace pkgfs
