// SPDX-License-Identifier: MIT
#include "daemon/cli/command_table.h"

#include <algorithm>
#include <array>

namespace pkgfs {

namespace {

constexpr std::array kTable{
    CommandSpec{CommandId::kMount, "mount", "PACKAGE MOUNTPOINT", "show a package and its dependencies as a directory",
                "PACKAGE is a .webc file, a directory with a wasmer.toml, a URL, or a specifier such as\n"
                "\"namespace/name@^1.2\". The mount is read-only, nosuid and nodev. The command returns\n"
                "when the mount answers and stays in the background after that."},
    CommandSpec{CommandId::kUnmount, "unmount", "MOUNTPOINT", "end a mount, a dead one too",
                "Also spelled \"pkgfs umount\". \"umount\" and \"fusermount3 -u\" do as well."},
    CommandSpec{CommandId::kMounts, "mounts", "", "list the mounts of pkgfs", ""},
    CommandSpec{CommandId::kStats, "stats", "MOUNTPOINT", "show what a mount was asked, how often and how long it took",
                "Requests, errors and times of each operation since the mount. p50 and p99 are at most 25 %\n"
                "too high, max is exact. A mount that doesn't answer is not waited for."},
    CommandSpec{CommandId::kInspect, "inspect", "PACKAGE", "show what one package holds",
                "Manifest, commands, atoms, volumes. Checks the whole package first, hashes included, and\n"
                "refuses a damaged one (--force shows what can be read of it, with the list of problems).\n"
                "Dependencies are neither resolved nor needed."},
    CommandSpec{CommandId::kVerify, "verify", "PACKAGE", "check a package and all its dependencies for damage",
                "Lists every problem, and exits with 4 if there is one. Reads everything once;\n"
                "--structure leaves the contents of files out."},
    CommandSpec{CommandId::kTree, "tree", "PACKAGE", "show the merged tree as a mount would show it", ""},
    CommandSpec{CommandId::kLs, "ls", "PACKAGE [PATH]", "list a directory of the merged tree",
                "Links on the way to PATH are followed inside the tree; a link at its end is not."},
    CommandSpec{CommandId::kCat, "cat", "PACKAGE PATH...", "write files of the merged tree to standard output",
                "Links are followed inside the tree."},
    CommandSpec{CommandId::kExtract, "extract", "PACKAGE DIR", "write the merged tree into a directory",
                "Writes exactly what a mount shows: content, modes, modification times, links. DIR is made if\n"
                "it is missing and must be empty otherwise (--force: write into what is there). No link inside\n"
                "DIR is followed."},
    CommandSpec{CommandId::kResolve, "resolve", "PACKAGE",
                "show which packages a package needs and what they add up to",
                "With --lock=FILE also writes them down, with hashes and URLs, for --lock of the other\n"
                "commands."},
    CommandSpec{CommandId::kPull, "pull", "PACKAGE...", "download what packages need into the cache",
                "Resolves each package and downloads what a mount of it needs and the cache doesn't have, as\n"
                "\"pkgfs mount\" would. Prints where each container is, or \"(not kept)\" for one that\n"
                "--verify-downloads let pass with a wrong hash. Interrupted downloads are continued."},
    CommandSpec{CommandId::kCache, "cache", "list|verify|prune|path", "look after the downloaded packages",
                "list: what is there, the longest unused first; \"(url)\" marks what was asked for by URL and\n"
                "is named by the hash of that. verify: hashes every entry that is named by its own hash and\n"
                "removes the damaged ones; exits with 4 if there was one. prune: removes entries (--older-than,\n"
                "--max-size; without either all) and what interrupted downloads left. path: where the packages\n"
                "with a hash are. The cache is shared with Wasmer; a mount keeps what it uses, also when the\n"
                "cache forgets it."},
    CommandSpec{CommandId::kConfig, "config", "", "show every setting, its value and where that is from",
                "Settings come from the command line, else the environment (WASMER_DIR, WASMER_CACHE_DIR,\n"
                "WASMER_REGISTRY, WASMER_TOKEN, WASMER_WEBC_VERSION, SSL_CERT_FILE, http_proxy, https_proxy,\n"
                "no_proxy), else $WASMER_DIR/wasmer.toml (\"wasmer login\" writes it), else a default; but a proxy\n"
                "in wasmer.toml comes before those of the environment. Tokens and passwords aren't shown."},
    CommandSpec{CommandId::kVolumePlugin, "volume-plugin", "", "serve packages as volumes of docker and podman",
                "Stays in the foreground. The options of a volume are those of \"pkgfs mount -o\" and package=NAME:\n"
                "docker volume create -d pkgfs -o package=python/python@^3 py. A package by name stays the same\n"
                "for as long as the volume exists. Each mount is a process of its own, which goes on when this\n"
                "one ends; the next one takes it over. A socket that systemd passes is used instead of --socket."},
    CommandSpec{CommandId::kDoctor, "doctor", "", "check what mounts and downloads need, and say what to do",
                "Looks at /dev/fuse, fusermount3, the kernel, libraries, the clock, all mounts, settings, the cache\n"
                "and the registries. Each line is \"ok\", \"warning\" or \"problem\"; exits with 1 if there is a\n"
                "problem, else with 0. Changes nothing, and waits for no mount and no server longer than seconds."},
};

}  // namespace

std::span<const CommandSpec> command_table() { return kTable; }

const CommandSpec* find_command(std::string_view name) {
  if (name == "umount") {
    name = "unmount";
  }
  const auto* found = std::ranges::find(kTable, name, &CommandSpec::name);
  return found == kTable.end() ? nullptr : found;
}

const CommandSpec& command_spec(CommandId id) { return kTable.at(static_cast<std::size_t>(id)); }

}  // namespace pkgfs
