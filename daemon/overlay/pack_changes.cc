// SPDX-License-Identifier: MIT
#include "daemon/overlay/pack_changes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/load/pack.h"
#include "core/package/wasmer_toml.h"
#include "core/vfs/walk.h"
#include "daemon/overlay/merged_tree.h"

namespace pkgfs {
namespace {

constexpr const char* kVolume = "/files";
constexpr std::uint64_t kMostAtom = 4ULL << 30U;

/// A file of the package. The bytes stay in its container.
webc::Content content_of(vfs::FileSystem& fs, vfs::Inode inode, const std::string& path) {
  if (const Result<vfs::Extent> extent = fs.extent(inode)) {
    // The file system keeps the source.
    const std::shared_ptr<const ByteSource> source(std::shared_ptr<const ByteSource>(), extent->source);
    return Blob{.source = source, .offset = extent->run.offset, .length = extent->run.length, .sha256 = {}};
  }
  Result<std::unique_ptr<vfs::OpenFile>> file = fs.open(inode);
  std::string text;
  std::vector<std::byte> piece(1U << 20U);
  while (file) {
    const Result<std::size_t> got = (*file)->read(text.size(), piece);
    if (!got) {
      throw system_error("\"" + path + "\" of the package", got.error());
    }
    if (*got == 0) {
      return text;
    }
    text.append(reinterpret_cast<const char*>(piece.data()), *got);
  }
  throw system_error("\"" + path + "\" of the package", file.error());
}

std::uint64_t time_of(const vfs::Attributes& attributes) {
  return attributes.modified == vfs::Attributes{}.modified ? 0 : packed_time(attributes.modified);
}

/// The programs of commands that were changed or removed.
struct ChangedCommands {
  std::set<std::string> names;               // that the package declares and shows as files
  std::string directory;                     // of these files, with a leading "/"; empty: there is none
  std::set<std::string> removed;             // by a mark among the changes
  std::map<std::string, std::string> atoms;  // the path of the new program among the changes, by command
};

/// A directory of what the mount shows.
class PackedMerged final : public PackedDirectory {
 public:
  PackedMerged(const MergedTree& tree, ChangedCommands& commands, MergedTree::Directory directory, std::string path)
      : tree_(tree), commands_(commands), directory_(std::move(directory)), path_(std::move(path)) {}

  [[nodiscard]] std::vector<Entry> entries() const override {
    std::vector<Entry> packed;
    for (const MergedTree::Entry& entry : tree_.entries(directory_)) {
      add(entry, packed);
    }
    return packed;
  }

 private:
  void add(const MergedTree::Entry& entry, std::vector<Entry>& packed) const {
    const std::string path = path_ + "/" + entry.name;
    Entry made;
    made.node.name = entry.name;
    if (entry.upper) {
      refuse_moved_commands(*entry.upper, path);
      if (S_ISREG(entry.upper->status.st_mode) && path_ == commands_.directory && !entry.base &&
          commands_.names.contains(entry.name)) {
        commands_.atoms[entry.name] = upper_path(entry.name);
        return;
      }
      add_changed(*entry.upper, path, made);
    } else {
      add_packaged(*entry.base, path, made);
    }
    const bool is_directory =
        entry.upper ? S_ISDIR(entry.upper->status.st_mode) : entry.base->attributes.type == vfs::FileType::kDirectory;
    if (is_directory) {
      made.directory = std::make_unique<PackedMerged>(tree_, commands_, tree_.enter(directory_, entry), path);
    }
    packed.push_back(std::move(made));
  }

  /// The files of commands are no files of a package, so a directory that shows them elsewhere would lack them.
  void refuse_moved_commands(const UpperEntry& entry, const std::string& path) const {
    if (!entry.redirect || commands_.names.empty()) {
      return;
    }
    const std::string from = entry.redirect->starts_with('/') ? *entry.redirect : path_ + "/" + *entry.redirect;
    if (is_below(commands_.directory, from)) {
      throw Error(ErrorCode::kUnsupported,
                  {"\"" + from + "\" was moved to \"" + path + "\", with the programs of the package's commands",
                   "move it back, or mount the package with --no-commands"});
    }
  }

  [[nodiscard]] std::string upper_path(const std::string& name) const {
    return directory_.upper->empty() ? name : *directory_.upper + "/" + name;
  }

  void add_changed(const UpperEntry& entry, const std::string& path, Entry& made) const {
    made.node.modified = packed_time(entry.status.st_mtim.tv_sec);
    if (S_ISREG(entry.status.st_mode)) {
      made.node.kind = webc::EntryKind::kFile;
      made.node.content = webc::HostFile{.name = path, .open = [name = upper_path(entry.name), &tree = tree_] {
                                           return tree.upper().open(name, O_RDONLY | O_NONBLOCK);
                                         }};
    } else if (S_ISLNK(entry.status.st_mode)) {
      made.node.kind = webc::EntryKind::kSymlink;
      made.node.target = entry.target;
    } else if (!S_ISDIR(entry.status.st_mode)) {
      throw Error(ErrorCode::kUnsupported, "\"" + path + "\" is a device, FIFO or socket, which a package can't hold");
    }
  }

