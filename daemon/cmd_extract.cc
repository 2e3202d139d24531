// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "core/base/log.h"
#include "core/load/directory_package.h"
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

/// Whether `directory` is `ancestor` or lies below it.
bool is_below(int directory, int ancestor) {
  struct stat wanted{};
  struct stat here{};
  if (::fstat(ancestor, &wanted) != 0 || ::fstat(directory, &here) != 0) {
    return false;
  }
  UniqueFd current(::openat(directory, ".", O_PATH | O_CLOEXEC));
  while (current) {
    if (here.st_dev == wanted.st_dev && here.st_ino == wanted.st_ino) {
      return true;
    }
    UniqueFd parent(::openat(current.get(), "..", O_PATH | O_CLOEXEC));
    struct stat above{};
    if (!parent || ::fstat(parent.get(), &above) != 0 || (above.st_dev == here.st_dev && above.st_ino == here.st_ino)) {
      return false;  // the root
    }
    here = above;
    current = std::move(parent);
  }
  return false;
}

/// A live directory that is written into itself would grow until the disk is full.
void refuse_own_source(const Package& root, int directory, const std::string& path) {
  const auto* live = dynamic_cast<const DirectoryPackage*>(&root);
  if (live == nullptr) {
    return;
  }
  for (const auto& volume : live->host_volumes()) {
    if (!volume.is_file && is_below(directory, volume.fd.get())) {
      throw Error(ErrorCode::kUsage,
                  "The directory \"" + path + "\" lies in \"" + volume.host + "\", which is part of the package");
    }
  }
}

}  // namespace

int cmd_extract(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kExtract, args, 2, 2);
  set_log_level(options.log);
  const std::string& directory = options.operands[1];
  const OpenedTree opened = open_tree(options.operands[0], options.tree);
  Target target = open_target(directory, options.force);
  refuse_own_source(*opened.root, target.directory.get(), directory);
  Extractor extractor(*opened.tree.file_system, std::move(target.directory), directory, *io.err);
  extractor.run(target.made);
  log::info("wrote {} entries, {}, to \"{}\"", extractor.entries(), size_text(extractor.bytes()), directory);
  return extractor.damage().exit_code();
}

}  // namespace pkgfs
