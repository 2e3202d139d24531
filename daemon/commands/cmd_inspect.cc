// SPDX-License-Identifier: MIT
#include <ostream>

#include <nlohmann/json.hpp>

#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/text_output.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/inspect_json.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

namespace {

using nlohmann::json;

/// Only text in the manifest can be of any form; `printable` keeps it from moving the cursor.
std::string shown(const json& value) {
  return printable(value.is_string() ? value.get<std::string>() : json_line(value));
}

void print_line(std::ostream& out, std::string_view label, const json& value) {
  constexpr std::size_t kColumn = 14;
  if (!value.is_null() && value != json("")) {
    out << label << ':' << std::string(kColumn > label.size() ? kColumn - label.size() : 1, ' ') << shown(value)
        << '\n';
  }
}

void print_volumes(std::ostream& out, const json& volumes) {
  out << "volumes:\n";
  for (const json& volume : volumes) {
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

void print_commands(std::ostream& out, const Package& package) {
  for (const CommandRow& row : command_rows(package)) {
    out << "  " << printable(row.command->name) << "  " << printable(row.command->runner);
    if (row.atom) {
      out << "  atom " << printable(row.atom->name);
      if (row.atom->dependency) {
        out << " of " << printable(*row.atom->dependency);
      }
    }
    out << (package.manifest().entrypoint == row.command->name ? "  (entrypoint)\n" : "\n");
  }
}

void print_plain(std::ostream& out, const Package& package, const json& facts) {
  print_line(out, "package", facts.at("package_id"));
  print_line(out, "source", package.name());
  print_line(out, "format", package.is_live() ? "directory" : "WEBC " + facts.at("format_version").get<std::string>());
  if (facts.contains("size")) {
    print_line(out, "size", size_text(facts.at("size").get<std::uint64_t>()));
    print_line(out, "sha256", facts.at("sha256"));
  }
  const json& manifest = facts.at("manifest");
  const json wapm = manifest.value("/package/wapm"_json_pointer, json::object());
  for (const char* key : {"description", "license", "homepage", "repository"}) {
    print_line(out, key, wapm.is_object() ? wapm.value(key, json()) : json());
  }
  print_line(out, "entrypoint", facts.at("entrypoint"));
  if (!facts.at("use").empty()) {
    out << "dependencies:\n";
  }
  for (const json& use : facts.at("use")) {
    out << "  " << shown(use.at("alias")) << " = " << shown(use.at("value")) << '\n';
  }
  if (!facts.at("commands").empty()) {
    out << "commands:\n";
    print_commands(out, package);
  }
  if (!facts.at("atoms").empty()) {
    out << "atoms:\n";
  }
  for (const json& atom : facts.at("atoms")) {
    out << "  " << shown(atom.at("name")) << "  " << size_text(atom.at("len").get<std::uint64_t>()) << "  "
        << shown(atom.at("sha256")) << '\n';
  }
  const json& filesystem = facts.at("filesystem");
  if (filesystem.is_array() && !filesystem.empty()) {
    out << "file system:\n";
    for (const json& entry : filesystem) {
      out << "  " << shown(entry.at("mount_path")) << "  volume \"" << shown(entry.at("volume_name")) << '"'
          << (entry.at("from").is_null() ? "" : " of " + shown(entry.at("from"))) << '\n';
    }
  }
  print_volumes(out, facts.at("volumes"));
  for (const json& problem : facts.at("problems")) {
    out << "problem: " << shown(problem) << '\n';
  }
  if (facts.at("problems").empty() && facts.at("validate") != "ok") {
    out << "problem: " << shown(facts.at("validate")) << '\n';
  }
}

/// What a damaged container seems to hold isn't what somebody packed.
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
    print_json(*io.out, commands_json(package.manifest()));
  } else {
    print_commands(*io.out, package);
  }
  for (const std::string& problem : broken) {
    *io.err << error_text(problem);
  }
  return broken.empty() ? kExitOk : to_exit_code(ErrorCode::kLoad);
}

}  // namespace

int cmd_inspect(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kInspect, args, 1, 1);
  set_log_level(options.log);
  PackageOpener opener(options.tree, {.as_built = options.tree.as_built}, io);
  const auto package = opener.open(options.operands[0]).package;
  Findings findings = check_package(*package);
  if (!findings.damage.empty() && !options.force) {
    refuse_damaged(*package, findings.damage);
  }
  if (options.commands) {
    return list_commands(io, *package, options.json);
  }
  const json facts = inspect_json(*package, std::move(findings));
  if (options.json) {
    print_json(*io.out, facts);
  } else {
    print_plain(*io.out, *package, facts);
  }
  return facts.at("problems").empty() ? kExitOk : to_exit_code(ErrorCode::kCorrupt);
}

}  // namespace pkgfs
