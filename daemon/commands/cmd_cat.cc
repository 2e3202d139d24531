// SPDX-License-Identifier: MIT
#include <cerrno>
#include <ostream>

#include "core/vfs/read_file.h"
#include "core/vfs/walk.h"
#include "daemon/cli/logging.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/damage.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

namespace {

Result<void> cat(vfs::FileSystem& fs, const std::string& path, std::ostream& out) {
  const Result<vfs::Entry> found = find_path(fs, path, vfs::Follow::kAll);
  if (!found) {
    return fail(found.error());
  }
  if (found->attributes.type == vfs::FileType::kDirectory) {
    return fail(EISDIR);
  }
  Result<void> done = read_file(fs, found->inode, [&out](std::span<const std::byte> bytes) {
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return !out.fail();  // the reader is gone: run_program reports it
  });
  fs.forget(found->inode, 1);
  return done;
}

}  // namespace

int cmd_cat(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kCat, args, 2, static_cast<std::size_t>(-1));
  set_log_level(options.log);
  const OpenedTree opened = open_tree(options.operands[0], options.tree, io);
  Damage damage(*io.err);
  for (std::size_t i = 1; i < options.operands.size() && !io.out->fail(); ++i) {
    if (const auto done = cat(*opened.tree.file_system, options.operands[i], *io.out); !done) {
      damage.report(look_up_error("\"" + options.operands[i] + "\" in the tree", done.error()));
    }
  }
  return damage.exit_code();
}

}  // namespace pkgfs
