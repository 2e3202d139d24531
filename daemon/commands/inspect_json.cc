// SPDX-License-Identifier: MIT
#include "daemon/commands/inspect_json.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/limits.h"
#include "core/vfs/read_file.h"
#include "core/vfs/walk.h"
#include "daemon/cli/json_output.h"

namespace pkgfs {

using nlohmann::json;

namespace {

json error_json(const Error& error) { return {{"error", error.chain()}}; }

json index_json(const webc::IndexEntry& entry) {
  return {{"span", {{"start", entry.start}, {"len", entry.length}}},
          {"checksum", {{"tag", entry.checksum_tag}, {"value", hex(std::as_bytes(std::span(entry.checksum)))}}}};
}

json index_json(const webc::Index* index) {
  if (index == nullptr) {
    return {};
  }
  json volumes = json::object();
  for (const auto& [name, entry] : index->volumes) {
    volumes[name] = index_json(entry);
  }
  return {{"manifest", index_json(index->manifest)},
          {"atoms", index_json(index->atoms)},
          {"volumes", std::move(volumes)},
          {"signature", {{"tag", index->signature_tag}, {"value", hex(std::as_bytes(std::span(index->signature)))}}}};
}

json atoms_json(const Package& package) {
  std::map<std::string_view, const webc::AtomEntry*> entries;
  for (const webc::AtomEntry& entry : package.manifest().atoms) {
    entries.emplace(entry.name, &entry);
  }
  json atoms = json::array();
  for (const webc::Atom& atom : package.atoms()) {
    const auto found = entries.find(atom.name);
    const webc::AtomEntry* entry = found == entries.end() ? nullptr : found->second;
    atoms.push_back({{"name", atom.name},
                     {"len", atom.body.length},
                     {"sha256", to_hex(sha256(atom.body.bytes()))},
                     {"kind", entry == nullptr ? json() : json(entry->kind)},
                     {"signature", entry == nullptr ? json() : json(entry->signature)},
                     {"annotations", entry == nullptr ? json::object() : json(entry->annotations)}});
  }
  return atoms;
}

json atom_json(const webc::Command& command) {
  try {
    const auto atom = webc::command_atom(command);
    return atom ? json{{"name", atom->name}, {"dependency", optional_json(atom->dependency)}} : json();
  } catch (const Error& error) {
    return error_json(error);
  }
}

json command_order_json(const webc::Manifest& manifest) {
  json names = json::array();
  for (const webc::Command& command : manifest.commands) {
    names.push_back(command.name);
  }
  return names;
}

json use_json(const webc::Manifest& manifest) {
  json use = json::array();
  for (const webc::Dependency& dependency : manifest.use) {
    use.push_back({{"alias", dependency.alias},
                   {"value", dependency.vendored ? json(*dependency.vendored) : optional_json(dependency.text)}});
  }
  return use;
}

json filesystem_json(const webc::Manifest& manifest) {
  try {
    const auto entries = manifest.fs();
    if (!entries) {
      return {};
    }
    json list = json::array();
    for (const webc::FsEntry& entry : *entries) {
      list.push_back({{"from", optional_json(entry.from)},
                      {"volume_name", entry.volume_name},
                      {"original_path", optional_json(entry.host_path)},
                      {"mount_path", entry.mount_path}});
    }
    return list;
  } catch (const Error& error) {
    return error_json(error);
  }
}

json id_json(const Package& package) {
  try {
    return stated_id(package);
  } catch (const Error& error) {
    return error_json(error);
  }
}

json modified_json(const std::optional<std::int64_t>& modified) {
  return modified ? json(nanoseconds(*modified)) : json();
}

/// The entries of one container volume, depth first in stored order, without recursion.
class VolumeListing {
 public:
  VolumeListing(const webc::Volume& volume, bool stored_hashes, std::vector<std::string>& problems)
      : volume_(volume), stored_hashes_(stored_hashes), problems_(problems) {}

