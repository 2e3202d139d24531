// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <cerrno>
#include <map>
#include <memory>
#include <ostream>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/log.h"
#include "core/base/printable.h"
#include "core/package/package_info.h"
#include "core/vfs/name_index.h"
#include "core/vfs/read_file.h"
#include "core/vfs/walk.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/text_output.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {

namespace {

/// Reads all files of a directory package. It has no hashes, so this is the only possible check.
class ReadEverything final : public vfs::TreeVisitor {
 public:
  ReadEverything(vfs::FileSystem& fs, const std::string& where, bool contents, std::vector<std::string>& problems)
      : fs_(fs), where_(where), contents_(contents), problems_(problems) {}

  bool visit(const vfs::WalkStep& step) override {
    int error = step.error;
    if (error == 0 && contents_ && step.attributes.type == vfs::FileType::kFile) {
      const auto hash = sha256_of(fs_, step.inode);
      error = hash ? 0 : hash.error();
    }
    add(step.path, error);
    return step.attributes.type == vfs::FileType::kDirectory && problems_.size() < webc::kMaxProblems;
  }
  void leave(const vfs::WalkStep& step) override { add(step.path, step.error); }

 private:
  void add(std::string_view path, int error) {
    if (error != 0 && problems_.size() < webc::kMaxProblems) {
      const Error failure = system_error(where_ + ": \"" + std::string(path) + "\"", error);
      if (failure.is_of_machine()) {
        throw Error(failure);
      }
      problems_.emplace_back(failure.message());
    }
  }

  vfs::FileSystem& fs_;
  const std::string& where_;
  bool contents_;
  std::vector<std::string>& problems_;
};

std::vector<std::string> problems_of(const Package& package, bool contents) {
  if (package.container() != nullptr) {
    return webc::verify(*package.container(), contents ? webc::VerifyDepth::kContent : webc::VerifyDepth::kStructure);
  }
  std::vector<std::string> problems;
  for (const std::string& name : package.volume_names()) {
    const auto volume = package.open_volume(name);
    if (volume == nullptr) {
      continue;
    }
    const auto root = volume->metadata(volume->root());
    if (root && root->type != vfs::FileType::kDirectory) {
      continue;  // the host path is a file
    }
    ReadEverything visitor(*volume, package.name(), contents, problems);
    visit_tree(*volume, volume->root(), visitor);
  }
  return problems;
}

/// The directories that mappings show: name of the volume and path in it.
using Sources = std::set<std::pair<std::string, std::string>>;

/// Adds the directories of a package's mappings of its own volumes.
void add_own_sources(const Package& package, Sources& sources) {
  try {
    const auto mappings = package.manifest().fs();
    for (std::size_t i = 0; mappings && i < mappings->size(); ++i) {
      const webc::FsEntry& entry = (*mappings)[i];
      if (!entry.from && entry.host_path) {
        sources.emplace(entry.volume_name, sanitize_path(*entry.host_path));
      }
    }
  } catch (const Error& error) {
    log::debug("reported as a problem of the manifest: {}", error);
  }
}

/// Adds a problem for each directory that doesn't exist. Only versions 1 and 2 map directories; version 3 maps whole
/// volumes. Other code checks that volumes exist, and reports damage.
void check_sources(const std::string& id, const Package& package, const Sources& sources,
                   std::vector<std::string>& problems) {
  if (package.is_live() || package.webc_version() >= 3) {
    return;
  }
  std::map<std::string, std::unique_ptr<vfs::FileSystem>> volumes;
  vfs::NameIndex index;
  for (const auto& [volume_name, path] : sources) {
    const auto [opened, added] = volumes.try_emplace(volume_name);
    if (added) {
      opened->second = package.open_volume(volume_name);
    }
    vfs::FileSystem* const volume = path == "/" ? nullptr : opened->second.get();
    if (volume == nullptr) {
      continue;
    }
    const auto found = index.find(*volume, false, path);
    const bool missing = !found && (found.error() == ENOENT || found.error() == ENOTDIR);
    if (missing || (found && found->attributes.type != vfs::FileType::kDirectory)) {
      problems.push_back(
          fmt::format("{}: manifest: the package \"{}\" has no directory \"{}\" in its volume \"{}\", which is mapped",
                      package.name(), id, shortened(path), volume_name));
    }
  }
}

/// Prints the problems of each package and remembers whether there was one.
class Report {
 public:
  Report(const Io& io, const Options& options) : io_(io), options_(options) {}

  /// `sources`: the directories of the package that other packages map.
  void add(const std::string& id, const Package& package, Sources sources) {
    std::vector<std::string> problems = problems_of(package, !options_.structure);
    add_own_sources(package, sources);
    check_sources(id, package, sources, problems);
    sound_ = sound_ && problems.empty();
    if (options_.json) {
      packages_.push_back({{"package", id}, {"source", package.name()}, {"problems", problems}});
      return;
    }
    TextWriter(*io_.out) << (problems.empty() ? "ok       " : "damaged  ") << id << "  " << package.name() << '\n';
    for (const std::string& problem : problems) {
      TextWriter(*io_.out) << "  " << problem << '\n';
    }
    io_.out->flush();
  }

  void finish() {
    if (options_.json) {
      print_json(*io_.out, {{"ok", sound_}, {"packages", packages_}});
    }
  }

  [[nodiscard]] bool sound() const { return sound_; }

 private:
  const Io& io_;
  const Options& options_;
  nlohmann::json packages_ = nlohmann::json::array();
  bool sound_ = true;
};

std::string label(const RootPackage& root) {
  try {
    return info_of(root).id.to_string();
  } catch (const Error&) {
    return root.package->name();  // the resolver reports the error
  }
}

/// Checks the dependencies as far as possible; the root may be damaged.
void check_tree(PackageOpener& opener, const RootPackage& root, const TreeFlags& flags, Report& report) {
  const Resolution resolution = opener.resolve_tree(root);
  std::map<PackageId, Sources> sources;
  for (const ResolvedMapping& mapping : resolution.package.filesystem) {
    if (mapping.original_path) {
      sources[mapping.package].emplace(mapping.volume_name, sanitize_path(*mapping.original_path));
    }
  }
  for (const std::size_t index : resolution.order) {
    const auto& node = resolution.graph.nodes.at(index);
    if (node.dist && index != 0) {  // the root was reported before
      report.add(node.pkg.id.to_string(), *opener.loader().load({node.pkg, *node.dist}),
                 std::move(sources[node.pkg.id]));
    }
  }
  if (report.sound()) {
    (void)load_package_tree(root.package, opener.loader(), resolution, tree_options(flags));
  }
}

}  // namespace

int cmd_verify(const std::vector<std::string>& args, const Io& io) {
  Options options = parse_options(CommandId::kVerify, args, 1, 1);
  set_log_level(options.log);
  options.tree.lazy = Lazy::kOff;  // everything is read
  options.tree.complete_begun = true;
  // The packages are opened without checks: one problem would hide the others.
  PackageOpener opener(options.tree, unchecked_options(options.tree), io);
  const RootPackage root = opener.open(options.operands[0]);
  Report report(io, options);
  report.add(label(root), *root.package, {});
  try {
    check_tree(opener, root, options.tree, report);
  } catch (const Error& error) {
    report.finish();
    if (report.sound() || error.is_of_run()) {
      throw;
    }
    *io.err << error_text(error);
    return to_exit_code(ErrorCode::kCorrupt);
  }
  report.finish();
  return report.sound() ? kExitOk : to_exit_code(ErrorCode::kCorrupt);
}

}  // namespace pkgfs
