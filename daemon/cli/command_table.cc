// SPDX-License-Identifier: MIT
#include "daemon/cli/command_table.h"

#include <algorithm>
#include <array>

namespace pkgfs {

namespace {

constexpr std::array kCommands{
    CommandSpec{CommandId::kMount, "mount", "PACKAGE MOUNTPOINT",
                "mount a package, merged with its dependencies, as a directory",
                "The mount is read-only, nosuid and nodev. The command returns when the mount is ready; a"
                " daemon serves the mount until \"pkgfs unmount\" ends it.",
                "pkgfs mount python/python@^3 /mnt/python\n"
                "pkgfs mount ./my-package /mnt/dev"},
    CommandSpec{
        CommandId::kServe, "serve", "MOUNTPOINT", "show every package below one directory, each when it is looked at",
        "MOUNTPOINT/NAMESPACE/NAME@VERSION is the tree of a package, as \"pkgfs mount\" shows it. It is opened when a "
        "program first looks at it. NAME, and NAME@REQUIREMENT such as python@^3, are symbolic links to the newest "
        "version. MOUNTPOINT/sha256/HASH is the package with this hash. Listings show what is on this machine.\n"
        "A package that no program has used for the time of --idle is closed. If a package can't be shown, the "
        "attribute user.pkgfs.error of its name or of the directory says why (docs/SERVE.md).",
        "pkgfs serve /pkgs\n"
        "pkgfs serve --registry=/srv/packages --idle=1h /pkgs"},
    CommandSpec{CommandId::kUnmount, "unmount", "MOUNTPOINT", "end a mount, also a dead one",
                "\"pkgfs umount\" is the same command. \"umount MOUNTPOINT\" and \"fusermount3 -u MOUNTPOINT\" "
                "work as well.",
                "pkgfs unmount /mnt/python"},
    CommandSpec{CommandId::kMounts, "mounts", "", "list the mounts of pkgfs",
                "Each line has the package, the mount point and the state: \"live\", \"changed\" (another program "
                "has changed a package file in place), \"tampered\" (a server sent a package with a wrong hash), "
                "\"dead\" (the daemon is gone) or \"stuck\" (the daemon does not answer). A mount whose packages are "
                "still being fetched is \"live, lazy 37 %\", with the bytes that are local.",
                ""},
    CommandSpec{CommandId::kStats, "stats", "MOUNTPOINT", "show the number, errors and times of a mount's requests",
                "Counts from the start of the mount, for each operation. p50 and p99 are at most 25 % too"
                " high; max is exact. The command does not wait for a mount that does not answer.",
                "pkgfs stats /mnt/python"},
    CommandSpec{CommandId::kWait, "wait", "MOUNTPOINT", "wait until all packages of a mount are local and checked",
                "A lazy mount is ready before its packages are complete. This command returns when the mount "
                "answers, and all its packages are complete, have the right hash and are in the cache. For any other "
                "mount, it returns at once. The exit code is 12 if --timeout is over, 4 if a server sent a package "
                "with a wrong hash, and 3 if nothing is mounted or the mount ends. A server that does not answer is "
                "no failure: the command goes on waiting.",
                "pkgfs wait --timeout=600 /mnt/python"},
    CommandSpec{
        CommandId::kRefresh, "refresh", "MOUNTPOINT...", "let mounts show the newest version of their packages",
        "Resolves the package of each mount again, with the options of the mount. If anything differs, the mount "
        "shows the new version at once. What programs have open stays as it is until they close it. If the "
        "package can't be resolved or opened, the mount stays as it is. The command returns when all is done. "
        "A mount with \"--follow\" does the same again and again.",
        "pkgfs refresh /mnt/app"},
    CommandSpec{CommandId::kRollback, "rollback", "MOUNTPOINT", "let a mount show the version before again",
                "This needs no network: the version is still open. \"pkgfs mounts\" shows which versions are kept. "
                "A mount that follows its package stays at the older version until the package means another one than "
                "that which it left. \"pkgfs refresh\" ends that.",
                "pkgfs rollback /mnt/app"},
    CommandSpec{CommandId::kUpgradeMounts, "upgrade-mounts", "[MOUNTPOINT...]",
                "let this version of pkgfs serve the mounts that exist",
                "Replaces the daemons of the named mounts, or of all, one after the other. Programs that use a mount "
                "notice a pause of milliseconds. If the mount doesn't answer with the new daemon, the old one goes on. "
                "A mount without a keeper (--keeper) keeps its daemon; so does one whose daemon answers the kernel in "
                "another way than this version. The exit code is then 10.",
                "pkgfs upgrade-mounts"},
    CommandSpec{CommandId::kInspect, "inspect", "PACKAGE", "show the contents of one package",
                "Shows the manifest, commands, atoms and volumes. pkgfs checks the whole package first, "
                "hashes included, and refuses a damaged one. --force shows the parts that pkgfs can read,"
                " and lists the problems. Of a package of more than 4 MB at a server, pkgfs reads only what it "
                "prints, and checks nothing; --lazy=off downloads and checks it. Dependencies are not resolved.",
                "pkgfs inspect ./app.webc"},
    CommandSpec{CommandId::kVerify, "verify", "PACKAGE", "check a package and all its dependencies for damage",
                "Reads everything once and lists every problem. The exit code is 4 if there is one. "
                "--structure leaves out the contents of files.",
                "pkgfs verify python/python@^3"},
    CommandSpec{CommandId::kTree, "tree", "PACKAGE", "show the merged tree, as a mount would show it", "",
                "pkgfs tree ./app.webc"},
    CommandSpec{CommandId::kLs, "ls", "PACKAGE [PATH]", "list a directory of the merged tree",
                "Symbolic links on the way to PATH are followed inside the tree; a link at its end is "
                "not. A control character in a name is shown as \\xNN, also in a pipe; \"pkgfs tree "
                "--json\" gives the name itself.",
                "pkgfs ls -l python/python /lib"},
    CommandSpec{CommandId::kCat, "cat", "PACKAGE PATH...", "write files of the merged tree to standard output",
                "Symbolic links are followed inside the tree.", "pkgfs cat ./app.webc /etc/app.conf"},
    CommandSpec{CommandId::kExtract, "extract", "PACKAGE DIR", "write the merged tree into a directory",
                "DIR gets exactly the contents of a mount: files, modes, modification times and symbolic "
                "links. pkgfs makes DIR if it does not exist. DIR must be empty; --force writes into one "
                "that is not. pkgfs follows no symbolic link inside DIR.\n"
                "DIR gets everything or nothing. pkgfs writes to a hidden directory beside DIR, or inside DIR if "
                "it exists, and moves the entries when all are complete. If the package is damaged, the disk is "
                "full or a signal comes, DIR is as before. --keep-going writes what can be read of a damaged "
                "package.",
                "pkgfs extract ./app.webc ./app"},
    CommandSpec{CommandId::kDiff, "diff", "A B", "list what differs between two packages",
                "A and B are packages, lock files, mounts, or directories such as one that \"pkgfs extract\" wrote. "
                "pkgfs compares the trees as a mount would show them: the types, permissions, sizes and contents of "
                "files and the targets of links, but not the times. Of packages and lock files, it also compares "
                "dependencies and commands. In the output, the letter M marks an entry that differs, A one that was "
                "added (only the second package has it), and D one that was deleted (only the first has it).\n"
                "If both packages state the hash of a file, pkgfs compares the hashes, and does not read the file; "
                "--verify=open checks them. The exit code is 0 if nothing differs, 1 if something differs, and 2 if "
                "reading or writing fails.",
                "pkgfs diff python/python@=3.12.0 python/python@=3.12.1\n"
                "pkgfs diff --stat old.lock new.lock"},
    CommandSpec{
        CommandId::kExport, "export", "PACKAGE OUT", "write the merged tree as an archive or an image",
        "OUT is a new file; with --force, it may exist. \"-\" stands for standard output (tar, oci, docker). "
        "For oci, OUT is a directory, or a file if its name ends with .tar. OUT gets everything or nothing. "
        "The same packages give the same bytes for every user, at every place and time: entries are sorted, the "
        "owner is 0:0, and the times are those of a mount. Compressed data also depends on the versions of "
        "zlib and squashfs-tools.",
        "pkgfs export ./app.webc app.tar\n"
        "pkgfs export --format=oci acme/app ./app-image"},
    CommandSpec{
        CommandId::kPack, "pack", "DIRECTORY|MOUNTPOINT", "make a package file from a directory with a wasmer.toml",
        "Writes a container of version 3, and prints its hash. The bytes are those that \"wasmer package build\" "
        "writes: what .wasmerignore files exclude is left out, and files keep their times. If the environment "
        "variable SOURCE_DATE_EPOCH has a number of seconds since 1970, later times become that time. Then the "
        "same files give the same package on every machine.\n"
        "FILE appears when it is complete, and replaces an earlier file. It may not lie in a directory that the "
        "package maps.\n"
        "For a writable mount, or a directory of changes (\"pkgfs mount --writable\"), pkgfs packs what the mount "
        "shows, as one package that needs no other. It has the same commands. Permissions and owners are not in it.",
        "pkgfs pack ./my-package -o my-package.webc"},
    CommandSpec{
        CommandId::kChanges, "changes", "MOUNTPOINT|DIR", "list what was changed in a writable mount",
        "DIR is a directory of changes that \"pkgfs mount --writable\" kept; it need not be mounted. In the "
        "output, A marks an entry that was added, M one whose content is another, P one with other permissions "
        "or another owner, D one that was deleted, and R a directory that was renamed. Of a directory that "
        "was deleted or renamed, the entries that went with it are not listed. --diff prints how the contents of files "
        "differ.",
        "pkgfs changes /mnt/python\n"
        "pkgfs changes --json ./my-changes"},
    CommandSpec{CommandId::kDiscard, "discard", "DIR", "throw away the changes of a writable mount",
                "DIR is a directory of changes that \"pkgfs mount --writable\" kept. It is empty afterwards. It must "
                "not be mounted: unmount it first. The changes of a mount without DIR end with the mount.",
                "pkgfs discard ./my-changes"},
    CommandSpec{CommandId::kResolve, "resolve", "PACKAGE",
                "show which packages a package needs, and what the tree is made of",
                "With --lock=FILE, pkgfs also writes the chosen packages, with hashes and URLs, to a lock "
                "file. The option --lock of other commands reads it. With --with-profile, a lazy mount with the file "
                "begins with what lazy mounts on this machine needed.",
                "pkgfs resolve --lock=app.lock acme/app"},
    CommandSpec{CommandId::kPull, "pull", "PACKAGE...", "download packages and their dependencies into the cache",
                "Downloads the packages that \"pkgfs mount\" would need and that the cache does not have. "
                "Interrupted downloads are continued, and so is what a lazy mount has begun. Prints the path of each "
                "container, or \"(not kept)\" "
                "for one with a wrong hash that --verify-downloads allowed.",
                "pkgfs pull python/python@^3 acme/app"},
    CommandSpec{CommandId::kPush, "push", "PACKAGE oci://HOST/REPOSITORY[:TAG]",
                "store a package and its dependencies in an OCI registry",
                "Sends the containers that the registry does not have, and a manifest that names them and the chosen "
                "versions. Prints the name of the artifact with its hash. Other commands take this name, or the one "
                "with the tag, as PACKAGE. They get the dependencies from the artifact, and ask no other registry. "
                "Without TAG, the tag is \"latest\". The same package gives the same hash.\n"
                "The login at the registry is the one of \"podman login\" or \"docker login\".",
                "pkgfs push acme/app oci://registry.example.com/acme/app:1.2"},
    CommandSpec{CommandId::kCache, "cache", "list|verify|prune|path", "list, check or remove downloaded packages",
                "list: show all entries, the longest unused first. \"(url)\" marks a download from a URL; "
                "its name is the hash of the URL. \"(partial)\" marks a package of which a mount has fetched "
                "only a part; the next mount goes on with it. \"(image)\" marks an image that the kernel mounts. "
                "\"(artifact)\" marks a manifest, lock file or tag of an OCI registry.\n"
                "verify: check every entry that is named by its own hash, and remove the damaged ones. "
                "The exit code is 4 if there was one.\n"
                "prune: remove the entries that --older-than and --max-size select, or all, and the rest "
                "of interrupted downloads. Partial packages go, too, unless a mount uses them.\n"
                "path: show the directory of the packages.\n"
                "Wasmer uses the same cache. A mount keeps its packages even if they are removed from the"
                " cache.",
                "pkgfs cache list\n"
                "pkgfs cache prune --older-than 30d"},
    CommandSpec{CommandId::kConfig, "config", "", "show every setting, its value and its origin",
                "A setting comes from the command line, else from the environment (WASMER_DIR, "
                "WASMER_CACHE_DIR, WASMER_REGISTRY, WASMER_TOKEN, WASMER_WEBC_VERSION, SSL_CERT_FILE, "
                "http_proxy, https_proxy, no_proxy), else from $WASMER_DIR/wasmer.toml, which \"wasmer "
                "login\" writes, else from a default. A proxy in wasmer.toml comes before the proxies of "
                "the environment. Tokens and passwords are not shown.",
                ""},
    CommandSpec{CommandId::kVolumePlugin, "volume-plugin", "", "serve packages as volumes of docker and podman",
                "The plugin stays in the foreground. A volume has the options of \"pkgfs mount -o\" and "
                "package=PACKAGE. A volume keeps the version of its package as long as it exists. Each "
                "mount has a daemon of its own, which continues when the plugin ends; the next plugin "
                "takes it over. If systemd passes a socket, the plugin uses it instead of --socket.",
                "docker volume create -d pkgfs -o package=python/python@^3 py"},
    CommandSpec{CommandId::kDoctor, "doctor", "", "check everything that mounts and downloads need",
                "Checks /dev/fuse, fusermount3, the kernel, libraries, the clock, all mounts, settings, "
                "the cache and the registries. Each line is \"ok\", \"warning\" or \"problem\"; the next line "
                "says what to do. The exit code is 1 if there is a problem, else 0. The command changes "
                "nothing, and waits for a mount or a server a few seconds at most.",
                ""},
};

}  // namespace

std::span<const CommandSpec> command_table() { return kCommands; }

const CommandSpec* find_command(std::string_view name) {
  if (name == "umount") {
    name = "unmount";
  }
  const auto* found = std::ranges::find(kCommands, name, &CommandSpec::name);
  return found == kCommands.end() ? nullptr : found;
}

const CommandSpec& command_spec(CommandId id) { return kCommands.at(static_cast<std::size_t>(id)); }

}  // namespace pkgfs
