// SPDX-License-Identifier: MIT
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/vfs/compare.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/text_output.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/damage.h"
#include "daemon/commands/diff_operand.h"

namespace pkgfs {

namespace {

using vfs::ComparedEntry;
using vfs::Difference;

/// What two maps differ in: the value before and the value after of each key whose values differ. Empty: there is none.
using Changes = std::map<std::string, std::pair<std::string, std::string>>;

Changes compare_maps(const std::map<std::string, std::string>& before,
                     const std::map<std::string, std::string>& after) {
  Changes changes;
  for (const auto& [key, value] : before) {
    const auto found = after.find(key);
    if (found == after.end() || found->second != value) {
      changes.emplace(key, std::pair(value, found == after.end() ? "" : found->second));
    }
  }
  for (const auto& [key, value] : after) {
    if (!before.contains(key)) {
      changes.emplace(key, std::pair("", value));
    }
  }
  return changes;
}

/// The versions of each dependency, by name. Those of an unnamed one are its hash.
std::map<std::string, std::string> dependency_versions(const OpenedTree& opened) {
  std::map<std::string, std::set<std::string>> versions;
  const auto& nodes = opened.resolution.graph.nodes;
  for (std::size_t i = 1; i < nodes.size(); ++i) {  // the first is the root
    const NamedId* id = nodes[i].pkg.id.named();
    const std::string text = nodes[i].pkg.id.to_string();
    versions[id == nullptr ? text : id->full_name].insert(id == nullptr ? text : id->version.to_string());
  }
  std::map<std::string, std::string> result;
  for (const auto& [name, all] : versions) {
    std::string& text = result[name];
    for (const std::string& version : all) {
      text += (text.empty() ? "" : ", ") + version;
    }
  }
  return result;
}

/// Each command with the package that declares it. The version is left out: it is told once, with the dependencies.
std::map<std::string, std::string> declaring_packages(const OpenedTree& opened) {
  std::map<std::string, std::string> result;
  const PackageId& root = opened.tree.id;
  for (const LoadedCommand& command : opened.tree.commands) {
    const NamedId* id = command.package.named();
    result[command.name] = command.package == root ? "this package"
                           : id == nullptr         ? command.package.to_string()
                                                   : id->full_name;
  }
  return result;
}

/// All that differs.
struct DiffReport {
  std::string before;
  std::string after;
  bool are_packages = false;  // else only the files are known
  Changes dependencies;
  Changes commands;
  std::vector<Difference> files;

  [[nodiscard]] bool is_empty() const { return dependencies.empty() && commands.empty() && files.empty(); }
};

struct DiffSum {
  std::size_t added = 0;
  std::size_t removed = 0;
  std::size_t changed = 0;
  std::uint64_t added_bytes = 0;  // of files that only the second tree has, or by which they are larger there
  std::uint64_t removed_bytes = 0;
};

std::uint64_t file_size(const std::optional<ComparedEntry>& entry) {
  return entry && entry->type == vfs::FileType::kFile ? entry->size : 0;
}

DiffSum diff_sum(const std::vector<Difference>& files) {
  DiffSum sum;
  for (const Difference& file : files) {
    ++(!file.before ? sum.added : !file.after ? sum.removed : sum.changed);
    const std::uint64_t before = file_size(file.before);
    const std::uint64_t after = file_size(file.after);
    sum.added_bytes += after > before ? after - before : 0;
    sum.removed_bytes += before > after ? before - after : 0;
  }
  return sum;
}

void print_changes(TextWriter& out, const char* title, const Changes& changes) {
  if (changes.empty()) {
    return;
  }
  out << title;
  for (const auto& [name, values] : changes) {
    const auto& [before, after] = values;
    out << (before.empty() ? "  A " : after.empty() ? "  D " : "  M ") << name << "  ";
    out << before << (before.empty() || after.empty() ? "" : " -> ") << after << '\n';
  }
}

const char* type_word(vfs::FileType type) {
  return type == vfs::FileType::kDirectory ? "directory" : type == vfs::FileType::kFile ? "file" : "symbolic link";
}

/// `12 -> 15 bytes`: what differs of an entry that both trees have.
void print_change(TextWriter& out, const ComparedEntry& before, const ComparedEntry& after) {
  if (before.type != after.type) {
    out << "  " << type_word(before.type) << " -> " << type_word(after.type);
    return;
  }
  if (before.mode && after.mode && before.mode != after.mode) {
    out.print("  mode {:04o} -> {:04o}", *before.mode, *after.mode);
  }
  if (after.type == vfs::FileType::kSymlink) {
    out << "  " << before.target << " -> " << after.target;
  } else if (before.size != after.size) {
    out.print("  {} -> {} bytes", before.size, after.size);
  }
}

void print_files(TextWriter& out, const std::vector<Difference>& files) {
  if (!files.empty()) {
    out << "files:\n";
  }
  for (const Difference& file : files) {
    const ComparedEntry& entry = file.after ? *file.after : *file.before;
    out << (!file.before ? "  A " : !file.after ? "  D " : "  M ") << file.path;
    out << (entry.type == vfs::FileType::kDirectory ? "/" : "");
    if (file.before && file.after) {
      print_change(out, *file.before, *file.after);
    } else if (entry.type == vfs::FileType::kFile) {
      out.print("  {} {}", entry.size, entry.size == 1 ? "byte" : "bytes");
    } else if (entry.type == vfs::FileType::kSymlink) {
      out << "  -> " << entry.target;
    }
    out << '\n';
  }
}

void print_diff(TextWriter out, const DiffReport& report, bool only_sum) {
  out << report.before << " -> " << report.after << '\n';
  print_changes(out, "dependencies:\n", report.dependencies);
  print_changes(out, "commands:\n", report.commands);
  if (!only_sum) {
    print_files(out, report.files);
  }
  const DiffSum sum = diff_sum(report.files);
  out << sum.added << " added, " << sum.removed << " removed, " << sum.changed << " changed; ";
  out.print("+{}, -{}\n", size_text(sum.added_bytes), size_text(sum.removed_bytes));
}

nlohmann::json changes_json(const Changes& changes) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [name, values] : changes) {
    const auto& [before, after] = values;
    list.push_back({{"name", name},
                    {"before", before.empty() ? nlohmann::json() : nlohmann::json(before)},
                    {"after", after.empty() ? nlohmann::json() : nlohmann::json(after)}});
  }
  return list;
}