  json run() {
    json root_time;
    if (const auto root = volume_.info(webc::kRootRef)) {
      root_time = modified_json(root->modified);
    }
    enter(webc::kRootRef, "");
    while (!pending_.empty()) {
      Item item = std::move(pending_.back());
      pending_.pop_back();
      add(item);
      if (item.info.kind == webc::EntryKind::kDirectory) {
        enter(item.ref, item.path);
      }
    }
    return {{"name", volume_.name()}, {"root_mtime_ns", std::move(root_time)}, {"entries", std::move(entries_)}};
  }

 private:
  struct Item {
    webc::EntryRef ref;
    std::string path;
    webc::EntryInfo info;
  };

  void problem(const std::string& path, int error) {
    problems_.push_back(
        system_error("volume \"" + volume_.name() + "\", \"" + (path.empty() ? "/" : path) + "\"", error).message());
  }

  void enter(webc::EntryRef ref, const std::string& path) {
    if (static_cast<std::size_t>(std::ranges::count(path, '/')) > limits::kTreeDepth) {
      problem(path, ELOOP);
      return;
    }
    const std::size_t first = pending_.size();
    const auto listed = volume_.list(ref, [&](const webc::DirRecord& record) {
      std::string child = path + "/" + std::string(record.name);
      if (record.error != 0) {
        problem(child, record.error);
      } else {
        pending_.push_back({record.ref, std::move(child), record.info});
      }
      return true;
    });
    std::reverse(pending_.begin() + static_cast<std::ptrdiff_t>(first), pending_.end());
    if (!listed) {
      problem(path, listed.error());
    }
  }

  void add(const Item& item) {
    const webc::EntryInfo& info = item.info;
    json entry{{"path", item.path},
               {"mtime_ns", modified_json(info.modified)},
               {"hash", stored_hashes_ && !info.sha256.empty() ? json(hex(info.sha256)) : json()}};
    switch (info.kind) {
      case webc::EntryKind::kDirectory:
        entry["type"] = "dir";
        break;
      case webc::EntryKind::kFile: {
        const Blob body{volume_.source(), info.offset, info.length};
        entry["type"] = "file";
        entry["len"] = info.length;
        entry["sha256"] = to_hex(sha256(body.bytes()));
        break;
      }
      case webc::EntryKind::kSymlink:
        entry["type"] = "symlink";
        entry["target"] = info.target;
        break;
    }
    entries_.push_back(std::move(entry));
  }

  const webc::Volume& volume_;
  bool stored_hashes_;
  std::vector<std::string>& problems_;
  std::vector<Item> pending_;
  json entries_ = json::array();
};

/// The entries of a volume of a directory package.
class LiveListing final : public vfs::TreeVisitor {
 public:
  LiveListing(vfs::FileSystem& fs, std::string name, std::vector<std::string>& problems)
      : fs_(fs), name_(std::move(name)), problems_(problems) {}

  json run() {
    json root_time;
    const auto root = fs_.metadata(fs_.root());
    if (!root) {
      problem("/", root.error());
    } else if (root->type == vfs::FileType::kDirectory) {
      root_time = nanoseconds(root->modified, root->modified_ns);
      visit_tree(fs_, fs_.root(), *this);
    } else {  // the host path is one file
      add("/", fs_.root(), *root);
    }
    return {{"name", name_}, {"root_mtime_ns", std::move(root_time)}, {"entries", std::move(entries_)}};
  }

  bool visit(const vfs::WalkStep& step) override {
    if (step.error == 0) {
      add(step.path, step.inode, step.attributes);
    } else {
      problem(step.path, step.error);
    }
    return step.attributes.type == vfs::FileType::kDirectory;
  }

  void leave(const vfs::WalkStep& step) override {
    if (step.error != 0) {
      problem(step.path, step.error);
    }
  }

 private:
  void problem(std::string_view path, int error) {
    problems_.push_back(system_error("volume \"" + name_ + "\", \"" + std::string(path) + "\"", error).message());
  }

