// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/load/package_loader.h"
#include "core/tree/package_tree.h"
#include "daemon/cli/command_table.h"

namespace pkgfs {

/// How much is said on standard error. One of spdlog's level names.
struct LogFlags {
  std::string level = "warning";
};

/// Where packages come from; what isn't given here is looked for elsewhere (settings.h).
struct NetworkFlags {
  std::vector<std::string> registries;   // directories, URLs, domains, asked in this order
  std::optional<std::string> token;      // for the first registry that isn't a directory
  std::optional<std::string> cache_dir;  // instead of Wasmer's
  std::optional<std::string> lock;       // a lock file to follow, or to write (resolve)
  bool offline = false;
  bool no_wait = false;  // not even when a server says when to come back
  std::optional<VerifyDownloads> verify_downloads;
  std::optional<std::uint64_t> max_download;  // bytes
  std::optional<std::uint32_t> timeout;       // seconds
};

/// Which package is opened, and how its tree is put together.
struct TreeFlags {
  NetworkFlags network;
  Verify verify = Verify::kNone;
  bool strict = false;
  bool as_built = false;
  bool raw_links = false;
  bool exec_auto = false;        // x bits for files that start like programs
  bool mtime_container = false;  // entries without a stored time show the container file's
  vfs::Conflicts conflicts = vfs::Conflicts::kMerge;
  std::optional<std::string> commands_dir = "/bin";  // absolute, normal; none: commands aren't shown
};

/// What only a mount needs (docs/rules/filesystem.md, 9.5 and 9.7).
struct MountFlags {
  bool foreground = false;
  bool debug = false;               // foreground, log level debug
  std::optional<bool> allow_other;  // other users may look in; none: when root mounts
  bool auto_unmount = false;        // fusermount3 stays and unmounts when the daemon dies
  bool noexec = false;
  std::optional<std::uint32_t> uid;  // none: the mounting process's
  std::optional<std::uint32_t> gid;
  std::uint16_t fmask = 0;          // permission bits taken from files
  std::uint16_t dmask = 0;          // and from directories
  double live_timeout = 1;          // seconds that the kernel may believe what it knows of a live host file
  bool push = true;                 // give the kernel small files before they are asked for
  bool skip_open = true;            // let it open files without asking, where nothing can change
  std::string metrics;              // where they are served (metrics_server.h); empty: nowhere
  bool passthrough = true;          // let the kernel read whole host files by itself, where it can
  bool io_uring = false;            // take the requests through io_uring
  std::uint32_t read_ahead = 512;   // KiB that the kernel reads ahead in a file; 0: as it would by itself
  unsigned threads = 0;             // that take requests at the same time; 0: as many as suit the CPUs
  bool poll = true;                 // look for requests for a moment before sleeping
  std::optional<bool> cpu_latency;  // keep idle CPUs awake while requests come; none: where it suits
};

/// What only the volume plugin needs.
struct PluginFlags {
  std::string socket = "/run/docker/plugins/pkgfs.sock";
  std::string state_dir = "/var/lib/pkgfs/volumes";
  std::string mount_root = "/run/pkgfs/volumes";
  double mount_wait = 3.5;  // seconds
  double keep = 10;         // seconds
};

struct MountOptions : MountFlags {
  std::string package;
  std::string mountpoint;
  TreeFlags tree;
  LogFlags log;
};

/// Everything a command line can say; each command takes a part of it.
struct Options {
  std::vector<std::string> operands;
  TreeFlags tree;
  LogFlags log;
  MountFlags mount;
  PluginFlags plugin;
  bool json = false;
  bool dot = false;
  bool commands = false;   // inspect: check and list the commands
  bool structure = false;  // verify: no contents
  bool force = false;
  bool dry_run = false;                            // cache prune
  std::optional<std::chrono::seconds> older_than;  // cache prune
  std::optional<std::uint64_t> max_size;           // cache prune: bytes that may stay
  bool lazy = false;                               // unmount: also while in use
  bool long_listing = false;                       // ls
};

/// One option: it drives the long flag, the letter, the name in `-o`, and the help text.
struct OptionSpec {
  std::string_view name;      // without dashes; `-o` takes it with "_" for "-" too
  char letter = '\0';         // none if NUL
  std::string_view argument;  // what the help calls its value; empty: a switch
  std::string_view help;      // lines
  unsigned commands = 0;      // bit set over CommandId
  bool mount_word = false;    // also accepted in -o
  void (*apply)(Options& options, std::string_view value) = nullptr;  // throws Error(kUsage)
};

[[nodiscard]] std::span<const OptionSpec> option_table();
[[nodiscard]] bool takes(const OptionSpec& option, CommandId command);

/// A word that mount(8), fstab or libfuse may put into `-o` and that is no option of ours.
struct MountWord {
  std::string_view word;  // a trailing "*" or "=" stands for any rest
  bool refused = false;
  std::string_view why;
  bool unasked = false;  // mount(8) or mount.fuse(8) adds it by itself: refused only where the user wrote it
};
[[nodiscard]] std::span<const MountWord> mount_words();

/// How the words of `-o` are taken.
struct MountWordRules {
  bool from_mount = false;  // mount(8) calls: what it adds by itself is accepted
  bool sloppy = false;      // unknown words are left out (mount -s)
};

/// Parses what follows the command's name. Unknown options are named before anything else is complained about.
/// Operands are counted against `minimum` and `maximum`. Throws Error(kUsage).
[[nodiscard]] Options parse_options(CommandId command, const std::vector<std::string>& args, std::size_t minimum,
                                    std::size_t maximum);
/// The same for `pkgfs mount`.
[[nodiscard]] MountOptions parse_mount_options(const std::vector<std::string>& args, const MountWordRules& rules = {});

/// Splits the value of an `-o` at commas; `\,` is a comma and `\\` a backslash, and so is `name="a,b"` one item, as for
/// mount(8). Empty parts are left out.
[[nodiscard]] std::vector<std::string> split_mount_words(std::string_view text);

}  // namespace pkgfs
