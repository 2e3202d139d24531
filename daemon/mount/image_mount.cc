// SPDX-License-Identifier: MIT
#include "daemon/mount/image_mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "core/base/error.h"
#include "core/base/key_hash.h"
#include "core/base/log.h"
#include "core/export/erofs_writer.h"
#include "core/export/image_cache.h"
#include "daemon/cli/exit_code.h"
#include "daemon/mount/loop_device.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/writable_run.h"

namespace pkgfs {
namespace {

/// Refuses what only a daemon can do. Options that only make a mount faster have no effect, and are accepted.
void refuse_options(const MountOptions& options) {
  const std::pair<bool, const char*> refused[] = {
      {options.tree.follow_manifest, "--follow-manifest"},
      {options.tree.verify == Verify::kRead, "--verify=read"},
      {options.foreground, "--foreground"},
      {options.auto_unmount, "auto_unmount"},
      {options.allow_root, "--allow-root"},
      {options.allow_other == false, "--no-allow-other"},
      {options.uid.has_value(), "--uid"},
      {options.gid.has_value(), "--gid"},
      {options.fmask != 0, "--fmask"},
      {options.dmask != 0, "--dmask"},
      {!options.metrics.empty(), "--metrics"},
      {options.keeper == true, "--keeper=on"},
      {options.follow.has_value(), "--follow"},
      {options.keep_old > 0, "--keep-old"},
      {!options.on_change.empty(), "--on-change"},
  };
  for (const auto& [is_set, name] : refused) {
    if (is_set) {
      throw Error(ErrorCode::kUsage, std::string(name) +
                                         " needs a daemon, which --engine=erofs doesn't have: use "
                                         "--engine=fuse");
    }
  }
}

/// The time of a file in the cache isn't a property of the package, and the image would keep it.
void refuse_times(const TreeFlags& flags) {
  if (flags.times == vfs::Times::kContainer) {
    throw Error(ErrorCode::kUsage, "--mtime=container can't be used with --engine=erofs");
  }
}

/// What tells two states of a local file apart. A user other than root can't set the time of the last change.
std::string stamp_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) {
    throw system_error("\"" + path + "\"", errno);
  }
  if (S_ISDIR(status.st_mode)) {
    throw Error(ErrorCode::kUsage, "\"" + path +
                                       "\" is a live directory, which may change at any time; an image can't: use "
                                       "--engine=fuse, or build the package");
  }
  std::string text = path;
  for (const std::int64_t number :
       {static_cast<std::int64_t>(status.st_dev), static_cast<std::int64_t>(status.st_ino),
        static_cast<std::int64_t>(status.st_size), static_cast<std::int64_t>(status.st_mtim.tv_sec),
        static_cast<std::int64_t>(status.st_mtim.tv_nsec), static_cast<std::int64_t>(status.st_ctim.tv_sec),
        static_cast<std::int64_t>(status.st_ctim.tv_nsec)}) {
    text += ":" + std::to_string(number);
  }
  return text;
}

/// The key of the image: all packages, how they depend on each other, and the options that change the tree.
Sha256 image_key(PackageOpener& opener, const Resolution& resolution, const TreeFlags& flags) {
  std::string text = "pkgfs " PKGFS_VERSION " erofs 1\n";
  const auto add = [&text](const auto& value) {
    const std::string word(value);
    text += std::to_string(word.size()) + ":" + word + "\n";
  };
  for (const auto& node : resolution.graph.nodes) {
    add(node.pkg.id.to_string());
    const DistributionInfo& dist = node.dist.value();
    if (dist.webc_sha256) {
      add(to_hex(*dist.webc_sha256));
    } else if (dist.path) {
      add(stamp_of(*dist.path));
    } else {
      add(opener.loader().load({.pkg = node.pkg, .dist = dist})->hash().to_string());
    }
    for (const auto& edge : node.edges) {
      add(edge.alias);
      add(std::to_string(edge.target));
    }
  }
  TreeFlags shown = flags;
  shown.memory = flags.memory.value_or(1);  // not in the key; its default is read from a dozen files
  const TreeOptions options = tree_options(shown);
  for (const auto number :
       {static_cast<int>(options.view), static_cast<int>(options.conflicts), static_cast<int>(options.strict),
        static_cast<int>(options.lenient), static_cast<int>(options.raw_links), static_cast<int>(options.times),
        static_cast<int>(options.commands_dir.has_value()), static_cast<int>(flags.exec_auto),
        static_cast<int>(flags.as_built), static_cast<int>(flags.untrusted)}) {
    add(std::to_string(number));
  }
  add(options.commands_dir.value_or(""));
  return sha256_of_key(text);
}

