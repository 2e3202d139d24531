// SPDX-License-Identifier: MIT
#include "daemon/commands/inspect_json.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <ostream>
#include <set>
#include <string_view>
#include <utility>

#include "daemon/cli/json_output.h"
#include "daemon/commands/volume_listing.h"
#include "daemon/packages/lazy_packages.h"

namespace pkgfs {

using nlohmann::json;
using webc::JsonWriter;

namespace {

json hash_json(const std::optional<Sha256>& hash) { return hash ? json(to_hex(*hash)) : json(); }

json error_json(const Error& error) { return {{"error", error.chain()}}; }

json index_json(const webc::IndexEntry& entry) {
  return {{"span", {{"start", entry.start}, {"len", entry.length}}},
          {"checksum", {{"tag", entry.checksum_tag}, {"value", hex(std::as_bytes(std::span(entry.checksum)))}}}};
}

json atom_json(const webc::Command& command) {
  try {
    const auto atom = webc::command_atom(command);
    return atom ? json{{"name", atom->name}, {"dependency", optional_json(atom->dependency)}} : json();
  } catch (const Error& error) {
    return error_json(error);
  }
}

json mapping_json(const webc::FsEntry& entry) {
  return {{"from", optional_json(entry.from)},
          {"volume_name", entry.volume_name},
          {"original_path", optional_json(entry.host_path)},
          {"mount_path", entry.mount_path}};
}

/// Prints the values of the document. Those of the manifest, which can be large, are printed where they are.
class Document {
 public:
  Document(std::ostream& out, const Package& package, const PackageFacts& facts)
      : writer_(out, JsonWriter::kSorted), package_(package), manifest_(package.manifest()), facts_(facts) {}

  void print() {
    const std::filesystem::path path = package_.name();
    const std::string file = (path.has_filename() ? path.filename() : path.parent_path().filename()).string();
    const auto small = [this](const json& value) { return [this, value] { writer_.value(value); }; };
    const auto name = small(file);
    const auto version = small(std::to_string(package_.webc_version()));
    const auto id = small(id_json(package_));
    const auto entrypoint = small(optional_json(manifest_.entrypoint));
    const auto validate = small(facts_.validate);
    const auto problems = small(facts_.problems);
    const auto sha256 = small(hash_json(facts_.sha256));
    const auto size = small(facts_.size.value_or(0));
    const auto manifest = [this] { webc::write_manifest(writer_, manifest_); };
    const auto text = [&] {
      writer_.quoted([this](JsonWriter& compact) { webc::write_manifest(compact, manifest_); });
    };
    const auto use = [this] { print_use(); };
    const auto order = [this] { print_command_order(); };
    const auto commands = [this] { print_commands(); };
    const auto atoms = [this] { print_atoms(); };
    const auto filesystem = [this] { print_filesystem(); };
    const auto volumes = [this] { writer_.value(facts_.volumes); };
    const auto index = [this] { print_index(); };
    const auto in_parts = small(true);
    const auto cbor = [this] { print_manifest_cbor(); };
    std::vector<JsonWriter::Member> members{{"file", name},
                                            {"webc_hash", sha256},
                                            {"format_version", version},
                                            {"package_id", id},
                                            {"manifest", manifest},
                                            {"manifest_json", text},
                                            {"entrypoint", entrypoint},
                                            {"use", use},
                                            {"command_order", order},
                                            {"commands", commands},
                                            {"atoms", atoms},
                                            {"filesystem", filesystem},
                                            {"volumes", volumes},
                                            {"validate", validate},
                                            {"problems", problems}};
    if (facts_.in_parts) {
      members.emplace_back("in_parts", in_parts);
    }
    if (facts_.size) {
      members.insert(members.end(), {{"size", size}, {"sha256", sha256}, {"index", index}, {"manifest_cbor", cbor}});
    }
    writer_.object(members);
  }