  void add_packaged(const vfs::Entry& entry, const std::string& path, Entry& made) const {
    made.node.modified = time_of(entry.attributes);
    if (entry.attributes.type == vfs::FileType::kFile) {
      made.node.kind = webc::EntryKind::kFile;
      made.node.content = content_of(tree_.base(), entry.inode, path);
    } else if (entry.attributes.type == vfs::FileType::kSymlink) {
      const Result<std::string_view> target = tree_.base().read_link(entry.inode);
      if (!target) {
        throw system_error("\"" + path + "\" of the package", target.error());
      }
      made.node.kind = webc::EntryKind::kSymlink;
      made.node.target = *target;
    }
  }

  const MergedTree& tree_;
  ChangedCommands& commands_;
  MergedTree::Directory directory_;
  std::string path_;
};

/// The commands whose files are removed by marks. The tree below has no such files, so the marks hide nothing there.
void find_removed(const UpperTree& upper, ChangedCommands& commands) {
  if (commands.directory.empty()) {
    return;
  }
  std::string path;
  for (std::string_view left = std::string_view(commands.directory).substr(1); !left.empty();) {
    const std::size_t slash = left.find('/');
    const std::string name(left.substr(0, slash));
    left.remove_prefix(slash == std::string_view::npos ? left.size() : slash + 1);
    const std::vector<UpperEntry> entries = upper.entries(path);
    const auto found = std::ranges::find(entries, name, &UpperEntry::name);
    if (found == entries.end()) {
      return;
    }
    if (found->is_removed || found->is_opaque || !S_ISDIR(found->status.st_mode)) {
      commands.removed = commands.names;
      if (found->is_removed || !S_ISDIR(found->status.st_mode)) {
        return;
      }
    }
    path += (path.empty() ? "" : "/") + name;
  }
  for (const UpperEntry& entry : upper.entries(path)) {
    if (entry.is_removed) {
      commands.removed.insert(entry.name);
    }
  }
}

/// The atoms and commands of the new package.
class Programs {
 public:
  Programs(const OpenedTree& opened, const UpperTree& upper, const ChangedCommands& changed)
      : opened_(opened), upper_(upper), changed_(changed) {}

  void add_to(PackageParts& parts) && {
    const Package& root = *opened_.root;
    for (const webc::Atom& atom : root.atoms()) {
      names_.insert(atom.name);
    }
    std::set<std::string> replaced;
    for (const LoadedCommand& command : opened_.tree.commands) {
      const bool is_new = changed_.atoms.contains(command.name);
      if (changed_.removed.contains(command.name) && !is_new) {
        continue;
      }
      webc::Command made = command.metadata;
      if (const std::optional<webc::AtomRef> atom = webc::command_atom(made)) {
        const std::string name = is_new ? add_changed(command, *atom, replaced) : add_stored(command, *atom);
        point_to(made, name);
      }
      parts.manifest.commands.push_back(std::move(made));
    }
    for (const webc::Atom& atom : root.atoms()) {
      if (!replaced.contains(atom.name)) {
        add(root, atom, atom.name);
      }
    }
    for (auto& [name, atom] : atoms_) {
      parts.atoms.push_back(std::move(atom.first));
      parts.manifest.atoms.push_back(std::move(atom.second));
    }
  }

 private:
  void add(const Package& package, const webc::Atom& atom, const std::string& name) {
    if (atoms_.contains(name)) {
      return;
    }
    const webc::AtomEntry* stored = package.manifest().find_atom(atom.name);
    webc::AtomEntry entry = stored != nullptr ? *stored : webc::AtomEntry{};
    entry.name = name;
    atoms_.emplace(name, std::pair(webc::Atom{.name = name, .body = atom.body, .mode = {}}, std::move(entry)));
  }

  [[nodiscard]] std::string unused(const std::string& wanted) {
    std::string name = wanted;
    for (int number = 2; names_.contains(name); ++number) {
      name = wanted + "-" + std::to_string(number);
    }
    names_.insert(name);
    return name;
  }

  /// An atom of the package keeps its name; one of a dependency may need another.
  std::string add_stored(const LoadedCommand& command, const webc::AtomRef& ref) {
    const Package& owner = *opened_.tree.packages.at(command.origin_package);
    if (command.origin_package == opened_.tree.id) {
      return ref.name;
    }
    const auto [known, is_new] = renamed_.try_emplace({command.origin_package.to_string(), ref.name});
    if (is_new) {
      known->second = unused(ref.name);
      if (const webc::Atom* atom = owner.find_atom(ref.name)) {
        add(owner, *atom, known->second);
      }
    }
    return known->second;
  }

