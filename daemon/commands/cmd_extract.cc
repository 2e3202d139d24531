// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "core/base/log.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/text_output.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/extractor.h"
#include "daemon/commands/remove_contents.h"
#include "daemon/packages/interrupt.h"
#include "daemon/packages/open_tree.h"
#include "daemon/packages/own_source.h"

namespace pkgfs {

namespace {

struct Target {
  UniqueFd directory;
  bool made = false;
  bool was_empty = false;
};

/// Makes or opens the target directory. The caller has opened the package before, so that a failure to open it leaves
/// no directory behind.
void open_target(const std::string& path, bool force, Target& target) {
  target.made = ::mkdir(path.c_str(), 0700) == 0;
  if (!target.made && errno != EEXIST) {
    throw system_error("Unable to make the directory \"" + path + "\"", errno);
  }
  target.directory.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!target.directory) {
    throw system_error("Unable to open the directory \"" + path + "\"", errno);
  }
  std::error_code failed;
  target.was_empty = std::filesystem::is_empty(path, failed);
  if (failed) {
    throw system_error("Unable to read the directory \"" + path + "\"", failed.value());
  }
  if (!target.was_empty && !force) {
    throw Error(ErrorCode::kUsage, "The directory \"" + path + "\" isn't empty (--force writes into it)");
  }
}

/// Refuses a target inside the package's own directories, before anything is made. It looks at the directory, or at its
/// parent if it doesn't exist yet. Other errors of the path show when the directory is made.
void check_place(const PackageTree& tree, const std::string& path) {
  const std::string parent = (std::filesystem::path(path + "/").parent_path().parent_path() / ".").string();
  for (const std::string& place : {path, parent}) {
    const UniqueFd directory(::open(place.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (directory) {
      refuse_own_source(tree, directory.get(), "The directory \"" + path + "\"");
      return;
    }
  }
}

/// Writes the tree and returns the exit code. If that fails or is interrupted, it removes everything again, unless the
/// directory had contents before.
int extract(const OpenedTree& opened, const std::string& path, bool force, const Io& io) {
  CancelFlag cancel;
  Target target;
  try {
    const InterruptGuard guard(cancel);
    open_target(path, force, target);
    UniqueFd directory(::fcntl(target.directory.get(), F_DUPFD_CLOEXEC, 0));
    Extractor extractor(*opened.tree.file_system, std::move(directory), path, cancel, *io.err);
    extractor.run(target.made);
    log::info("wrote {} entries, {}, to \"{}\"", extractor.entries(), size_text(extractor.bytes()), path);
    return extractor.damage().exit_code();
  } catch (...) {  // the guard is gone: signals end the process again
    if (target.directory && target.was_empty) {
      remove_contents(target.directory.get());
    }
    if (target.made) {
      ::rmdir(path.c_str());
    }
    throw;
  }
}

}  // namespace

int cmd_extract(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kExtract, args, 2, 2);
  set_log_level(options.log);
  const std::string& directory = options.operands[1];
  const OpenedTree opened = open_tree(options.operands[0], options.tree, io);
  check_place(opened.tree, directory);
  return extract(opened, directory, options.force, io);
}

}  // namespace pkgfs
