// SPDX-License-Identifier: MIT
#include <limits>
#include <optional>

#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/progress.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {
namespace {

void pull(const Options& options, const Io& io) {
  ProgressEvents events(*io.out);
  TreeFlags flags = options.tree;
  flags.lazy = Lazy::kOff;
  flags.complete_begun = true;
  PackageOpener opener(flags, io, options.json ? &events : nullptr);
  for (const std::string& operand : options.operands) {
    const RootPackage root = opener.find(operand);
    const Resolution resolution = opener.resolve_tree(root);
    const LoadedPackages packages = fetch_packages(root.package, opener.loader(), resolution);
    for (const std::size_t index : resolution.order) {
      const DependencyGraph::Node& node = resolution.graph.nodes.at(index);
      if (!packages.contains(node.pkg.id)) {
        continue;  // the tree doesn't use it
      }
      const std::string id = node.pkg.id.to_string();
      const std::optional<std::string> path = opener.loader().location({.pkg = node.pkg, .dist = node.dist.value()});
      if (options.json) {
        events.tell({{"event", "package"}, {"package", id}, {"path", optional_json(path)}});
      } else {
        TextWriter(*io.out) << id << "  " << path.value_or("(not kept)") << '\n';
      }
    }
  }
}

}  // namespace

int cmd_pull(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kPull, args, 1, std::numeric_limits<std::size_t>::max());
  set_log_level(options.log);
  try {
    pull(options, io);
  } catch (const std::exception& error) {
    if (options.json) {  // a reader of the events learns why they end
      print_json_line(*io.out, {{"event", "error"}, {"message", error.what()}});
    }
    throw;
  }
  return kExitOk;
}

}  // namespace pkgfs
