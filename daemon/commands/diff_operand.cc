// SPDX-License-Identifier: MIT
#include "daemon/commands/diff_operand.h"

#include <fcntl.h>
#include <sys/xattr.h>

#include <filesystem>
#include <map>
#include <utility>

#include "core/base/unique_fd.h"
#include "core/resolve/lock_file.h"
#include "core/source/reach.h"
#include "core/vfs/host_file_system.h"
#include "daemon/mount/mount_table.h"
#include "daemon/packages/locked_packages.h"

namespace pkgfs {

namespace {

namespace stdfs = std::filesystem;

/// The hash is unknown if all its bytes are zero: some manifests state none for an atom.
std::optional<Sha256> known(const std::optional<Sha256>& hash) { return hash == Sha256{} ? std::nullopt : hash; }

/// The merged tree of packages. A file that is at the same place of the same container is the same.
class ComparedPackages final : public vfs::ComparedTree {
 public:
  ComparedPackages(const OpenedTree& opened, UnreadReport report)
      : ComparedTree(*opened.tree.file_system), report_(std::move(report)) {
    for (const auto& node : opened.resolution.graph.nodes) {
      if (node.dist && node.dist->webc_sha256) {
        containers_.emplace(node.pkg.id.to_string(), to_hex(*node.dist->webc_sha256));
      }
    }
  }

  vfs::FileIdentity identity(const vfs::WalkStep& file) override {
    const Result<vfs::Origin> origin = fs().origin(file.inode);
    if (!origin) {
      return {};
    }
    vfs::FileIdentity identity{.sha256 = known(origin->sha256), .place = {}};
    const auto container = containers_.find(origin->package);
    if (container != containers_.end() && !origin->path.empty()) {
      identity.place = container->second + '\0' + origin->volume + '\0' + origin->path;
    }
    return identity;
  }
  void report(std::string_view path, int error) override { report_(path, error); }

 private:
  UnreadReport report_;
  std::map<std::string, std::string, std::less<>> containers_;  // hashes by package
};

/// A directory of the host. If it is a mount of pkgfs, the mount tells the stored hashes.
class ComparedDirectory final : public vfs::ComparedTree {
 public:
  ComparedDirectory(vfs::FileSystem& fs, std::string path, bool is_mount, UnreadReport report)
      : ComparedTree(fs), path_(std::move(path)), is_mount_(is_mount), report_(std::move(report)) {}

  vfs::FileIdentity identity(const vfs::WalkStep& file) override {
    if (!is_mount_) {
      return {};
    }
    char text[2 * Sha256{}.size() + 1];
    const std::string path = path_ + std::string(file.path);
    const ssize_t size = ::lgetxattr(path.c_str(), "user.pkgfs.sha256", text, sizeof(text));
    return {.sha256 = size > 0 ? known(sha256_from_hex({text, static_cast<std::size_t>(size)})) : std::nullopt,
            .place = {}};
  }
  void report(std::string_view path, int error) override { report_(path, error); }

 private:
  std::string path_;
  bool is_mount_;
  UnreadReport report_;
};

/// The lock file at `path`; nothing if the file is none.
std::optional<LockFile> read_lock(const std::string& path) {
  std::error_code failed;
  if (!stdfs::is_regular_file(path, failed)) {
    return std::nullopt;
  }
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char first = '\0';
  if (!file || ::pread(file.get(), &first, 1, 0) != 1 || first != '{') {
    return std::nullopt;  // a container or a tarball, or what opening a package refuses
  }
  return parse_lock_file(path);
}

/// The PACKAGE that asks a lock file for its first package.
std::string root_of(const LockFile& lock, const std::string& path) {
  const PackageSummary& root = lock.packages.front().summary;
  if (is_of_artifact(root.dist)) {
    return *root.dist.registry;
  }
  if (root.dist.registry) {
    const NamedId* id = root.pkg.id.named();
    return id == nullptr ? root.pkg.id.to_string() : id->full_name + "@=" + id->version.to_string();
  }
  if (root.dist.path) {
    throw Error(ErrorCode::kPermission, "the lock file \"" + path + "\" is for the package at \"" + *root.dist.path +
                                            "\" on this machine: only its path may name it");
  }
  return root.dist.url;
}

/// Whether a mount of pkgfs begins at `path`, which has no symbolic links.
bool is_our_mount(const std::string& path) {
  const auto mount = find_mount(path);  // a writable mount has changed files: no stored hash describes them
  return mount && mount->type == kMountType;
}

DiffOperand open_directory(const std::string& text, std::string path, bool is_mount, UnreadReport report) {
  UniqueFd root(::open(text.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) {
    throw system_error("Unable to open the directory \"" + text + "\"", errno);
  }
  DiffOperand operand{.name = text, .opened = {}, .directory = {}, .tree = {}};
  operand.directory = std::make_unique<vfs::HostFileSystem>(std::move(root), text);
  operand.tree = std::make_unique<ComparedDirectory>(*operand.directory, std::move(path), is_mount, std::move(report));
  return operand;
}

}  // namespace

DiffOperand open_diff_operand(const std::string& text, const TreeFlags& flags, const Io& io, UnreadReport report) {
  std::error_code failed;
  if (stdfs::is_directory(text, failed)) {
    std::string path = stdfs::canonical(text, failed).string();
    const bool is_mount = !failed && is_our_mount(path);
    if (is_mount || !stdfs::exists(stdfs::path(text) / "wasmer.toml", failed)) {
      return open_directory(text, std::move(path), is_mount, std::move(report));
    }
  }
  TreeFlags own = flags;
  std::string package = text;
  if (const std::optional<LockFile> lock = read_lock(text)) {
    package = root_of(*lock, text);
    own.network.lock = text;
  }
  DiffOperand operand;
  operand.opened = open_tree(package, own, io);
  operand.name = operand.opened->tree.id.to_string();
  operand.tree = std::make_unique<ComparedPackages>(*operand.opened, std::move(report));
  return operand;
}

}  // namespace pkgfs
