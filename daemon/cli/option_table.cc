// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <string>

#include "core/package/package_info.h"
#include "daemon/cli/listen_address.h"
#include "daemon/cli/option_values.h"
#include "daemon/cli/options.h"

namespace pkgfs {

namespace {

template <typename... Ids>
constexpr unsigned set_of(Ids... ids) {
  return ((1U << static_cast<unsigned>(ids)) | ...);
}

constexpr unsigned kTreeCommands = set_of(CommandId::kMount, CommandId::kVerify, CommandId::kTree, CommandId::kLs,
                                          CommandId::kCat, CommandId::kExtract);
constexpr unsigned kResolvingCommands = kTreeCommands | set_of(CommandId::kInspect, CommandId::kResolve);
constexpr unsigned kFetchingCommands = kResolvingCommands | set_of(CommandId::kPull);
constexpr unsigned kAllCommands =
    kFetchingCommands | set_of(CommandId::kUnmount, CommandId::kMounts, CommandId::kStats, CommandId::kCache,
                               CommandId::kConfig, CommandId::kVolumePlugin);
constexpr unsigned kMountOnly = set_of(CommandId::kMount);
constexpr unsigned kPluginOnly = set_of(CommandId::kVolumePlugin);

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
  if (value == "merge") {
    options.tree.conflicts = vfs::Conflicts::kMerge;
  } else if (value == "shadow") {
    options.tree.conflicts = vfs::Conflicts::kShadow;
  } else if (value == "error") {
    options.tree.conflicts = vfs::Conflicts::kError;
  } else {
    bad_value("conflicts", value, "merge, shadow or error");
  }
}

void set_verify(Options& options, std::string_view value) {
  if (value == "none") {
    options.tree.verify = Verify::kNone;
  } else if (value == "open") {
    options.tree.verify = Verify::kOpen;
  } else if (value == "read") {
    options.tree.verify = Verify::kRead;
  } else {
    bad_value("verify", value, "none, open or read");
  }
}

void set_log_level(Options& options, std::string_view value) {
  constexpr std::array<std::string_view, 5> kLevels{"error", "warning", "info", "debug", "trace"};
  if (std::ranges::find(kLevels, value) == kLevels.end()) {
    bad_value("log-level", value, "error, warning, info, debug or trace");
  }
  options.log.level = value;
}

void set_exec(Options& options, std::string_view value) {
  if (value != "auto" && value != "none") {
    bad_value("exec", value, "auto or none");
  }
  options.tree.exec_auto = value == "auto";
}

void set_mtime(Options& options, std::string_view value) {
  if (value != "container" && value != "stored") {
    bad_value("mtime", value, "container or stored");
  }
  options.tree.mtime_container = value == "container";
}

void set_registry(Options& options, std::string_view value) {
  if (value.empty()) {
    bad_value("registry", value, "a directory, a URL or a domain");
  }
  options.tree.network.registries.emplace_back(value);
}

void set_verify_downloads(Options& options, std::string_view value) {
  if (value == "fail") {
    options.tree.network.verify_downloads = VerifyDownloads::kFail;
  } else if (value == "warn") {
    options.tree.network.verify_downloads = VerifyDownloads::kWarn;
  } else if (value == "off") {
    options.tree.network.verify_downloads = VerifyDownloads::kOff;
  } else {
    bad_value("verify-downloads", value, "fail, warn or off");
  }
}

constexpr std::array kTable{
    OptionSpec{"registry", '\0', "DIR|URL|DOMAIN",
               "where packages are looked up by name: a directory, or a Wasmer registry on the\nnetwork; may be "
               "given several times: directories are asked first, and a registry\nonly for what none before it has "
               "(default: WASMER_REGISTRY, else the registry\nthat \"wasmer login\" chose, else wasmer.io)",
               kFetchingCommands | set_of(CommandId::kConfig, CommandId::kDoctor), true, set_registry},
    OptionSpec{"offline", '\0', "", "use what is in the cache, however old, and no network",
               kFetchingCommands | set_of(CommandId::kConfig, CommandId::kDoctor), true,
               [](Options& options, std::string_view) { options.tree.network.offline = true; }},
    OptionSpec{"lock", '\0', "FILE",
               "use exactly the packages that FILE names, whatever the registry says now\n(\"pkgfs resolve "
               "--lock=FILE\" writes it); fails if a hash differs",
               (kTreeCommands | set_of(CommandId::kPull)) & ~set_of(CommandId::kVerify), true,
               [](Options& options, std::string_view value) { options.tree.network.lock = value; }},
    OptionSpec{"lock", '\0', "FILE", "write what was chosen, with hashes and URLs, to FILE",
               set_of(CommandId::kResolve), false,
               [](Options& options, std::string_view value) { options.tree.network.lock = value; }},
    OptionSpec{"token", '\0', "TOKEN",
               "for the first registry on the network (default: WASMER_TOKEN, else what \"wasmer\nlogin\" stored). "
               "Other users can see the command line: prefer WASMER_TOKEN",
               kFetchingCommands | set_of(CommandId::kConfig, CommandId::kDoctor), false,
               [](Options& options, std::string_view value) { options.tree.network.token = value; }},
    OptionSpec{"cache-dir", '\0', "DIR", "where downloads are kept (default: WASMER_CACHE_DIR, else ~/.wasmer/cache)",
               kFetchingCommands | set_of(CommandId::kConfig, CommandId::kCache, CommandId::kDoctor), true,
               [](Options& options, std::string_view value) { options.tree.network.cache_dir = value; }},
    OptionSpec{"verify-downloads", '\0', "fail|warn|off",
               "what to do when a download doesn't have the hash that its registry gave; it\nnever enters the cache "
               "(default: fail)",
               kFetchingCommands | set_of(CommandId::kConfig), true, set_verify_downloads},
    OptionSpec{"max-download", '\0', "SIZE", "refuse a package that is larger (default: 16G)",
               kFetchingCommands | set_of(CommandId::kConfig), true,
               [](Options& options, std::string_view value) {
                 options.tree.network.max_download = parse_size("max-download", value);
               }},
    OptionSpec{"timeout", '\0', "SECONDS", "how long a server may send nothing before it's tried again (default: 30)",
               kFetchingCommands | set_of(CommandId::kConfig, CommandId::kDoctor), true,
               [](Options& options, std::string_view value) {
                 options.tree.network.timeout = parse_timeout("timeout", value);
               }},
    OptionSpec{"no-wait", '\0', "", "give up when a server asks to come back later, instead of waiting up to a minute",
               kFetchingCommands | set_of(CommandId::kConfig), true,
               [](Options& options, std::string_view) { options.tree.network.no_wait = true; }},
    OptionSpec{"commands-dir", '\0', "DIR", "where the package's commands appear as executable files (default: /bin)",
               kTreeCommands, true, set_commands_dir},
    OptionSpec{"no-commands", '\0', "", "don't show the commands as files", kTreeCommands, true,
               [](Options& options, std::string_view) { options.tree.commands_dir.reset(); }},
    OptionSpec{"conflicts", '\0', "merge|shadow|error",
               "where two packages provide the same path: merge directories and let the first\nwin elsewhere "
               "(default), let a mount hide what lies below it, or fail",
               kTreeCommands, true, set_conflicts},
    OptionSpec{"strict", '\0', "",
               "fail for what is otherwise a warning: damaged parts, broken commands, mappings of\nmissing "
               "directories. Walks the whole tree first",
               kTreeCommands, true, [](Options& options, std::string_view) { options.tree.strict = true; }},
    OptionSpec{"verify", '\0', "none|open|read",
               "none (default): only structure is checked, when it is touched; costs nothing.\nopen: every hash, "
               "before the package is used; reads each container once.\nread: a file's hash when it is first "
               "opened; reads that file twice, once",
               kTreeCommands & ~set_of(CommandId::kVerify), true, set_verify},
    OptionSpec{"raw-links", '\0', "", "show links that lead out of the tree as they are stored", kTreeCommands, true,
               [](Options& options, std::string_view) { options.tree.raw_links = true; }},
    OptionSpec{"as-built", '\0', "",
               "leave out of a directory package what .wasmerignore (without one: .git) keeps out\nof a built one",
               kResolvingCommands, true, [](Options& options, std::string_view) { options.tree.as_built = true; }},
    OptionSpec{"foreground", 'f', "", "stay in the foreground", kMountOnly, false,
               [](Options& options, std::string_view) { options.mount.foreground = true; }},
    OptionSpec{"debug", 'd', "", "log every request; implies -f", kMountOnly, true,
               [](Options& options, std::string_view) {
                 options.mount.debug = true;
                 options.mount.foreground = true;
                 options.log.level = "debug";
               }},
    OptionSpec{"allow-other", '\0', "",
               "let other users see the mount (default when root mounts; for others it needs\nuser_allow_other in "
               "/etc/fuse.conf)",
               kMountOnly, true, [](Options& options, std::string_view) { options.mount.allow_other = true; }},
    OptionSpec{"no-allow-other", '\0', "", "keep the mount to the user who mounts, also for root", kMountOnly, true,
               [](Options& options, std::string_view) { options.mount.allow_other = false; }},
    OptionSpec{"auto-unmount", '\0', "", "unmount when the daemon dies, however it does (a fusermount3 process stays)",
               kMountOnly, true, [](Options& options, std::string_view) { options.mount.auto_unmount = true; }},
    OptionSpec{"uid", '\0', "ID", "owner of everything (default: who mounts)", kMountOnly, true,
               [](Options& options, std::string_view value) { options.mount.uid = parse_id("uid", value); }},
    OptionSpec{"gid", '\0', "ID", "group of everything (default: that of who mounts)", kMountOnly, true,
               [](Options& options, std::string_view value) { options.mount.gid = parse_id("gid", value); }},
    OptionSpec{"fmask", '\0', "OCTAL", "permission bits to take from files (default: 0)", kMountOnly, true,
               [](Options& options, std::string_view value) { options.mount.fmask = parse_mask("fmask", value); }},
    OptionSpec{"dmask", '\0', "OCTAL", "permission bits to take from directories (default: 0)", kMountOnly, true,
               [](Options& options, std::string_view value) { options.mount.dmask = parse_mask("dmask", value); }},
    OptionSpec{"exec", '\0', "auto|none", "auto: files that start like a program (WebAssembly, ELF, #!) are executable",
               kTreeCommands, true, set_exec},
    OptionSpec{"mtime", '\0', "container|stored",
               "container: what has no time of its own shows the container file's\n(default: stored, 1970 without one)",
               kTreeCommands, true, set_mtime},
    OptionSpec{"live-timeout", '\0', "SECONDS",
               "how long the kernel may believe what it knows of live host files (default: 1)", kMountOnly, true,
               [](Options& options, std::string_view value) {
                 options.mount.live_timeout = parse_seconds("live-timeout", value);
               }},
    OptionSpec{"push", '\0', "auto|off",
               "auto (default): give the kernel the small files of a directory that is being read\nbefore it asks, "
               "while there is memory",
               kMountOnly, true,
               [](Options& options, std::string_view value) { options.mount.push = parse_auto("push", value); }},
    OptionSpec{
        "skip-open", '\0', "auto|off",
        "auto (default): let the kernel open files without asking, where nothing can change", kMountOnly, true,
        [](Options& options, std::string_view value) { options.mount.skip_open = parse_auto("skip-open", value); }},
    OptionSpec{
        "passthrough", '\0', "auto|off",
        "auto (default): let the kernel read the files of live directories by itself, with\nlibfuse 3.17 and as root",
        kMountOnly, true,
        [](Options& options, std::string_view value) { options.mount.passthrough = parse_auto("passthrough", value); }},
    OptionSpec{"io-uring", '\0', "on|off",
               "on: take the kernel's requests through io_uring, with libfuse 3.18 (default: off;\na slow disk then "
               "holds up others, too)",
               kMountOnly, true,
               [](Options& options, std::string_view value) { options.mount.io_uring = parse_on("io-uring", value); }},
    OptionSpec{
        "read-ahead", '\0', "KIB",
        "how far the kernel reads ahead in large files (default: 512; 0: as it would by\nitself); only root may "
        "change it",
        kMountOnly, true,
        [](Options& options, std::string_view value) { options.mount.read_ahead = parse_kib("read-ahead", value); }},
    OptionSpec{
        "threads", '\0', "N",
        "how many threads take requests at the same time at most, 1 to 16 (default: one for\nevery two CPUs); "
        "others wait for disks",
        kMountOnly, true,
        [](Options& options, std::string_view value) { options.mount.threads = parse_threads("threads", value); }},
    OptionSpec{"poll", '\0', "auto|off",
               "auto (default): after an answer look for the next request for up to 0.2 ms before\nsleeping, where "
               "that pays and nobody else wants the CPU",
               kMountOnly, true,
               [](Options& options, std::string_view value) { options.mount.poll = parse_auto("poll", value); }},
    OptionSpec{"cpu-latency", '\0', "auto|on|off",
               "auto (default): keep idle CPUs from sleeping while many requests come, as root and\nwith up to 4 CPUs "
               "(/dev/cpu_dma_latency); on: with any number",
               kMountOnly, true,
               [](Options& options, std::string_view value) {
                 options.mount.cpu_latency = parse_auto_on_off("cpu-latency", value);
               }},
    OptionSpec{"metrics", '\0', "ADDRESS",
               "serve Prometheus metrics over HTTP at unix:PATH, HOST:PORT, or PORT on 127.0.0.1\n(docs/METRICS.md)",
               kMountOnly, true,
               [](Options& options, std::string_view value) {
                 (void)parse_metrics_address(std::string(value));
                 options.mount.metrics = value;
               }},
    OptionSpec{"json", '\0', "", "print JSON",
               set_of(CommandId::kMounts, CommandId::kStats, CommandId::kInspect, CommandId::kVerify, CommandId::kTree,
                      CommandId::kResolve, CommandId::kCache, CommandId::kConfig, CommandId::kDoctor),
               false, [](Options& options, std::string_view) { options.json = true; }},
    OptionSpec{"json", '\0', "", "print an event a line, as JSON, while it works", set_of(CommandId::kPull), false,
               [](Options& options, std::string_view) { options.json = true; }},
    OptionSpec{"older-than", '\0', "AGE", "prune: what wasn't used for so long (30d, 12h, 10m, 45s)",
               set_of(CommandId::kCache), false,
               [](Options& options, std::string_view value) { options.older_than = parse_age("older-than", value); }},
    OptionSpec{"max-size", '\0', "SIZE", "prune: the longest unused, until no more than SIZE is left (500M, 2G)",
               set_of(CommandId::kCache), false,
               [](Options& options, std::string_view value) { options.max_size = parse_size("max-size", value); }},
    OptionSpec{"dry-run", 'n', "", "verify and prune: only say what would be removed", set_of(CommandId::kCache), false,
               [](Options& options, std::string_view) { options.dry_run = true; }},
    OptionSpec{"dot", '\0', "", "print the dependency graph in the DOT language", set_of(CommandId::kResolve), false,
               [](Options& options, std::string_view) { options.dot = true; }},
    OptionSpec{"commands", '\0', "", "list the commands only; fails if one is broken", set_of(CommandId::kInspect),
               false, [](Options& options, std::string_view) { options.commands = true; }},
    OptionSpec{"structure", '\0', "", "check everything but the contents of files", set_of(CommandId::kVerify), false,
               [](Options& options, std::string_view) { options.structure = true; }},
    OptionSpec{"long", 'l', "", "show modes, sizes and times", set_of(CommandId::kLs), false,
               [](Options& options, std::string_view) { options.long_listing = true; }},
    OptionSpec{"force", '\0', "", "inspect a damaged package as far as possible", set_of(CommandId::kInspect), false,
               [](Options& options, std::string_view) { options.force = true; }},
    OptionSpec{"force", '\0', "", "write into a directory that isn't empty, over what is there",
               set_of(CommandId::kExtract), false, [](Options& options, std::string_view) { options.force = true; }},
    OptionSpec{"lazy", 'z', "", "also while it is in use: detach now, end with the last use",
               set_of(CommandId::kUnmount), false, [](Options& options, std::string_view) { options.lazy = true; }},
    OptionSpec{"socket", '\0', "PATH", "where engines ask (default: /run/docker/plugins/pkgfs.sock)", kPluginOnly,
               false,
               [](Options& options, std::string_view value) { options.plugin.socket = parse_path("socket", value); }},
    OptionSpec{
        "state-dir", '\0', "DIR", "what is remembered of the volumes (default: /var/lib/pkgfs/volumes)", kPluginOnly,
        false,
        [](Options& options, std::string_view value) { options.plugin.state_dir = parse_path("state-dir", value); }},
    OptionSpec{
        "mount-root", '\0', "DIR",
        "where the volumes are mounted (default: /run/pkgfs/volumes). It is the plugin's own:\nmounts in it that "
        "belong to no volume are ended",
        kPluginOnly, false,
        [](Options& options, std::string_view value) { options.plugin.mount_root = parse_path("mount-root", value); }},
    OptionSpec{"mount-wait", '\0', "SECONDS",
               "how long an engine waits before it is told that a volume isn't ready yet (default:\n3.5; podman's own "
               "limit is 5)",
               kPluginOnly, false,
               [](Options& options,
                  std::string_view value) { options.plugin.mount_wait = parse_seconds("mount-wait", value); }},
    OptionSpec{"keep", '\0', "SECONDS", "how long a mount stays that nobody uses any more (default: 10)", kPluginOnly,
               false,
               [](Options& options, std::string_view value) { options.plugin.keep = parse_seconds("keep", value); }},
    OptionSpec{"log-level", '\0', "LEVEL",
               "what is said on standard error: error, warning (default), info, debug or trace", kAllCommands, true,
               set_log_level},
    OptionSpec{"quiet", 'q', "", "errors only", kAllCommands, true,
               [](Options& options, std::string_view) { options.log.level = "error"; }},
};

}  // namespace

std::span<const OptionSpec> option_table() { return kTable; }

bool takes(const OptionSpec& option, CommandId command) {
  return ((option.commands >> static_cast<unsigned>(command)) & 1U) != 0;
}

}  // namespace pkgfs