  std::string add_changed(const LoadedCommand& command, const webc::AtomRef& ref, std::set<std::string>& replaced) {
    const std::string& path = changed_.atoms.at(command.name);
    UniqueFd file = upper_.open(path, O_RDONLY | O_NONBLOCK);
    if (!file) {
      throw system_error("\"/" + path + "\"", errno);
    }
    const std::string text = read_to_end(file.get(), kMostAtom, "Unable to read \"/" + path + "\"");
    std::string name = ref.name;
    const bool is_own = command.origin_package == opened_.tree.id && !is_shared(command, ref);
    if (is_own) {
      replaced.insert(name);
    } else {
      name = unused(ref.name);
    }
    webc::AtomEntry entry{.name = name,
                          .kind = "https://webc.org/kind/wasm",
                          .signature = webc::atom_signature(sha256(text)),
                          .annotations = webc::Json::object()};
    if (const std::vector<std::string> features = wasm_features(text); !features.empty()) {
      entry.annotations["wasm"] = {{"features", features}};
    }
    const auto bytes = std::as_bytes(std::span(text));
    const auto source =
        std::make_shared<const MemoryBytes>("/" + path, std::vector<std::byte>(bytes.begin(), bytes.end()));
    atoms_.insert_or_assign(
        name,
        std::pair(webc::Atom{.name = name, .body = {.source = source, .offset = 0, .length = text.size()}, .mode = {}},
                  std::move(entry)));
    return name;
  }

  /// Whether another command runs the atom, too.
  [[nodiscard]] bool is_shared(const LoadedCommand& command, const webc::AtomRef& ref) const {
    return std::ranges::any_of(opened_.tree.commands, [&](const LoadedCommand& other) {
      const std::optional<webc::AtomRef> atom = webc::command_atom(other.metadata);
      return other.name != command.name && other.origin_package == command.origin_package && atom &&
             atom->name == ref.name;
    });
  }

  static void point_to(webc::Command& command, const std::string& atom) {
    if (command.annotations.contains("atom") || !command.annotations.contains("wasi")) {
      command.annotations["atom"] = {{"name", atom}, {"dependency", nullptr}};
    }
    for (const char* const key : {"wasi", "emscripten"}) {
      const auto found = command.annotations.find(key);
      if (found != command.annotations.end() && found->is_object() && found->contains("atom")) {
        (*found)["atom"] = atom;
      }
    }
  }

  const OpenedTree& opened_;
  const UpperTree& upper_;
  const ChangedCommands& changed_;
  std::set<std::string> names_;
  std::map<std::pair<std::string, std::string>, std::string> renamed_;
  std::map<std::string, std::pair<webc::Atom, webc::AtomEntry>> atoms_;
};

/// The license, the readme and what else the package's volume `metadata` has.
void copy_metadata(const Package& root, vfs::FileSystem* volume, PackageParts& parts) {
  if (volume == nullptr) {
    return;
  }
  for (vfs::TreeWalk walk(*volume, volume->root()); walk.next();) {
    const vfs::WalkStep& step = walk.step();
    if (step.error != 0) {
      throw system_error("\"" + root.name() + "\", volume \"metadata\"", step.error);
    }
    if (step.leaving || step.attributes.type != vfs::FileType::kFile) {
      continue;
    }
    const Result<vfs::Extent> extent = volume->extent(step.inode);
    if (!extent) {
      throw system_error("\"" + root.name() + "\", volume \"metadata\"", extent.error());
    }
    parts.metadata_files.push_back({.path = std::string(step.path),
                                    .body = {.source = {std::shared_ptr<const ByteSource>(), extent->source},
                                             .offset = extent->run.offset,
                                             .length = extent->run.length},
                                    .modified = static_cast<std::int64_t>(time_of(step.attributes)),
                                    .mode = {}});
  }
  std::ranges::sort(parts.metadata_files, {}, &MetadataFile::path);
}

}  // namespace

void pack_changes(const ChangesDirectory& changes, const OpenedTree& opened,
                  const std::optional<std::string>& commands_dir, int fd, std::optional<std::uint64_t> latest) {
  const UpperTree upper(changes.upper(), changes.record().engine);
  const MergedTree tree(upper, *opened.tree.file_system);
  ChangedCommands commands{.names = {}, .directory = commands_dir.value_or(""), .removed = {}, .atoms = {}};
  for (const LoadedCommand& command : opened.tree.commands) {
    commands.names.insert(command.name);
  }
  find_removed(upper, commands);
  MergedTree::Directory root = tree.root();
  if (upper.is_opaque("")) {
    root.base.reset();
  }
  PackedVolumes volumes;
  volumes.emplace_back(kVolume, pack_volume(std::make_unique<PackedMerged>(tree, commands, std::move(root), "")));

  PackageParts parts;
  parts.manifest.package = opened.root->manifest().package;
  parts.manifest.package["fs"] =
      webc::Json::array({{{"from", nullptr}, {"volume_name", kVolume}, {"mount_path", "/"}}});
  Programs(opened, upper, commands).add_to(parts);
  if (opened.tree.entrypoint && parts.manifest.find_command(*opened.tree.entrypoint) != nullptr) {
    parts.manifest.entrypoint = opened.tree.entrypoint;
  }
  const std::unique_ptr<vfs::FileSystem> metadata = opened.root->open_volume("metadata");
  copy_metadata(*opened.root, metadata.get(), parts);
  write_package(parts, std::move(volumes), fd, latest);
}

}  // namespace pkgfs
