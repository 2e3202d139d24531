// SPDX-License-Identifier: MIT
#include <ostream>

#include <nlohmann/json.hpp>

#include "core/webc/json_fields.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/text_output.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/inspect_json.h"
#include "daemon/packages/lazy_packages.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

namespace {

using nlohmann::json;

/// A value of the manifest as text.
std::string shown(const json& value) { return value.is_string() ? value.get<std::string>() : json_line(value); }

void print_line(TextWriter out, std::string_view label, const json& value) {
  constexpr std::size_t kColumn = 14;
  if (!value.is_null() && value != json("")) {
    out << label << ':' << std::string(kColumn > label.size() ? kColumn - label.size() : 1, ' ') << shown(value)
        << '\n';
  }
}

void print_volumes(TextWriter out, const json& volumes) {
  out << "volumes:\n";
  for (const json& volume : volumes) {
    if (!volume.contains("entries")) {
      out << "  " << shown(volume.at("name")) << "  " << size_text(volume.at("data_bytes").get<std::uint64_t>())
          << ", in directories that weren't read: they take "
          << size_text(volume.at("directory_bytes").get<std::uint64_t>()) << '\n';
      continue;
    }
    std::size_t files = 0;
    std::size_t others = 0;
    std::uint64_t bytes = 0;
    for (const json& entry : volume.at("entries")) {
      const bool file = entry.at("type") == "file";
      ++(file ? files : others);
      bytes += file ? entry.at("len").get<std::uint64_t>() : 0;
    }
    out << "  " << shown(volume.at("name")) << "  " << files << (files == 1 ? " file, " : " files, ") << others
        << " directories and links, " << size_text(bytes) << '\n';
  }
}

void print_commands(TextWriter out, const Package& package) {
  for (const CommandRow& row : command_rows(package)) {
    out << "  " << row.command->name << "  " << row.command->runner;
    if (row.atom) {
      out << "  atom " << row.atom->name;
      if (row.atom->dependency) {
        out << " of " << *row.atom->dependency;
      }
    }
    out << (package.manifest().entrypoint == row.command->name ? "  (entrypoint)\n" : "\n");
  }
}

/// What the `wapm` annotation says, of any type.
void print_wapm(TextWriter out, const webc::Manifest& manifest) {
  const webc::Json* wapm = webc::member(manifest.package, "wapm");
  for (const char* key : {"description", "license", "homepage", "repository"}) {
    const webc::Json* value = wapm != nullptr && wapm->is_object() ? webc::member(*wapm, key) : nullptr;
    print_line(out, key, value == nullptr ? json() : json(*value));
  }
}

void print_mappings(TextWriter out, const webc::Manifest& manifest) {
  std::optional<std::vector<webc::FsEntry>> entries;
  try {
    entries = manifest.fs();
  } catch (const Error&) {  // `verify` and a mount say what is wrong
  }
  if (!entries || entries->empty()) {
    return;
  }
  out << "file system:\n";
  for (const webc::FsEntry& entry : *entries) {
    out << "  " << entry.mount_path << "  volume \"" << entry.volume_name << '"'
        << (entry.from ? " of " + *entry.from : std::string()) << '\n';
  }
}

void print_plain(TextWriter out, const Package& package, const PackageFacts& facts) {
  const webc::Manifest& manifest = package.manifest();
  print_line(out, "package", id_json(package));
  print_line(out, "source", package.name());
  print_line(out, "format", package.is_live() ? "directory" : "WEBC " + std::to_string(package.webc_version()));
  if (facts.size) {
    print_line(out, "size", size_text(*facts.size));
    print_line(out, "sha256", facts.sha256 ? json(to_hex(*facts.sha256)) : json());
  }
  print_wapm(out, manifest);
  print_line(out, "entrypoint", optional_json(manifest.entrypoint));
  if (!manifest.use.empty()) {
    out << "dependencies:\n";
  }
  for (const webc::Dependency& use : manifest.use) {
    out << "  " << use.alias << " = " << shown(use.vendored ? json(*use.vendored) : optional_json(use.text)) << '\n';
  }
  if (!manifest.commands.empty()) {
    out << "commands:\n";
    print_commands(out, package);
  }
  if (!package.atoms().empty()) {
    out << "atoms:\n";
  }
  for (std::size_t i = 0; i < facts.atoms.size(); ++i) {
    const webc::Atom& atom = package.atoms()[i];
    out << "  " << atom.name << "  " << size_text(atom.body.length);
    if (facts.atoms[i]) {
      out << "  " << to_hex(*facts.atoms[i]);
    }
    out << '\n';
  }
  print_mappings(out, manifest);
  print_volumes(out, facts.volumes);
  for (const std::string& problem : facts.problems) {
    out << "problem: " << problem << '\n';
  }
  if (facts.in_parts) {
    print_line(out, "checked",
               "nothing: only parts of the package were read, and its hashes are those that it states. --lazy=off "
               "downloads and checks all of it");
  } else if (facts.problems.empty() && facts.validate != "ok") {
    out << "problem: " << facts.validate << '\n';
  }
}

/// The contents of a damaged container can't be trusted.
[[noreturn]] void refuse_damaged(const Package& package, const std::vector<std::string>& damage) {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> chain{"The package \"" + package.name() + "\" is damaged"};
  for (std::size_t i = 0; i < damage.size() && i < kShown; ++i) {
    chain.push_back(damage[i]);
  }
  if (damage.size() > kShown) {
    chain.push_back("and " + std::to_string(damage.size() - kShown) + " more (see \"pkgfs verify\")");
  }
  throw Error(ErrorCode::kCorrupt, std::move(chain));
}

int list_commands(const Io& io, const Package& package, bool as_json) {
  std::vector<std::string> broken;
  for (const CommandRow& row : command_rows(package)) {
    if (row.problem) {
      broken.push_back(*row.problem);
    }
  }
  if (as_json) {
    print_commands_json(*io.out, package);
  } else {
    print_commands(TextWriter(*io.out), package);
  }
  for (const std::string& problem : broken) {
    *io.err << error_text(Error(ErrorCode::kLoad, problem));
  }
  return broken.empty() ? kExitOk : to_exit_code(ErrorCode::kLoad);
}

int print_facts(const Io& io, const Package& package, const PackageFacts& facts, bool as_json) {
  if (as_json) {
    print_inspect_json(*io.out, package, facts);
  } else {
    print_plain(TextWriter(*io.out), package, facts);
  }
  return facts.problems.empty() ? kExitOk : to_exit_code(ErrorCode::kCorrupt);
}

/// Shows a package that stays at its server. Reads what is printed, and no file.
int inspect_in_parts(const Package& package, const Options& options, const Io& io) {
  // The text only counts the entries of a volume, and a million of them take 150 MB. The JSON lists all of them.
  constexpr std::uint64_t kMostForCounting = 256U << 10U;
  if (options.commands) {
    return list_commands(io, package, options.json);
  }
  const std::uint64_t most = options.json ? package.container()->source()->size() : kMostForCounting;
  return print_facts(io, package, read_facts_in_parts(package, most), options.json);
}

}  // namespace

int cmd_inspect(const std::vector<std::string>& args, const Io& io) {
  Options options = parse_options(CommandId::kInspect, args, 1, 1);
  set_log_level(options.log);
  OpenOptions open = unchecked_options(options.tree);
  open.directory_data = false;
  PackageOpener opener(options.tree, open, io);
  const auto package = opener.open(options.operands[0]).package;
  if (is_read_in_parts(*package)) {
    return inspect_in_parts(*package, options, io);
  }
  Findings findings = check_package(*package);
  if (!findings.damage.empty() && !options.force) {
    refuse_damaged(*package, findings.damage);
  }
  if (options.commands) {
    return list_commands(io, *package, options.json);
  }
  return print_facts(io, *package, read_facts(*package, std::move(findings)), options.json);
}

}  // namespace pkgfs