nlohmann::json side_json(const std::optional<ComparedEntry>& entry) {
  if (!entry) {
    return nullptr;
  }
  nlohmann::json json{{"type", type_name(entry->type)}};
  if (entry->mode) {
    json["mode"] = *entry->mode;
  }
  if (entry->type == vfs::FileType::kFile) {
    json["len"] = entry->size;
    json["sha256"] = entry->sha256 ? nlohmann::json(to_hex(*entry->sha256)) : nlohmann::json();
  } else if (entry->type == vfs::FileType::kSymlink) {
    json["target"] = entry->target;
  }
  return json;
}

nlohmann::json diff_json(const DiffReport& report, bool only_sum) {
  const DiffSum sum = diff_sum(report.files);
  nlohmann::json json{{"before", report.before},
                      {"after", report.after},
                      {"summary",
                       {{"added", sum.added},
                        {"removed", sum.removed},
                        {"changed", sum.changed},
                        {"added_bytes", sum.added_bytes},
                        {"removed_bytes", sum.removed_bytes}}}};
  json["dependencies"] = report.are_packages ? changes_json(report.dependencies) : nlohmann::json();
  json["commands"] = report.are_packages ? changes_json(report.commands) : nlohmann::json();
  if (!only_sum) {
    json["files"] = nlohmann::json::array();
    for (const Difference& file : report.files) {
      json["files"].push_back(
          {{"path", file.path}, {"before", side_json(file.before)}, {"after", side_json(file.after)}});
    }
  }
  return json;
}

int compare_and_print(const Options& options, const Io& io) {
  Damage damage(*io.err);
  const auto report_unread = [&damage](std::string_view path, int error) { damage.report(path, error); };
  const DiffOperand before = open_diff_operand(options.operands[0], options.tree, io, report_unread);
  const DiffOperand after = open_diff_operand(options.operands[1], options.tree, io, report_unread);

  DiffReport report{.before = before.name, .after = after.name, .dependencies = {}, .commands = {}, .files = {}};
  if (before.opened && after.opened) {
    report.are_packages = true;
    report.dependencies = compare_maps(dependency_versions(*before.opened), dependency_versions(*after.opened));
    report.commands = compare_maps(declaring_packages(*before.opened), declaring_packages(*after.opened));
  }
  report.files = vfs::compare_trees(*before.tree, *after.tree);

  if (options.json) {
    print_json(*io.out, diff_json(report, options.only_sum));
  } else if (!report.is_empty()) {
    print_diff(TextWriter(*io.out), report, options.only_sum);
  }
  io.out->flush();
  if (io.out->fail()) {
    throw Error(ErrorCode::kIo, "writing to standard output failed");
  }
  if (const int code = damage.exit_code(); code != kExitOk) {
    return code == kExitDifferent ? kExitTrouble : code;
  }
  return report.is_empty() ? kExitOk : kExitDifferent;
}

}  // namespace

int cmd_diff(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kDiff, args, 2, 2);
  set_log_level(options.log);
  try {
    return compare_and_print(options, io);
  } catch (const Error& error) {
    if (to_exit_code(error.code()) != kExitDifferent) {
      throw;
    }
    *io.err << error_text(error);
    io.out->clear();  // whether it could be written is told
    return kExitTrouble;
  }
}

}  // namespace pkgfs
