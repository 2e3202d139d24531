// SPDX-License-Identifier: MIT
#include <algorithm>

#include "core/vfs/read_file.h"
#include "core/vfs/walk.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/text_output.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/damage.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

namespace {

class PlainTree final : public vfs::TreeVisitor {
 public:
  PlainTree(vfs::FileSystem& fs, const Io& io) : fs_(fs), out_(*io.out), damage_(*io.err) {}

  bool visit(const vfs::WalkStep& step) override {
    out_ << prefix_ << (step.last ? "└── " : "├── ") << step.name;
    if (step.error != 0) {
      damage_.report(step.path, step.error);
      out_ << "  [can't be read]\n";
      return false;
    }
    if (step.attributes.type == vfs::FileType::kSymlink) {
      const auto target = fs_.read_link(step.inode);
      out_ << " -> " << (target ? std::string_view(*target) : "?");
      if (!target) {
        damage_.report(step.path, target.error());
      }
    }
    out_ << '\n';
    const bool directory = step.attributes.type == vfs::FileType::kDirectory;
    ++(directory ? directories_ : files_);
    if (directory) {
      prefix_ += step.last ? kBlank : kBar;
    }
    return directory && !out_.fail();
  }

  void leave(const vfs::WalkStep& step) override {
    if (step.error != 0) {
      damage_.report(step.path, step.error);
    }
    const std::string_view added = step.last ? kBlank : kBar;
    if (prefix_.size() >= added.size()) {  // the root has no prefix
      prefix_.resize(prefix_.size() - added.size());
    }
  }

  int finish() {
    out_ << '\n'
         << directories_ << (directories_ == 1 ? " directory, " : " directories, ") << files_
         << (files_ == 1 ? " file\n" : " files\n");
    return damage_.exit_code();
  }

 private:
  static constexpr std::string_view kBlank = "    ";
  static constexpr std::string_view kBar = "│   ";

  vfs::FileSystem& fs_;
  TextWriter out_;
  Damage damage_;
  std::string prefix_;
  std::size_t directories_ = 0;
  std::size_t files_ = 0;
};

/// Prints all entries as JSON, sorted by path. It collects them first, because a walk visits `/a/b` before `/a.b`.
class JsonTree final : public vfs::TreeVisitor {
 public:
  JsonTree(vfs::FileSystem& fs, const Io& io) : fs_(fs), io_(io), damage_(*io.err) {}

  bool visit(const vfs::WalkStep& step) override {
    if (step.error == 0) {
      add(step);
    } else {
      damage_.report(step.path, step.error);
    }
    return step.attributes.type == vfs::FileType::kDirectory;
  }

  void leave(const vfs::WalkStep& step) override {
    if (step.error != 0) {
      damage_.report(step.path, step.error);
    }
  }

  int finish() {
    std::ranges::sort(entries_);
    JsonListPrinter list(*io_.out);
    for (const auto& [path, entry] : entries_) {
      list.add(entry);
    }
    list.finish();
    return damage_.exit_code();
  }

 private:
  void add(const vfs::WalkStep& step) {
    std::optional<Sha256> sha256;
    std::string target;
    if (step.attributes.type == vfs::FileType::kFile) {
      const auto hash = sha256_of(fs_, step.inode);
      if (!hash) {
        damage_.report(step.path, hash.error());
        return;
      }
      sha256 = *hash;
    } else if (step.attributes.type == vfs::FileType::kSymlink) {
      const auto text = fs_.read_link(step.inode);
      if (!text) {
        damage_.report(step.path, text.error());
        return;
      }
      target = *text;
    }
    entries_.emplace_back(step.path, json_line(entry_json(step.path, step.attributes, sha256, target)));
  }

  vfs::FileSystem& fs_;
  const Io& io_;
  Damage damage_;
  std::vector<std::pair<std::string, std::string>> entries_;
};

}  // namespace

int cmd_tree(const std::vector<std::string>& args, const Io& io) {
  Options options = parse_options(CommandId::kTree, args, 1, 1);
  set_log_level(options.log);
  if (options.json && !options.tree.times) {
    options.tree.times = vfs::Times::kStored;  // the JSON says what the packages hold
  }
  const OpenedTree opened = open_tree(options.operands[0], options.tree, io);
  vfs::FileSystem& fs = *opened.tree.file_system;
  if (options.json) {
    JsonTree tree(fs, io);
    visit_tree(fs, fs.root(), tree);
    return tree.finish();
  }
  PlainTree tree(fs, io);
  TextWriter(*io.out) << opened.tree.id.to_string()
                      << (options.tree.view == View::kPackage
                              ? ": atoms in /atoms/, files in /volumes/ and /metadata/, dependencies in /packages/\n"
                              : "\n");
  visit_tree(fs, fs.root(), tree);
  return tree.finish();
}

}  // namespace pkgfs
