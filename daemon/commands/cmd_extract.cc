// SPDX-License-Identifier: MIT
#include <optional>

#include "core/base/log.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/text_output.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/extractor.h"
#include "daemon/commands/staging.h"
#include "daemon/packages/interrupt.h"
#include "daemon/packages/open_tree.h"
#include "daemon/packages/own_source.h"

namespace pkgfs {

namespace {

/// Writes the tree and returns the exit code. If that fails or is interrupted, the target is as before.
int extract(const OpenedTree& opened, const std::string& path, const Options& options, const Io& io) {
  CancelFlag cancel;
  std::optional<Staging> staging;  // cleans up when the guard is gone: signals end the process again
  const InterruptGuard guard(cancel);
  staging.emplace(path, options.force);
  Extractor extractor(*opened.tree.file_system, staging->open(), {.name = path, .keep_going = options.keep_going},
                      cancel, *io.err);
  extractor.run();
  staging->publish(cancel);
  log::info("wrote {} entries, {}, to \"{}\"", extractor.entries(), size_text(extractor.bytes()), path);
  return extractor.damage().exit_code();
}

}  // namespace

int cmd_extract(const std::vector<std::string>& args, const Io& io) {
  Options options = parse_options(CommandId::kExtract, args, 2, 2);
  set_log_level(options.log);
  options.tree.lazy = Lazy::kOff;  // everything is read: first all of it is compared with its hash
  options.tree.complete_begun = true;
  const std::string& directory = options.operands[1];
  Staging::check(directory, options.force);  // before packages are downloaded
  const OpenedTree opened = open_tree(options.operands[0], options.tree, io);
  refuse_own_source(opened.tree, directory);
  return extract(opened, directory, options, io);
}

}  // namespace pkgfs
