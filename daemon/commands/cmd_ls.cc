// SPDX-License-Identifier: MIT
#include <algorithm>
#include <ostream>
#include <vector>

#include "core/vfs/walk.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/text_output.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/damage.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

namespace {

struct Row {
  std::string name;
  std::string target;
  vfs::Attributes attributes;
};

/// The entries of one directory, or the one entry that was asked for.
class Collector final : public vfs::TreeVisitor {
 public:
  /// `modes`: the modes of the rows will be shown. To find them out, some files are read.
  Collector(vfs::FileSystem& fs, bool modes, std::ostream& err) : fs_(fs), modes_(modes), damage_(err) {}

  void add(std::string_view name, vfs::Inode inode, const vfs::Attributes& attributes) {
    Row row{std::string(name), {}, attributes};
    if (attributes.type == vfs::FileType::kSymlink) {
      const auto target = fs_.read_link(inode);
      row.target = target.value_or("?");
      if (!target) {
        damage_.report(name, target.error());
      }
    }
    if (modes_ && attributes.may_be_program) {
      const Result<vfs::Attributes> complete = fs_.metadata(inode);
      if (!complete) {
        damage_.report(name, complete.error());
        return;
      }
      row.attributes = *complete;
    }
    rows_.push_back(std::move(row));
  }

  bool visit(const vfs::WalkStep& step) override {
    if (step.error != 0) {
      damage_.report(step.path, step.error);
    } else {
      add(step.name, step.inode, step.attributes);
    }
    return false;
  }

  void leave(const vfs::WalkStep& step) override {
    if (step.error != 0) {
      damage_.report("/", step.error);
    }
  }

  [[nodiscard]] const std::vector<Row>& rows() const { return rows_; }
  [[nodiscard]] const Damage& damage() const { return damage_; }

 private:
  vfs::FileSystem& fs_;
  bool modes_;
  Damage damage_;
  std::vector<Row> rows_;
};

void print_long(TextWriter out, const std::vector<Row>& rows) {
  std::size_t width = 1;
  for (const Row& row : rows) {
    width = std::max(width, std::to_string(row.attributes.size).size());
  }
  for (const Row& row : rows) {
    out.print("{} {:>{}} {} {}", mode_text(row.attributes), row.attributes.size, width,
              time_text(row.attributes.modified), row.name);
    if (row.attributes.type == vfs::FileType::kSymlink) {
      out << " -> " << row.target;
    }
    out << '\n';
  }
}

}  // namespace

int cmd_ls(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kLs, args, 1, 2);
  set_log_level(options.log);
  const std::string path = options.operands.size() > 1 ? options.operands[1] : "/";
  const OpenedTree opened = open_tree(options.operands[0], options.tree, io);
  vfs::FileSystem& fs = *opened.tree.file_system;
  const Result<vfs::Entry> found = find_path(fs, path, vfs::Follow::kAllButLast);
  if (!found) {
    throw look_up_error("\"" + path + "\" in \"" + options.operands[0] + "\"", found.error());
  }
  Collector collector(fs, options.long_listing, *io.err);
  if (found->attributes.type == vfs::FileType::kDirectory) {
    visit_tree(fs, found->inode, collector);
  } else {
    collector.add(path, found->inode, found->attributes);
  }
  if (options.long_listing) {
    print_long(TextWriter(*io.out), collector.rows());
  } else {
    for (const Row& row : collector.rows()) {
      TextWriter(*io.out) << row.name << '\n';
    }
  }
  return collector.damage().exit_code();
}

}  // namespace pkgfs