  void print_commands() {
    std::vector<const webc::Command*> sorted;
    sorted.reserve(manifest_.commands.size());
    for (const webc::Command& command : manifest_.commands) {
      sorted.push_back(&command);
    }
    std::ranges::sort(sorted, {}, [](const webc::Command* command) -> std::string_view { return command->name; });
    writer_.list(sorted, [this](const webc::Command* command) {
      writer_.object({{"name", [&] { writer_.text(command->name); }},
                      {"runner", [&] { writer_.text(command->runner); }},
                      {"annotations", [&] { writer_.value(command->annotations); }},
                      {"atom", [&] { writer_.value(atom_json(*command)); }}});
    });
  }

 private:
  void print_use() {
    writer_.list(manifest_.use, [this](const webc::Dependency& dependency) {
      const auto value = [&] {
        dependency.vendored ? writer_.value(*dependency.vendored) : writer_.value(optional_json(dependency.text));
      };
      writer_.object({{"alias", [&] { writer_.text(dependency.alias); }}, {"value", value}});
    });
  }

  void print_command_order() {
    writer_.list(manifest_.commands, [this](const webc::Command& command) { writer_.text(command.name); });
  }

  void print_atoms() {
    std::map<std::string_view, const webc::AtomEntry*> entries;
    for (const webc::AtomEntry& entry : manifest_.atoms) {
      entries.emplace(entry.name, &entry);
    }
    auto hash = facts_.atoms.begin();
    writer_.list(package_.atoms(), [&](const webc::Atom& atom) {
      const auto found = entries.find(atom.name);
      const webc::AtomEntry* entry = found == entries.end() ? nullptr : found->second;
      const json kind = entry == nullptr ? json() : json(entry->kind);
      const json signature = entry == nullptr ? json() : json(entry->signature);
      const auto annotations = [&] {
        entry == nullptr ? writer_.value(json::object()) : writer_.value(entry->annotations);
      };
      writer_.object({{"name", [&] { writer_.text(atom.name); }},
                      {"len", [&] { writer_.value(json(atom.body.length)); }},
                      {"sha256", [&] { writer_.value(hash_json(*hash)); }},
                      {"kind", [&] { writer_.value(kind); }},
                      {"signature", [&] { writer_.value(signature); }},
                      {"annotations", annotations}});
      ++hash;
    });
  }

  void print_filesystem() {
    std::optional<std::vector<webc::FsEntry>> entries;
    try {
      entries = manifest_.fs();
    } catch (const Error& error) {
      return writer_.value(error_json(error));
    }
    if (!entries) {
      return writer_.value(json());
    }
    writer_.list(*entries, [this](const webc::FsEntry& entry) { writer_.value(mapping_json(entry)); });
  }

  void print_index() {
    const webc::Index* index = package_.container()->index();
    if (index == nullptr) {
      return writer_.value(json());
    }
    const auto volumes = [&] {
      writer_.map(
          index->volumes, [](const auto& volume) -> const std::string& { return volume.first; },
          [this](const auto& volume) { writer_.value(index_json(volume.second)); });
    };
    const json signature{{"tag", index->signature_tag}, {"value", hex(std::as_bytes(std::span(index->signature)))}};
    writer_.object({{"manifest", [&] { writer_.value(index_json(index->manifest)); }},
                    {"atoms", [&] { writer_.value(index_json(index->atoms)); }},
                    {"volumes", volumes},
                    {"signature", [&] { writer_.value(signature); }}});
  }

  void print_manifest_cbor() {
    const std::span<const std::byte> bytes = package_.container()->manifest_bytes();
    writer_.value(json{{"len", bytes.size()}, {"sha256", to_hex(sha256(bytes))}});
  }

