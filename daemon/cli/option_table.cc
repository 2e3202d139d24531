// SPDX-License-Identifier: MIT
#include "daemon/cli/option_table.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "core/package/package_info.h"
#include "daemon/cli/listen_address.h"
#include "daemon/cli/option_values.h"
#include "daemon/cli/options.h"

namespace pkgfs {

namespace {

using Group = OptionGroup;

constexpr std::array kGroups{
    OptionGroupSpec{Group::kCommand, "This command", "These options change what the command does."},
    OptionGroupSpec{Group::kPackages, "Which packages",
                    "These options say where pkgfs finds the packages and how strictly it checks them."},
    OptionGroupSpec{Group::kTree, "What the tree shows",
                    "These options change the names, modes and times of the files in the tree."},
    OptionGroupSpec{Group::kAccess, "Who sees the mount",
                    "These options set the users, the owner and the permissions."},
    OptionGroupSpec{Group::kDaemon, "How the mount runs", "These options are for debugging and monitoring."},
    OptionGroupSpec{Group::kPlugin, "The volume plugin", "These options set the paths and times of the plugin."},
    OptionGroupSpec{Group::kNetwork, "Network and cache",
                    "These options are for registries, downloads and the cache of downloads."},
    OptionGroupSpec{Group::kOutput, "Output", "These options set the form of the output and the number of messages."},
    OptionGroupSpec{Group::kSpeed, "Speed",
                    "Leave these options alone: pkgfs chooses good values. docs/PERFORMANCE.md measures them."},
};

template <typename... Ids>
constexpr unsigned set_of(Ids... ids) {
  return ((1U << static_cast<unsigned>(ids)) | ...);
}

constexpr unsigned kTreeCommands =
    set_of(CommandId::kMount, CommandId::kServe, CommandId::kVerify, CommandId::kTree, CommandId::kLs, CommandId::kCat,
           CommandId::kExtract, CommandId::kDiff, CommandId::kExport);
constexpr unsigned kResolvingCommands = kTreeCommands | set_of(CommandId::kInspect, CommandId::kResolve);
constexpr unsigned kFetchingCommands = kResolvingCommands | set_of(CommandId::kPull, CommandId::kPush);
constexpr unsigned kLoggingCommands =
    kFetchingCommands | set_of(CommandId::kPack, CommandId::kChanges, CommandId::kDiscard, CommandId::kUnmount,
                               CommandId::kMounts, CommandId::kStats, CommandId::kCache, CommandId::kWait,
                               CommandId::kRefresh, CommandId::kRollback, CommandId::kUpgradeMounts, CommandId::kConfig,
                               CommandId::kVolumePlugin);
constexpr unsigned kMountOnly = set_of(CommandId::kMount);
constexpr unsigned kServeOnly = set_of(CommandId::kServe);
constexpr unsigned kMounting = kMountOnly | kServeOnly;
constexpr unsigned kPluginOnly = set_of(CommandId::kVolumePlugin);

void set_registry(Options& options, std::string_view value) {
  if (value.empty()) {
    bad_value("registry", value, "a directory, a URL or a domain");
  }
  options.tree.network.registries.emplace_back(value);
}

void set_commands_dir(Options& options, std::string_view value) {
  if (!value.starts_with('/')) {
    bad_value("commands-dir", value, "an absolute path");
  }
  try {
    options.tree.commands_dir = normalize_mount_path(value);
  } catch (const Error&) {
    bad_value("commands-dir", value, "a path inside the tree");
  }
}

void set_conflicts(Options& options, std::string_view value) {
  static constexpr Choices<vfs::Conflicts, 3> kChoices{
      {{"merge", vfs::Conflicts::kMerge}, {"shadow", vfs::Conflicts::kShadow}, {"error", vfs::Conflicts::kError}}};
  options.tree.conflicts = parse_choice("conflicts", value, kChoices);
}

void set_verify(Options& options, std::string_view value) {
  static constexpr Choices<Verify, 3> kChoices{
      {{"none", Verify::kNone}, {"open", Verify::kOpen}, {"read", Verify::kRead}}};
  options.tree.verify = parse_choice("verify", value, kChoices);
}

void set_verify_downloads(Options& options, std::string_view value) {
  static constexpr Choices<VerifyDownloads, 3> kChoices{
      {{"fail", VerifyDownloads::kFail}, {"warn", VerifyDownloads::kWarn}, {"off", VerifyDownloads::kOff}}};
  options.tree.network.verify_downloads = parse_choice("verify-downloads", value, kChoices);
}

void set_lazy(Options& options, std::string_view value) {
  static constexpr Choices<Lazy, 3> kChoices{{{"auto", Lazy::kAuto}, {"on", Lazy::kOn}, {"off", Lazy::kOff}}};
  options.tree.lazy = parse_choice("lazy", value, kChoices);
}

void set_background(Options& options, std::string_view value) {
  if (value == "auto") {
    options.tree.background_rate.reset();
  } else if (value == "off") {
    options.tree.background_rate = 0;
  } else {
    options.tree.background_rate = std::max<std::uint64_t>(parse_size("background", value), 1);
  }
}

void set_strict(Options& options, std::string_view value) {
  static constexpr Choices<bool, 2> kChoices{{{"yes", true}, {"no", false}}};
  options.tree.strict = parse_choice("strict", value, kChoices);
  options.tree.lenient = !options.tree.strict;
}

void set_exec(Options& options, std::string_view value) {
  static constexpr Choices<bool, 2> kChoices{{{"auto", true}, {"none", false}}};
  options.tree.exec_auto = parse_choice("exec", value, kChoices);
}

void set_mtime(Options& options, std::string_view value) {
  static constexpr Choices<vfs::Times, 3> kChoices{
      {{"digest", vfs::Times::kDigest}, {"stored", vfs::Times::kStored}, {"container", vfs::Times::kContainer}}};
  options.tree.times = parse_choice("mtime", value, kChoices);
}

void set_view(Options& options, std::string_view value) {
  static constexpr Choices<View, 2> kChoices{{{"merged", View::kMerged}, {"package", View::kPackage}}};
  options.tree.view = parse_choice("view", value, kChoices);
}

void set_log_level(Options& options, std::string_view value) {
  static constexpr Choices<const char*, 5> kChoices{
      {{"error", "error"}, {"warning", "warning"}, {"info", "info"}, {"debug", "debug"}, {"trace", "trace"}}};
  options.log.level = parse_choice("log-level", value, kChoices);
}

void set_format(Options& options, std::string_view value) {
  static constexpr Choices<ExportFormat, 5> kChoices{{{"tar", ExportFormat::kTar},
                                                      {"oci", ExportFormat::kOci},
                                                      {"docker", ExportFormat::kDocker},
                                                      {"squashfs", ExportFormat::kSquashfs},
                                                      {"erofs", ExportFormat::kErofs}}};
  options.format = parse_choice("format", value, kChoices);
}

void set_engine(Options& options, std::string_view value) {
  static constexpr Choices<Engine, 3> kChoices{
      {{"auto", Engine::kAuto}, {"fuse", Engine::kFuse}, {"erofs", Engine::kErofs}}};
  options.mount.engine = parse_choice("engine", value, kChoices);
}

void set_writable(Options& options, std::string_view value) {
  options.mount.writable = true;
  options.mount.writable_dir = value == "discard" ? std::string() : parse_path("writable", value);
}

void set_platform(Options& options, std::string_view value) {
  const auto is_word = [](std::string_view word) {
    return !word.empty() && std::ranges::all_of(word, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
  };
  const std::size_t slash = value.find('/');
  if (slash == std::string_view::npos || !is_word(value.substr(0, slash)) || !is_word(value.substr(slash + 1))) {
    bad_value("platform", value, "an operating system and an architecture, such as linux/amd64");
  }
  options.platform = value;
}

void set_lock(Options& options, std::string_view value) { options.tree.network.lock = value; }
void set_json(Options& options, std::string_view /*value*/) { options.json = true; }
void set_force(Options& options, std::string_view /*value*/) { options.force = true; }

constexpr std::array kOptions{
    OptionSpec{Group::kCommand, "force", '\0', "",
               "show a damaged package as far as pkgfs can read it, with a list of the problems",
               set_of(CommandId::kInspect), false, set_force},
    OptionSpec{Group::kCommand, "force", '\0', "", "write into a directory that is not empty, over existing files",
               set_of(CommandId::kExtract), false, set_force},
    OptionSpec{Group::kCommand, "force", '\0', "", "replace OUT if it exists; add to it if it is a directory",
               set_of(CommandId::kExport), false, set_force},
    OptionSpec{Group::kCommand, "format", '\0', "tar|oci|docker|squashfs|erofs",
               "the form of OUT. tar: an archive (default). oci: an OCI image, with a layer for each package. docker: "
               "an archive for \"docker load\". squashfs: an image, made by sqfstar of squashfs-tools. erofs: an image "
               "for the kernel, not compressed",
               set_of(CommandId::kExport), false, set_format},
    OptionSpec{Group::kCommand, "platform", '\0', "OS/ARCH",
               "the platform that an image of oci or docker states (default: linux/wasm)", set_of(CommandId::kExport),
               false, set_platform},
    OptionSpec{Group::kCommand, "keep-going", '\0', "",
               "write the entries that can be read, and report the others. The exit code is still 4 if something is "
               "damaged",
               set_of(CommandId::kExtract), false,
               [](Options& options, std::string_view) { options.keep_going = true; }},
    OptionSpec{Group::kCommand, "commands", '\0', "", "list only the commands, and fail if one of them is broken",
               set_of(CommandId::kInspect), false, [](Options& options, std::string_view) { options.commands = true; }},
    OptionSpec{Group::kCommand, "structure", '\0', "", "check everything but the contents of files",
               set_of(CommandId::kVerify), false, [](Options& options, std::string_view) { options.structure = true; }},
    OptionSpec{Group::kCommand, "output", 'o', "FILE", "the package file to write", set_of(CommandId::kPack), false,
               [](Options& options, std::string_view value) { options.output = value; }},
    OptionSpec{Group::kCommand, "diff", '\0', "", "print how the contents of files differ, as \"diff -u\" does",
               set_of(CommandId::kChanges), false,
               [](Options& options, std::string_view) { options.with_diff = true; }},
    OptionSpec{Group::kCommand, "stat", '\0', "", "print only how much differs, not which files",
               set_of(CommandId::kDiff), false, [](Options& options, std::string_view) { options.only_sum = true; }},
    OptionSpec{Group::kCommand, "older-than", '\0', "AGE",
               "prune: remove the entries that were not used for AGE, such as 30d, 12h, 10m or 45s",
               set_of(CommandId::kCache), false,
               [](Options& options, std::string_view value) { options.older_than = parse_age("older-than", value); }},
    OptionSpec{Group::kCommand, "max-size", '\0', "SIZE",
               "prune: remove entries, the longest unused first, until at most SIZE is left, such as 500M or"
               " 2G",
               set_of(CommandId::kCache), false,
               [](Options& options, std::string_view value) { options.max_size = parse_size("max-size", value); }},
    OptionSpec{Group::kCommand, "dry-run", 'n', "",
               "with verify or prune, remove nothing, and print which entries would be removed",
               set_of(CommandId::kCache), false, [](Options& options, std::string_view) { options.dry_run = true; }},
    OptionSpec{Group::kCommand, "lazy", 'z', "",
               "unmount also while programs use the mount: it disappears at once, and ends with its last use",
               set_of(CommandId::kUnmount), false, [](Options& options, std::string_view) { options.lazy = true; }},
    OptionSpec{Group::kCommand, "timeout", '\0', "SECONDS",
               "give up after this time, with exit code 12 (default: wait for ever). 0: only look",
               set_of(CommandId::kWait), false,
               [](Options& options, std::string_view value) { options.wait_limit = parse_seconds("timeout", value); }},
    OptionSpec{Group::kPackages, "registry", '\0', "DIR|URL|DOMAIN",
               "look packages up by name in this directory or Wasmer registry (default: WASMER_REGISTRY, "
               "else the registry of \"wasmer login\", else wasmer.io). The option can be given several "
               "times: pkgfs asks all directories first, and a registry only for packages that those before "
               "it do not have",
               kFetchingCommands | set_of(CommandId::kConfig, CommandId::kDoctor), true, set_registry},
    OptionSpec{Group::kPackages, "offline", '\0', "", "use no network, only the cache, however old its contents are",
               kFetchingCommands | set_of(CommandId::kConfig, CommandId::kDoctor), true,
               [](Options& options, std::string_view) { options.tree.network.offline = true; }},
    OptionSpec{
        Group::kPackages, "lock", '\0', "FILE",
        "use exactly the packages that the lock file FILE names, whatever the registry says now. "
        "\"pkgfs resolve --lock=FILE\" writes the file. A package with another hash is an error",
        (kTreeCommands | set_of(CommandId::kPull, CommandId::kPush)) & ~set_of(CommandId::kServe, CommandId::kVerify, CommandId::kDiff),
        true, set_lock},
    OptionSpec{Group::kPackages, "lock", '\0', "FILE",
               "write the chosen packages, with their hashes and URLs, to the lock file FILE",
               set_of(CommandId::kResolve), false, set_lock},
    OptionSpec{
        Group::kPackages, "with-profile", '\0', "",
        "with --lock: also write which parts of each package the last lazy mounts on this machine needed. A lazy "
        "mount with this lock file fetches them first",
        set_of(CommandId::kResolve), false, [](Options& options, std::string_view) { options.with_profile = true; }},
    OptionSpec{Group::kPackages, "as-built", '\0', "",
               "leave out the files of a directory package that a build would leave out: those in "
               ".wasmerignore, or .git if there is no .wasmerignore",
               kResolvingCommands & ~kServeOnly, true, [](Options& options, std::string_view) { options.tree.as_built = true; }},
    OptionSpec{Group::kPackages, "follow-manifest", '\0', "",
               "PACKAGE is a directory: when its wasmer.toml changes, show the package as the new one describes it, "
               "without a new mount. If the new one has an error, the log says so, and the mount stays as it was",
               kMountOnly, true, [](Options& options, std::string_view) { options.tree.follow_manifest = true; }},
    OptionSpec{Group::kPackages, "allow-outside", '\0', "",
               "let the wasmer.toml of PACKAGE, a directory, name files outside of it, and show them with their own "
               "modes and a warning for each. A wasmer.toml from a stranger can then publish every file that you can "
               "read. Dependencies may never lead out of their directory",
               kFetchingCommands | set_of(CommandId::kPack), true,
               [](Options& options, std::string_view) { options.tree.allow_outside = true; }},
    OptionSpec{Group::kPackages, "allow-url-dependencies", '\0', "",
               "let packages from registries and URLs depend on URLs of any server. Without the option they may name "
               "only their own server and the registries. Private addresses stay closed to public servers",
               kFetchingCommands, true,
               [](Options& options, std::string_view) { options.tree.network.allow_url_dependencies = true; }},
    OptionSpec{
        Group::kPackages, "untrusted", '\0', "",
        "treat PACKAGE and all dependencies as made by strangers, also if they lie on this machine: no "
        "directories, no paths as dependencies, and lower limits. Damage and links that lead out of their volume "
        "are errors, and pkgfs checks all directories first, as with --strict",
        kFetchingCommands, true, [](Options& options, std::string_view) { options.tree.untrusted = true; }},
    OptionSpec{Group::kPackages, "verify", '\0', "none|open|read",
               "none (default): check only the structure, when it is read; costs nothing. open: check every "
               "hash before the package is used; reads each container once. read: check the hash of a file "
               "when it is first opened; reads that file one more time",
               kTreeCommands & ~set_of(CommandId::kVerify), true, set_verify},
    OptionSpec{Group::kPackages, "strict", '\0', "yes|no",
               "fail where pkgfs would only warn: damaged parts, broken commands, mappings of missing "
               "directories. pkgfs walks the whole tree first. no: warn also where PACKAGE lacks the volume "
               "of a mapping that its manifest does not name but that pkgfs assumes",
               kTreeCommands, true, set_strict, true},
    OptionSpec{
        Group::kPackages, "max-unpacked", '\0', "SIZE",
        "refuse a package tarball that unpacks to more than SIZE, such as 20G. The default is 8G, and beyond "
        "64M at most 100 times the size of the tarball, beyond 256M of what was read; SIZE replaces these limits",
        kFetchingCommands, true,
        [](Options& options, std::string_view value) {
          options.tree.max_unpacked = parse_size("max-unpacked", value);
        }},
    OptionSpec{Group::kTree, "view", '\0', "merged|package",
               "merged (default): show the directories that the packages map, and the commands. package: show the "
               "package as it is stored, in /atoms, /volumes, /metadata and /manifest.json, and its dependencies "
               "in /packages",
               kTreeCommands & ~set_of(CommandId::kVerify), true, set_view},
    OptionSpec{Group::kTree, "commands-dir", '\0', "DIR",
               "show the package's commands as executable files in DIR (default: /bin)", kTreeCommands, true,
               set_commands_dir},
    OptionSpec{Group::kTree, "no-commands", '\0', "", "do not show the commands as files", kTreeCommands, true,
               [](Options& options, std::string_view) { options.tree.commands_dir.reset(); }},
    OptionSpec{Group::kTree, "conflicts", '\0', "merge|shadow|error",
               "merge (default): where two packages provide the same path, merge directories, and show the "
               "file of the first package. shadow: a mapping hides everything below its path. error: fail",
               kTreeCommands, true, set_conflicts},
    OptionSpec{Group::kTree, "exec", '\0', "auto|none",
               "auto: make a file executable if it starts like a program (WebAssembly, ELF, #!), unless its name says "
               "that it is data, such as notes.txt, or part of a library, such as lib/x.py. Listings do not look into "
               "files. none (default): do not look into files",
               kTreeCommands & ~kServeOnly, true, set_exec},
    OptionSpec{Group::kTree, "mtime", '\0', "digest|stored|container",
               "digest (default): an entry without a stored time shows one from 1980 to 2019 that is made of "
               "the hash of its content, so that rsync, git or a web server notice a new version; \"tree "
               "--json\" shows 1970. stored: it shows 1970. container: it shows the time of the container file",
               kTreeCommands, true, set_mtime},
    OptionSpec{Group::kTree, "raw-links", '\0', "",
               "show symbolic links that lead out of the tree as they are stored. Without the option their "
               "targets stay inside the tree",
               kTreeCommands, true, [](Options& options, std::string_view) { options.tree.raw_links = true; }},
    OptionSpec{Group::kAccess, "allow-other", '\0', "",
               "let other users see the mount. This is the default for root; other users need "
               "user_allow_other in /etc/fuse.conf",
               kMounting, true,
               [](Options& options, std::string_view) {
                 options.mount.allow_other = true;
                 options.mount.allow_root = false;
               }},
    OptionSpec{Group::kAccess, "allow-root", '\0', "",
               "let only root and the mounting user see the mount. pkgfs takes the permissions of group and others "
               "away from directories. Users other than root need user_allow_other in /etc/fuse.conf",
               kMounting, true,
               [](Options& options, std::string_view) {
                 options.mount.allow_other = true;
                 options.mount.allow_root = true;
               }},
    OptionSpec{Group::kAccess, "no-allow-other", '\0', "",
               "let only the user who mounts see the mount, also if that is root", kMounting, true,
               [](Options& options, std::string_view) {
                 options.mount.allow_other = false;
                 options.mount.allow_root = false;
               }},
    OptionSpec{Group::kAccess, "uid", '\0', "ID|NAME",
               "show this user as the owner of everything (default: the user who mounts)", kMounting, true,
               [](Options& options, std::string_view value) { options.mount.uid = parse_user("uid", value); }},
    OptionSpec{Group::kAccess, "gid", '\0', "ID|NAME",
               "show this group as the group of everything (default: the group of the user who mounts)", kMounting,
               true, [](Options& options, std::string_view value) { options.mount.gid = parse_group("gid", value); }},
    OptionSpec{Group::kAccess, "umask", '\0', "OCTAL",
               "remove these permission bits from files and directories, as --fmask and --dmask do (default: 0)",
               kMounting, true,
               [](Options& options, std::string_view value) {
                 options.mount.fmask = options.mount.dmask = parse_mask("umask", value);
               }},
    OptionSpec{Group::kAccess, "fmask", '\0', "OCTAL", "remove these permission bits from files (default: 0)",
               kMounting, true,
               [](Options& options, std::string_view value) { options.mount.fmask = parse_mask("fmask", value); }},
    OptionSpec{Group::kAccess, "dmask", '\0', "OCTAL", "remove these permission bits from directories (default: 0)",
               kMounting, true,
               [](Options& options, std::string_view value) { options.mount.dmask = parse_mask("dmask", value); }},
    OptionSpec{
        Group::kAccess, "writable", '\0', "discard|DIR",
        "let programs write: changes lie above the package, which stays as it is. discard (default): the changes end "
        "with the mount. DIR: keep them in the directory DIR, for a later mount of the same package. \"pkgfs changes\" "
        "lists them. Root uses overlayfs, other users fuse-overlayfs (docs/WRITABLE.md)",
        kMountOnly, true, set_writable, true},
    OptionSpec{Group::kAccess, "writable-size", '\0', "SIZE",
               "with --writable: keep the changes in memory, at most SIZE, such as 512M. Only root can use it",
               kMountOnly, true,
               [](Options& options, std::string_view value) {
                 options.mount.writable_size = std::max<std::uint64_t>(parse_size("writable-size", value), 1);
               }},
    OptionSpec{Group::kAccess, "writable-inodes", '\0', "N",
               "with --writable: keep the changes in memory, at most N files and directories, such as 100K. Only root "
               "can use it",
               kMountOnly, true,
               [](Options& options, std::string_view value) {
                 options.mount.writable_inodes = std::max<std::uint64_t>(parse_size("writable-inodes", value), 1);
               }},
    OptionSpec{
        Group::kAccess, "rebase", '\0', "",
        "with --writable=DIR: use the changes in DIR although they were made above another version of the package, "
        "or with other options",
        kMountOnly, true, [](Options& options, std::string_view) { options.mount.rebase = true; }},
    OptionSpec{Group::kDaemon, "foreground", 'f', "", "stay in the foreground until the mount ends", kMounting, false,
               [](Options& options, std::string_view) { options.mount.foreground = true; }},
    OptionSpec{
        Group::kDaemon, "engine", '\0', "auto|fuse|erofs",
        "what serves the mount. auto (default) and fuse: a daemon. erofs: the kernel itself, from an image that "
        "pkgfs makes at the first mount and keeps in the cache. No process can fail then. A first walk of a tree "
        "takes a third of the time; reads are little faster, and mounting is hardly faster. "
        "erofs needs root, downloads packages whole, and refuses live directories",
        kMountOnly, true, set_engine},
    OptionSpec{Group::kDaemon, "debug", 'd', "", "log every request; implies --foreground", kMounting, true,
               [](Options& options, std::string_view) {
                 options.mount.debug = true;
                 options.mount.foreground = true;
                 options.log.level = "debug";
               }},
    OptionSpec{Group::kDaemon, "auto-unmount", '\0', "",
               "unmount when the daemon ends, even if it is killed. A fusermount3 process waits for that", kMounting,
               true, [](Options& options, std::string_view) { options.mount.auto_unmount = true; }},
    OptionSpec{
        Group::kDaemon, "keeper", '\0', "auto|on|off|external",
        "whether another daemon goes on with the mount if this one is killed or crashes. A small process, "
        "pkgfs-keeper, starts the other daemon. auto (default): in the background, unless the mount follows its manifest. "
        "on: also with --foreground. A mount in the foreground of a systemd service has no keeper: with auto and on, "
        "systemd keeps its descriptors. external: like on, and pkgfs-keeperd(8) holds the mount, too, in case the "
        "daemon and pkgfs-keeper are killed at once",
        kMounting, true,
        [](Options& options, std::string_view value) {
          const KeeperChoice choice = parse_keeper("keeper", value);
          options.mount.has_keeperd = choice == KeeperChoice::kExternal;
          options.mount.keeper =
              choice == KeeperChoice::kAuto ? std::nullopt : std::optional(choice != KeeperChoice::kOff);
        }},
    OptionSpec{Group::kDaemon, "idle", '\0', "TIME",
               "close a package that no program has used for TIME, such as 30s, 15m or 12h (default: 15m)", kServeOnly,
               true,
               [](Options& options, std::string_view value) { options.mount.idle = parse_interval("idle", value); }},
    OptionSpec{Group::kDaemon, "locks", '\0', "DIR",
               "show the packages of the lock file DIR/NAME.lock as MOUNTPOINT/locked/NAME", kServeOnly, true,
               [](Options& options, std::string_view value) { options.mount.locks = parse_path("locks", value); }},
    OptionSpec{
        Group::kDaemon, "follow", '\0', "INTERVAL",
        "resolve the package again after each INTERVAL, such as 30s, 10m or 12h, and show the new version if "
        "there is one (docs/REFRESH.md). With --lock, show what the lock file says whenever it changes",
        kMountOnly, true,
        [](Options& options, std::string_view value) { options.mount.follow = parse_interval("follow", value); }},
    OptionSpec{Group::kDaemon, "keep-old", '\0', "N",
               "keep the last N versions open that the mount has shown, at most 100, for \"pkgfs rollback\" "
               "(default: 0)",
               kMountOnly, true,
               [](Options& options, std::string_view value) {
                 constexpr unsigned kMost = 100;
                 options.mount.keep_old = parse_number("keep-old", value, kMost);
               }},
    OptionSpec{Group::kDaemon, "on-change", '\0', "COMMAND",
               "when the mount shows another version, run this shell command, as the user of the mount. It gets "
               "PKGFS_MOUNTPOINT, PKGFS_OLD and PKGFS_NEW, and is killed after 60 seconds",
               kMountOnly, false,
               [](Options& options, std::string_view value) {
                 if (value.empty()) {
                   bad_value("on-change", value, "a shell command");
                 }
                 options.mount.on_change = value;
               }},
    OptionSpec{
        Group::kDaemon, "crash-dir", '\0', "DIR",
        "if the daemon crashes, write its stack into a new file in DIR, pkgfs-PID.crash", kMounting, true,
        [](Options& options, std::string_view value) { options.mount.crash_dir = parse_path("crash-dir", value); }},
    OptionSpec{Group::kDaemon, "metrics", '\0', "ADDRESS",
               "serve Prometheus metrics over HTTP at ADDRESS: unix:PATH, HOST:PORT, or PORT on 127.0.0.1 "
               "(docs/METRICS.md)",
               kMounting, true,
               [](Options& options, std::string_view value) {
                 (void)parse_metrics_address(std::string(value));
                 options.mount.metrics = value;
               }},
    OptionSpec{Group::kPlugin, "socket", '\0', "PATH",
               "listen for docker and podman at PATH (default: /run/docker/plugins/pkgfs.sock)", kPluginOnly, false,
               [](Options& options, std::string_view value) { options.plugin.socket = parse_path("socket", value); }},
    OptionSpec{
        Group::kPlugin, "state-dir", '\0', "DIR", "keep the list of volumes in DIR (default: /var/lib/pkgfs/volumes)",
        kPluginOnly, false,
        [](Options& options, std::string_view value) { options.plugin.state_dir = parse_path("state-dir", value); }},
    OptionSpec{
        Group::kPlugin, "mount-root", '\0', "DIR",
        "mount the volumes below DIR (default: /run/pkgfs/volumes). Use DIR for nothing else: the "
        "plugin ends every mount in it that belongs to no volume",
        kPluginOnly, false,
        [](Options& options, std::string_view value) { options.plugin.mount_root = parse_path("mount-root", value); }},
    OptionSpec{Group::kPlugin, "mount-wait", '\0', "SECONDS",
               "answer \"not ready yet\" if a mount takes longer than this (default: 3.5). podman itself "
               "waits for 5 seconds",
               kPluginOnly, false,
               [](Options& options,
                  std::string_view value) { options.plugin.mount_wait = parse_seconds("mount-wait", value); }},
    OptionSpec{Group::kPlugin, "keep", '\0', "SECONDS", "keep a mount for this time after its last use (default: 10)",
               kPluginOnly, false,
               [](Options& options, std::string_view value) { options.plugin.keep = parse_seconds("keep", value); }},
    OptionSpec{Group::kNetwork, "cache-dir", '\0', "DIR",
               "keep downloads in DIR (default: WASMER_CACHE_DIR, else ~/.wasmer/cache)",
               kFetchingCommands | set_of(CommandId::kConfig, CommandId::kCache, CommandId::kDoctor), true,
               [](Options& options, std::string_view value) { options.tree.network.cache_dir = value; }},
    OptionSpec{Group::kNetwork, "token", '\0', "TOKEN",
               "send this token to the first registry on the network (default: WASMER_TOKEN, else the token "
               "of \"wasmer login\"). Other users can read the command line: set WASMER_TOKEN instead",
               kFetchingCommands | set_of(CommandId::kConfig, CommandId::kDoctor), false,
               [](Options& options, std::string_view value) { options.tree.network.token = value; }},
    OptionSpec{Group::kNetwork, "timeout", '\0', "SECONDS",
               "try again when a server has sent nothing for this time (default: 30)",
               kFetchingCommands | set_of(CommandId::kConfig, CommandId::kDoctor), true,
               [](Options& options, std::string_view value) {
                 options.tree.network.timeout = parse_timeout("timeout", value);
               }},
    OptionSpec{Group::kNetwork, "deadline", '\0', "SECONDS",
               "give up a registry's answer that isn't complete after this time (default: 600). If the option is "
               "given, it limits each download, too. Without it, a download may take any time as long as the server "
               "sends 256 bytes a second",
               kFetchingCommands | set_of(CommandId::kConfig), true,
               [](Options& options,
                  std::string_view value) { options.tree.network.deadline = parse_timeout("deadline", value); }},
    OptionSpec{Group::kNetwork, "no-wait", '\0', "",
               "fail when a server asks pkgfs to come back later. Without the option pkgfs waits for up to a"
               " minute",
               kFetchingCommands | set_of(CommandId::kConfig), true,
               [](Options& options, std::string_view) { options.tree.network.no_wait = true; }},
    OptionSpec{Group::kNetwork, "max-download", '\0', "SIZE",
               "refuse a package that is larger than SIZE (default: 16G)",
               kFetchingCommands | set_of(CommandId::kConfig), true,
               [](Options& options,
                  std::string_view value) { options.tree.network.max_download = parse_size("max-download", value); }},
    OptionSpec{
        Group::kNetwork, "lazy", '\0', "auto|on|off",
        "auto (default): a package of more than 4 MB that is not in the cache is used at once, and its files come over "
        "the network when they are read. on: smaller packages, too. off: download every package before it is used. "
        "extract, export and verify need all of a package, so they always download it",
        kTreeCommands | set_of(CommandId::kInspect), true, set_lazy},
    OptionSpec{Group::kNetwork, "background", '\0', "auto|off|RATE",
               "what a lazy mount fetches although no program reads it yet. auto (default): the rest of each package. "
               "RATE: the same, but at most RATE bytes a second for each package, such as 2M. off: nothing",
               kMounting, true, set_background},
    OptionSpec{
        Group::kNetwork, "cache-limit", '\0', "SIZE",
        "if the disk of the cache is full while a lazy mount fetches, remove what no process uses from the cache. The "
        "longest unused goes first, until at most SIZE is left, such as 2G (default: remove nothing). This includes "
        "downloads from URLs, and packages that aren't complete",
        kMounting, true,
        [](Options& options, std::string_view value) { options.tree.cache_limit = parse_size("cache-limit", value); }},
    OptionSpec{Group::kNetwork, "verify-downloads", '\0', "fail|warn|off",
               "fail (default): refuse a download whose hash is not the one that the registry gave. warn: "
               "use it once, with a warning. off: use it once. The cache never keeps such a download",
               kFetchingCommands | set_of(CommandId::kConfig), true, set_verify_downloads},
    OptionSpec{Group::kOutput, "long", 'l', "", "show modes, sizes and times", set_of(CommandId::kLs), false,
               [](Options& options, std::string_view) { options.long_listing = true; }},
    OptionSpec{Group::kOutput, "json", '\0', "", "print JSON",
               set_of(CommandId::kMounts, CommandId::kStats, CommandId::kInspect, CommandId::kVerify, CommandId::kTree,
                      CommandId::kDiff, CommandId::kChanges, CommandId::kResolve, CommandId::kPush, CommandId::kCache,
                      CommandId::kConfig, CommandId::kDoctor),
               false, set_json},
    OptionSpec{Group::kOutput, "json", '\0', "",
               "print a JSON object for each event, one on a line, during the download", set_of(CommandId::kPull),
               false, set_json},
    OptionSpec{Group::kOutput, "dot", '\0', "", "print the dependency graph in the DOT language",
               set_of(CommandId::kResolve), false, [](Options& options, std::string_view) { options.dot = true; }},
    OptionSpec{Group::kOutput, "quiet", 'q', "", "print errors only", kLoggingCommands, true,
               [](Options& options, std::string_view) { options.log.level = "error"; }},
    OptionSpec{Group::kOutput, "log-level", '\0', "LEVEL",
               "print messages of this level and above to standard error: error, warning (default), info, "
               "debug or trace",
               kLoggingCommands, true, set_log_level},
    OptionSpec{Group::kSpeed, "live-timeout", '\0', "SECONDS",
               "where changes of a live directory can't be watched, let the kernel cache names and attributes for "
               "this time (default: 1). 0: cache and watch nothing",
               kMountOnly, true,
               [](Options& options,
                  std::string_view value) { options.mount.live_timeout = parse_seconds("live-timeout", value); }},
    OptionSpec{
        Group::kSpeed, "read-ahead", '\0', "KIB",
        "let the kernel read this far ahead in large files (default: 512; 0: the kernel's own value)."
        " Only root can change it",
        kMounting, true,
        [](Options& options, std::string_view value) { options.mount.read_ahead = parse_kib("read-ahead", value); }},
    OptionSpec{Group::kSpeed, "memory", '\0', "SIZE|auto",
               "keep up to SIZE, such as 16M, of the directories that programs look at; directories unused for longest"
               " are read again when needed. auto (default): 32M, or a 16th of the control group's limit if that is"
               " less",
               kMounting, true,
               [](Options& options, std::string_view value) { options.tree.memory = parse_memory("memory", value); }},
    OptionSpec{
        Group::kSpeed, "threads", '\0', "N",
        "serve at most N requests at the same time, 1 to 16 (default: one for every two CPUs). "
        "Requests that wait for a disk do not count",
        kMounting, true,
        [](Options& options, std::string_view value) { options.mount.threads = parse_threads("threads", value); }},
    OptionSpec{Group::kSpeed, "push", '\0', "auto|off",
               "auto (default): prefetch the small files of a directory into the page cache when a program "
               "reads the directory, while memory is free",
               kMountOnly, true,
               [](Options& options, std::string_view value) { options.mount.push = parse_auto("push", value); }},
    OptionSpec{
        Group::kSpeed, "skip-open", '\0', "auto|off",
        "auto (default): let the kernel open files without a request to the daemon, where nothing can"
        " change",
        kMounting, true,
        [](Options& options, std::string_view value) { options.mount.skip_open = parse_auto("skip-open", value); }},
    OptionSpec{
        Group::kSpeed, "passthrough", '\0', "auto|off",
        "auto (default): let the kernel read the files of live directories directly, as root and with"
        " libfuse 3.17",
        kMountOnly, true,
        [](Options& options, std::string_view value) { options.mount.passthrough = parse_auto("passthrough", value); }},
    OptionSpec{Group::kSpeed, "poll", '\0', "auto|off",
               "auto (default): after a reply, look for the next request for up to 0.2 ms before sleeping, "
               "if that helps and no other process needs the CPU",
               kMounting, true,
               [](Options& options, std::string_view value) { options.mount.poll = parse_auto("poll", value); }},
    OptionSpec{Group::kSpeed, "cpu-latency", '\0', "auto|on|off",
               "auto (default): keep idle CPUs awake while many requests come (/dev/cpu_dma_latency), as "
               "root and with at most 4 CPUs. on: with any number of CPUs",
               kMounting, true,
               [](Options& options,
                  std::string_view value) { options.mount.cpu_latency = parse_auto_on_off("cpu-latency", value); }},
    OptionSpec{Group::kSpeed, "io-uring", '\0', "on|off",
               "on: take requests from the kernel through io_uring, with libfuse 3.18. Then a slow disk also"
               " delays requests for other files. The default is off",
               kMountOnly, true,
               [](Options& options, std::string_view value) { options.mount.io_uring = parse_on("io-uring", value); }},
};

}  // namespace

std::span<const OptionGroupSpec> option_groups() { return kGroups; }

std::span<const OptionSpec> option_table() { return kOptions; }

std::string_view implied_value(const OptionSpec& option) {
  return option.optional ? option.argument.substr(0, option.argument.find('|')) : std::string_view{};
}

std::string value_text(const OptionSpec& option) {
  if (option.argument.empty()) {
    return {};
  }
  const std::string text = "=" + std::string(option.argument);
  return option.optional ? "[" + text + "]" : text;
}

bool takes(const OptionSpec& option, CommandId command) {
  return ((option.commands >> static_cast<unsigned>(command)) & 1U) != 0;
}

}  // namespace pkgfs
