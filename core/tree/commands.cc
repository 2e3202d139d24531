// SPDX-License-Identifier: MIT
#include "core/tree/commands.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/log.h"

namespace pkgfs {

namespace {

[[noreturn]] void fail_load(std::string message) { throw Error(ErrorCode::kLoad, std::move(message)); }

/// The package that a command's atom comes from.
PackageId atom_package(const Resolution& resolution, const std::string& command, const PackageId& declaring,
                       const std::optional<std::string>& dependency) {
  if (!dependency) {
    return declaring;
  }
  const auto from = resolution.graph.find(declaring);
  const auto target = from ? resolution.graph.follow(*from, *dependency) : std::nullopt;
  if (!target) {
    fail_load("Unable to find the \"" + *dependency + "\" dependency for the \"" + command + "\" command in \"" +
              declaring.to_string() + "\"");
  }
  return resolution.graph.nodes[*target].pkg.id;
}

/// Which atom the command wants (docs/rules/loading.md, 4.2); nothing if we don't know its runner.
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

std::string joined_names(const std::vector<webc::Atom>& atoms) {
  std::string names;
  for (const auto& atom : atoms) {
    names += (names.empty() ? "" : ", ") + atom.name;
  }
  return names.empty() ? "none" : names;
}

/// The digest that the manifest states for an atom; the reference's texts, and where it stands.
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

/// The names in the `wasm` annotation; none when it isn't there or isn't understood.
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

struct Declared {
  const webc::Command* command;
  const Package* package;
};

Declared declared(const std::string& name, const ResolvedCommand& resolved, const LoadedPackages& packages) {
  const auto found = packages.find(resolved.package);
  if (found == packages.end()) {
    fail_load("Unable to find the \"" + resolved.package.to_string() + "\" package for the \"" + name + "\" command");
  }
  const auto* command = found->second->manifest().find_command(resolved.name);
  if (command == nullptr) {
    fail_load("Unable to find the \"" + resolved.name + "\" command metadata in the \"" + resolved.package.to_string() +
              "\" package");
  }
  return {.command = command, .package = found->second.get()};
}

std::optional<LoadedCommand> build_command(const std::string& name, const ResolvedCommand& resolved,
                                           const Resolution& resolution, const LoadedPackages& packages) {
  const webc::Command& command = *declared(name, resolved, packages).command;
  const auto wanted = wanted_atom(name, command);
  if (!wanted) {
    log::warn("Skipping unsupported command \"{}\" of \"{}\": its runner is \"{}\"", name, resolved.package.to_string(),
              command.runner);
    return std::nullopt;
  }
  const PackageId origin = atom_package(resolution, name, resolved.package, wanted->dependency);
  const auto provider = packages.find(origin);
  if (provider == packages.end()) {
    fail_load("Unable to find the \"" + origin.to_string() + "\" package");
  }
  const Package& package = *provider->second;
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
              origin.to_string() + " (available: " + joined_names(package.atoms()) + ")");
  }
  const auto* entry = package.manifest().find_atom(atom->name);
  if (entry == nullptr) {
    fail_load("failed to get atom: " + atom->name);
  }
  return LoadedCommand{.name = name,
                       .metadata = command,
                       .atom = atom->body,
                       .module_hash = signature_of(*entry, origin),
                       .features = features_of(*entry),
                       .package = resolved.package,
                       .origin_package = origin};
}

}  // namespace

std::set<PackageId> atom_owners(const Resolution& resolution, const LoadedPackages& packages) {
  std::set<PackageId> owners;
  for (const auto& [name, resolved] : resolution.package.commands) {
    try {
      const auto wanted = wanted_atom(name, *declared(name, resolved, packages).command);
      if (wanted && wanted->dependency) {
        owners.insert(atom_package(resolution, name, resolved.package, wanted->dependency));
      }
    } catch (const Error& error) {
      log::debug("{}", error.what());  // build_commands reports it
    }
  }
  return owners;
}

CommandSet build_commands(const Resolution& resolution, const LoadedPackages& packages) {
  CommandSet set;
  for (const auto& [name, resolved] : resolution.package.commands) {
    try {
      if (auto command = build_command(name, resolved, resolution, packages)) {
        set.commands.push_back(std::move(*command));
      }
    } catch (const Error& error) {
      set.errors.push_back(error);
    }
  }
  return set;
}

}  // namespace pkgfs