  JsonWriter writer_;
  const Package& package_;
  const webc::Manifest& manifest_;
  const PackageFacts& facts_;
};

}  // namespace

Findings check_package(const Package& package) {
  Findings findings;
  if (package.container() == nullptr) {
    return findings;
  }
  for (std::string& problem : webc::verify(*package.container(), webc::VerifyDepth::kContent)) {
    const bool mapping = problem.find(": manifest: fs mapping ") != std::string::npos;
    (mapping ? findings.mappings : findings.damage).push_back(std::move(problem));
  }
  return findings;
}

PackageFacts read_facts(const Package& package, Findings findings) {
  PackageFacts facts;
  std::vector<std::string>& problems = facts.problems = std::move(findings.damage);
  facts.volumes = volumes_json(package, problems);  // adds entries that can't be read
  for (const webc::Atom& atom : package.atoms()) {
    facts.atoms.push_back(sha256(atom.body.bytes()));
  }
  if (const webc::Container* container = package.container()) {
    std::error_code failed;
    const std::uintmax_t size = std::filesystem::file_size(package.name(), failed);
    facts.size = failed ? container->source()->size() : size;
    if (container->source()->damaged()) {
      problems.push_back(system_error(package.name(), EIO).message());
    }
    facts.sha256 = package.hash().digest();
  }
  const std::vector<std::string>& worst = problems.empty() ? findings.mappings : problems;
  facts.validate = worst.empty() ? "ok" : worst.front();
  return facts;
}

PackageFacts read_facts_in_parts(const Package& package, std::uint64_t most) {
  const webc::Container& container = *package.container();
  PackageFacts facts;
  facts.in_parts = true;
  facts.volumes = volumes_in_parts_json(container, most, facts.problems);
  for (const webc::Atom& atom : package.atoms()) {
    Sha256 hash{};
    const bool has_hash = atom.body.sha256.size() == hash.size();
    if (has_hash) {
      std::memcpy(hash.data(), atom.body.sha256.data(), hash.size());
    }
    facts.atoms.push_back(has_hash ? std::optional(hash) : std::nullopt);
  }
  facts.size = container.source()->size();
  facts.sha256 = package.hash().known();
  facts.validate = facts.problems.empty() ? "not checked: only parts of the package were read" : facts.problems.front();
  return facts;
}

void print_inspect_json(std::ostream& out, const Package& package, const PackageFacts& facts) {
  Document(out, package, facts).print();
  out << '\n';
}

void print_commands_json(std::ostream& out, const Package& package) {
  Document(out, package, {}).print_commands();
  out << '\n';
}

json id_json(const Package& package) {
  try {
    return stated_id(package);
  } catch (const Error& error) {
    return error_json(error);
  }
}

std::string stated_id(const Package& package) {
  const auto wapm = package.manifest().wapm();
  if (wapm && wapm->name) {
    return *wapm->name + "@" + wapm->version.value_or("0.0.0");
  }
  return is_read_in_parts(package) && !package.hash().known() ? package.name() : package.hash().to_string();
}

std::vector<CommandRow> command_rows(const Package& package) {
  const webc::Manifest& manifest = package.manifest();
  std::set<std::string_view> aliases;
  for (const webc::Dependency& dependency : manifest.use) {
    aliases.insert(dependency.alias);
  }
  std::vector<CommandRow> rows;
  for (const webc::Command& command : manifest.commands) {
    CommandRow row{&command, std::nullopt, std::nullopt};
    try {
      row.atom = webc::command_atom(command);
    } catch (const Error& error) {
      row.problem = error.what();
    }
    if (row.atom && row.atom->dependency) {
      if (!aliases.contains(*row.atom->dependency)) {
        row.problem = "Unable to find the \"" + *row.atom->dependency + "\" dependency for the \"" + command.name +
                      "\" command in \"" + stated_id(package) + "\"";
      }
    } else if (row.atom && package.find_atom(row.atom->name) == nullptr) {
      row.problem = "The '" + command.name + "' command uses the '" + row.atom->name +
                    "' atom, but it isn't present in the package: " + stated_id(package);
    }
    rows.push_back(std::move(row));
  }
  std::ranges::sort(rows, {}, [](const CommandRow& row) -> std::string_view { return row.command->name; });
  return rows;
}

}  // namespace pkgfs
