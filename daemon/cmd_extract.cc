// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "core/base/log.h"
#include "daemon/commands.h"
#include "daemon/extractor.h"
#include "daemon/logging.h"
#include "daemon/open_tree.h"
#include "daemon/text_output.h"

namespace pkgfs {

namespace {

struct Target {
  UniqueFd directory;
  bool made = false;
};

/// Makes or opens the directory to write to. Called when the package is known to be good: a failure before that leaves
/// nothing behind.
Target open_target(const std::string& path, bool force) {
  Target target;
  target.made = ::mkdir(path.c_str(), 0700) == 0;
  if (!target.made && errno != EEXIST) {
    throw system_error("Unable to make the directory \"" + path + "\"", errno);
  }
  target.directory.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!target.directory) {
    throw system_error("Unable to open the directory \"" + path + "\"", errno);
  }
  std::error_code failed;
  const bool empty = std::filesystem::is_empty(path, failed);
  if (failed) {
    throw system_error("Unable to read the directory \"" + path + "\"", failed.value());
  }
  if (!empty && !force) {
    throw Error(ErrorCode::kUsage, "The directory \"" + path + "\" isn't empty (--force writes into it)");
  }
  return target;
}

}  // namespace

int cmd_extract(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kExtract, args, 2, 2);
  set_log_level(options.log);
  const std::string& directory = options.operands[1];
  const OpenedTree opened = open_tree(options.operands[0], options.tree);
  Target target = open_target(directory, options.force);
  Extractor extractor(*opened.tree.file_system, std::move(target.directory), directory, *io.err);
  extractor.run(target.made);
  log::info("wrote {} entries, {}, to \"{}\"", extractor.entries(), size_text(extractor.bytes()), directory);
  return extractor.damage().exit_code();
}

}  // namespace pkgfs