std::string joined_words(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : ",") + word;
  }
  return text;
}

}  // namespace

PackageImage find_or_make_image(const MountOptions& options, const Io& io, bool open) {
  TreeFlags flags = options.tree;
  flags.lazy = Lazy::kOff;  // everything is read
  flags.complete_begun = true;
  PackageOpener opener(flags, io);
  const RootPackage root = opener.find(options.package);
  const Resolution resolution = opener.resolve_tree(root);
  const Sha256 key = image_key(opener, resolution, flags);
  const ImageCache cache(opener.images_directory());
  PackageImage image;
  image.package = resolution.package.root.named() != nullptr ? resolution.package.root.to_string() : options.package;
  const std::optional<std::string> found = cache.find(key, flags.verify != Verify::kNone);
  if (!found || open) {
    image.opened = load_tree(opener, root, options.package, flags, tree_options(flags));
    if (image_key(opener, image.opened->resolution, flags) != key) {
      throw Error(ErrorCode::kIo, "\"" + options.package + "\" changed while it was opened");
    }
  }
  if (found) {
    image.path = *found;
    return image;
  }
  image.path = cache.add(key, image.package, [&](int fd, const std::string& name) {
    write_erofs(*image.opened->tree.file_system, fd, name, opener.images_directory());
    if (image_key(opener, resolution, flags) != key) {
      throw Error(ErrorCode::kIo, "\"" + options.package + "\" changed while it was read");
    }
  });
  return image;
}

void mount_image_file(const std::string& image, const MountOptions& options, const std::string& mountpoint) {
  unsigned long flags = MS_RDONLY | MS_NODEV | MS_NOSUID;
  if (options.noexec) {
    flags |= MS_NOEXEC;
  }
  if (options.nosymfollow) {
    flags |= MS_NOSYMFOLLOW;
  }
  const std::string data = joined_words(options.security);
  const auto attempt = [&](const std::string& source) {
    return ::mount(source.c_str(), mountpoint.c_str(), "erofs", flags, data.c_str()) == 0 ? 0 : errno;
  };
  int error = attempt(image);
  // ENOTBLK: before Linux 6.12, only a block device can be mounted. EINVAL: nor is there a way for a file of some file
  // systems, such as tmpfs.
  if (error == ENOTBLK || error == EINVAL) {
    const LoopDevice loop(image);
    error = attempt(loop.path());
  }
  if (error == ENODEV) {
    throw Error(ErrorCode::kUnsupported, "The kernel has no EROFS (module erofs): use --engine=fuse");
  }
  if (error != 0) {
    const Error refused =
        system_error("The kernel refused to mount \"" + image + "\" at \"" + mountpoint + "\"", error);
    throw Error(refused.code() == ErrorCode::kPermission ? refused.code() : ErrorCode::kMount, refused);
  }
  if (const UniqueFd fd(::open(image.c_str(), O_RDONLY | O_CLOEXEC)); fd) {
    read_erofs_metadata_ahead(fd.get());
  }
}

void refuse_with_image(const MountOptions& options) {
  refuse_options(options);
  refuse_times(options.tree);
  if (::geteuid() != 0) {
    throw Error(ErrorCode::kPermission, "--engine=erofs needs root, because the kernel mounts the image itself");
  }
}

std::optional<std::string> image_package(const MountEntry& mount) {
  if (mount.type != kImageType) {
    return std::nullopt;
  }
  if (mount.device.empty()) {  // `find_package_mount` has found only the overlay, whose source is the package
    return mount.source;
  }
  const std::string file = mount.source.starts_with("/dev/loop") ? loop_file(mount.source) : mount.source;
  const std::optional<CachedImage> image = ImageCache::parse_path(file);
  return image ? std::optional(image->label) : std::nullopt;
}

std::vector<MountEntry> image_mounts() {
  std::vector<MountEntry> ours;
  const std::vector<MountEntry> table = read_mount_table();
  for (const MountEntry& mount : table) {
    if (const std::optional<std::string> package = image_package(mount)) {
      ours.push_back(mount);
      ours.back().source = *package;
      show_as_overlay(ours.back(), table);
    }
  }
  return ours;
}

int mount_image(const MountOptions& options, const Io& io) {
  refuse_with_image(options);
  const std::string mountpoint = prepare_mountpoint(options.mountpoint);
  const PackageImage image = find_or_make_image(options, io, false);
  const UniqueFd claim = claim_mountpoint(options.mountpoint, mountpoint);
  mount_image_file(image.path, options, mountpoint);
  log::info("mounted \"{}\" at \"{}\"; the kernel serves it from \"{}\"", image.package, mountpoint, image.path);
  return kExitOk;
}

}  // namespace pkgfs
