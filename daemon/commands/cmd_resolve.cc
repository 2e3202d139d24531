// SPDX-License-Identifier: MIT
#include <filesystem>
#include <set>
#include <utility>

#include "core/base/files.h"
#include "core/base/log.h"
#include "core/cache/file_hash.h"
#include "core/cache/profile_files.h"
#include "core/lazy/access_profile.h"
#include "core/resolve/lock_file.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

namespace {

/// Prints the graph as an indented list. A package that was listed before is marked, and its dependencies aren't
/// repeated. It is iterative because a chain of dependencies can be as long as the resolver allows.
void print_graph(TextWriter out, const DependencyGraph& graph) {
  struct Item {
    std::size_t node;
    std::string alias;
    std::string prefix;  // of its own children
    std::string lead;    // of its own line
  };
  std::set<std::size_t> seen;
  std::vector<Item> pending{{0, {}, {}, {}}};
  while (!pending.empty()) {
    const Item item = std::move(pending.back());
    pending.pop_back();
    const auto& node = graph.nodes.at(item.node);
    const std::string id = node.pkg.id.to_string();
    const bool again = !seen.insert(item.node).second && !node.edges.empty();
    out << item.lead << id;
    if (!item.alias.empty() && !id.starts_with(item.alias + "@")) {
      out << " (as " << item.alias << ')';
    }
    out << (again ? " (see above)\n" : "\n");
    for (std::size_t i = again ? 0 : node.edges.size(); i > 0; --i) {
      const auto& edge = node.edges[i - 1];
      const bool last = i == node.edges.size();
      pending.push_back(
          {edge.target, edge.alias, item.prefix + (last ? "    " : "│   "), item.prefix + (last ? "└── " : "├── ")});
    }
  }
}

void print_plain(TextWriter out, const Resolution& resolution) {
  print_graph(out, resolution.graph);
  const ResolvedPackage& package = resolution.package;
  if (!package.filesystem.empty()) {
    out << "\nfile system, earlier lines hide later ones:\n";
  }
  for (const ResolvedMapping& mapping : package.filesystem) {
    out << "  " << mapping.mount_path << "  \"" << mapping.volume_name << "\" of " << mapping.package.to_string();
    if (mapping.original_path) {
      out << ", below " << *mapping.original_path;
    }
    out << '\n';
  }
  if (!package.commands.empty()) {
    out << "\ncommands:\n";
  }
  for (const auto& [name, command] : package.commands) {
    out << "  " << name << "  " << command.package.to_string() << (package.entrypoint == name ? "  (entrypoint)" : "")
        << '\n';
  }
}

/// Adds what lazy mounts on this machine recorded of each package.
void add_profiles(Resolution& resolution, const std::string& cache) {
  bool any = false;
  for (auto& node : resolution.graph.nodes) {
    DistributionInfo& dist = *node.dist;
    if (dist.path || !dist.webc_sha256) {
      continue;  // it is on this machine
    }
    const auto text = profile_files::read(cache, *dist.webc_sha256, AccessProfile::kMostText);
    try {
      if (text) {
        (void)AccessProfile::parse(*text);
        dist.profile = *text;
        any = true;
      }
    } catch (const Error& error) {
      log::warn("the profile of \"{}\" is left out: {}", node.pkg.id.to_string(), error);
    }
  }
  if (!any) {
    log::warn("no lazy mount on this machine has recorded which parts of these packages it needed (--with-profile)");
  }
}

/// Writes the lock file. All packages in it have a hash but directories, whose contents can change.
void write_lock(const std::string& path, Resolution resolution) {
  for (auto& node : resolution.graph.nodes) {
    if (!node.dist->path && !node.dist->webc_sha256) {
      throw Error(ErrorCode::kInternal, "the hash of \"" + node.dist->url + "\" isn't known, so it can't be locked");
    }
    if (node.dist->path && !node.dist->webc_sha256) {
      if (std::filesystem::is_regular_file(*node.dist->path)) {
        node.dist->webc_sha256 = hash_file(*node.dist->path);
      } else {
        log::warn("the directory \"{}\" is locked by its path only: its contents may change", *node.dist->path);
      }
    }
  }
  write_named_file(path, print_lock(make_lock(resolution)));
}

}  // namespace

int cmd_resolve(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kResolve, args, 1, 1);
  set_log_level(options.log);
  if (options.json && options.dot) {
    throw Error(ErrorCode::kUsage, "--json and --dot exclude each other");
  }
  if (options.with_profile && !options.tree.network.lock) {
    throw Error(ErrorCode::kUsage, "--with-profile is for a lock file: --lock=FILE is missing");
  }
  TreeFlags flags = options.tree;
  const std::optional<std::string> lock = std::exchange(flags.network.lock, std::nullopt);  // this command writes it
  if (lock) {
    flags.lazy = Lazy::kOff;  // the file states the hash of each package, also of one that a URL names
    flags.complete_begun = true;
  }
  PackageOpener opener(flags, io);
  if (lock) {
    opener.ask_for_urls();
  }
  Resolution resolution = opener.resolve_tree(opener.find(options.operands[0]));
  if (options.with_profile) {
    add_profiles(resolution, opener.packages_directory());
  }
  if (lock) {
    write_lock(*lock, resolution);
  }
  if (options.json) {
    print_json(*io.out, resolution_json(resolution));
  } else if (options.dot) {
    TextWriter(*io.out).print_lines(to_dot(resolution.graph));
  } else {
    print_plain(TextWriter(*io.out), resolution);
  }
  return kExitOk;
}

}  // namespace pkgfs