  void add(std::string_view path, vfs::Inode inode, const vfs::Attributes& attributes) {
    std::optional<Sha256> sha256;
    std::string target;
    if (attributes.type == vfs::FileType::kFile) {
      const auto hash = sha256_of(fs_, inode);
      if (!hash) {
        problem(path, hash.error());
        return;
      }
      sha256 = *hash;
    } else if (attributes.type == vfs::FileType::kSymlink) {
      target = fs_.read_link(inode).value_or("");
    }
    json entry = entry_json(path, attributes, sha256, target);
    entry["hash"] = nullptr;
    entries_.push_back(std::move(entry));
  }

  vfs::FileSystem& fs_;
  std::string name_;
  std::vector<std::string>& problems_;
  json entries_ = json::array();
};

json volumes_json(const Package& package, std::vector<std::string>& problems) {
  json volumes = json::array();
  if (const webc::Container* container = package.container()) {
    for (const auto& volume : container->volumes()) {
      // Version 2 stores hashes too, but the reference implementation doesn't read them.
      const bool stored_hashes = container->version() == webc::Version::kV3;
      volumes.push_back(VolumeListing(*volume, stored_hashes, problems).run());
    }
    return volumes;
  }
  for (const std::string& name : package.volume_names()) {
    if (const auto volume = package.open_volume(name)) {
      volumes.push_back(LiveListing(*volume, name, problems).run());
    }
  }
  return volumes;
}

void add_container_facts(const Package& package, json& facts) {
  const webc::Container& container = *package.container();
  std::error_code failed;
  const std::uintmax_t size = std::filesystem::file_size(package.name(), failed);
  facts["size"] = failed ? container.source()->size() : size;
  facts["sha256"] = to_hex(package.hash().digest());
  facts["webc_hash"] = facts["sha256"];
  facts["index"] = index_json(container.index());
  facts["manifest_cbor"] = {{"len", container.manifest_bytes().size()},
                            {"sha256", to_hex(sha256(container.manifest_bytes()))}};
}

}  // namespace

json commands_json(const webc::Manifest& manifest) {
  std::vector<const webc::Command*> sorted;
  sorted.reserve(manifest.commands.size());
  for (const webc::Command& command : manifest.commands) {
    sorted.push_back(&command);
  }
  std::ranges::sort(sorted, {}, [](const webc::Command* command) -> std::string_view { return command->name; });
  json commands = json::array();
  for (const webc::Command* command : sorted) {
    commands.push_back({{"name", command->name},
                        {"runner", command->runner},
                        {"annotations", json(command->annotations)},
                        {"atom", atom_json(*command)}});
  }
  return commands;
}

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

json inspect_json(const Package& package, Findings findings) {
  std::vector<std::string>& problems = findings.damage;  // entries that can't be read are added
  const webc::Manifest& manifest = package.manifest();
  const webc::Json stated = manifest.to_json();
  const std::filesystem::path path = package.name();
  json result{
      {"file", (path.has_filename() ? path.filename() : path.parent_path().filename()).string()},
      {"webc_hash", nullptr},
      {"format_version", std::to_string(package.webc_version())},
      {"package_id", id_json(package)},
      {"manifest", json(stated)},
      {"manifest_json", stated.dump(-1, ' ', false, webc::Json::error_handler_t::replace)},
      {"entrypoint", optional_json(manifest.entrypoint)},
      {"use", use_json(manifest)},
      {"command_order", command_order_json(manifest)},
      {"commands", commands_json(manifest)},
      {"atoms", atoms_json(package)},
      {"filesystem", filesystem_json(manifest)},
      {"volumes", volumes_json(package, problems)},
  };
  if (package.container() != nullptr) {
    add_container_facts(package, result);
  }
  if (package.container() != nullptr && package.container()->source()->damaged()) {
    problems.push_back(system_error(package.name(), EIO).message());
  }
  const std::vector<std::string>& worst = problems.empty() ? findings.mappings : problems;
  result["validate"] = worst.empty() ? "ok" : worst.front();
  result["problems"] = problems;
  return result;
}

std::string stated_id(const Package& package) {
  const auto wapm = package.manifest().wapm();
  if (wapm && wapm->name) {
    return *wapm->name + "@" + wapm->version.value_or("0.0.0");
  }
  return package.hash().to_string();
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
