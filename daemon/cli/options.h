// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/cache/container_fetcher.h"
#include "core/lazy/lazy_opener.h"
#include "core/tree/package_tree.h"
#include "daemon/cli/command_table.h"

namespace pkgfs {

/// Which messages go to standard error.
struct LogFlags {
  std::string level = "warning";  // a level name of spdlog
};

/// Where packages come from. settings.h looks for the missing ones in the environment and in Wasmer's configuration.
struct NetworkFlags {
  std::vector<std::string> registries;   // directories, URLs and domains, in the order given
  std::optional<std::string> token;      // for the first registry that isn't a directory
  std::optional<std::string> cache_dir;  // replaces Wasmer's cache directory
  std::optional<std::string> lock;       // the lock file to read; the one to write for `resolve`
  bool offline = false;
  bool allow_url_dependencies = false;  // packages from strangers may depend on URLs of any server
  bool no_wait = false;                 // fail when a server asks to come back later
  std::optional<VerifyDownloads> verify_downloads;
  std::optional<std::uint64_t> max_download;  // bytes
  std::optional<std::uint32_t> timeout;       // seconds
  std::optional<std::uint32_t> deadline;      // seconds
  bool ask_again = false;         // ask registries and the servers of URLs, even if the cache has their answers
  bool forks_later = true;        // false: no process that shares connections with this one will follow
  bool any_age = false;           // with `offline`: no warning that an answer in the cache is old
  bool is_never_path = false;     // PACKAGE is no path, even if there is a file of its name
  std::string working_directory;  // where relative paths of dependencies begin; empty: that of the process
};

/// How packages are opened and how their tree is put together.
struct TreeFlags {
  NetworkFlags network;
  Verify verify = Verify::kNone;
  bool strict = false;
  bool lenient = false;  // --strict=no
  bool as_built = false;
  bool follow_manifest = false;  // take over changes of the manifest of a directory
  bool allow_outside = false;    // the manifest of a directory may lead out of it
  bool untrusted = false;        // all packages come from strangers: no live directories, warnings of damage are errors
  bool raw_links = false;
  std::optional<std::uint64_t> max_unpacked;          // bytes that a tarball may unpack to; none: as limits.h says
  Lazy lazy = Lazy::kAuto;                            // which containers are read over the network while they are used
  std::optional<std::uint64_t> background_rate = {};  // bytes a second of what is fetched meanwhile; 0: nothing
  std::optional<std::uint64_t> cache_limit = {};      // bytes of the cache that a full disk leaves; none: all
  bool complete_begun = false;                        // go on with a container of which a lazy mount has fetched a part
  std::optional<std::uint64_t> memory;  // bytes for merged directories; none: chosen by the control group's limit
  bool exec_auto = false;               // files that start like programs get x bits
  std::optional<vfs::Times> times;  // of what has no time of its own; none: made of a hash, but stored in `tree --json`
  View view = View::kMerged;
  vfs::Conflicts conflicts = vfs::Conflicts::kMerge;
  std::optional<std::string> commands_dir = "/bin";  // absolute and normal; none: commands aren't shown
};

/// What serves a mount.
enum class Engine : std::uint8_t {
  kAuto,   // kFuse
  kFuse,   // a daemon
  kErofs,  // the kernel, from an image
};

/// The options of `pkgfs mount` only (docs/rules/filesystem.md, 9.5 and 9.7).
struct MountFlags {
  Engine engine = Engine::kAuto;
  bool foreground = false;
  bool debug = false;               // set together with `foreground` and the log level debug
  std::optional<bool> allow_other;  // other users may use the mount; none: yes if root mounts
  bool auto_unmount = false;        // a fusermount3 process unmounts when the daemon dies
  bool allow_root = false;          // root may use the mount, too; other users may not
  bool noexec = false;
  bool nosymfollow = false;
  bool remount = false;                // remount,ro: change nothing
  std::vector<std::string> unchanged;  // with `remount`: the words of `-o` that would change a mount, with their values
  std::vector<std::string> security;   // words for the kernel's SELinux: "context=..."
  std::optional<std::uint32_t> uid;    // none: that of the mounting process
  std::optional<std::uint32_t> gid;
  std::uint16_t fmask = 0;         // permission bits that files lose
  std::uint16_t dmask = 0;         // and directories
  double live_timeout = 1;         // seconds that the kernel may cache what it knows of a live host file
  bool push = true;                // prefetch small files into the page cache
  bool skip_open = true;           // let the kernel open files without a request, where nothing can change
  std::string metrics;             // the address of the metrics server; empty: none
  bool passthrough = true;         // let the kernel read host files directly, where it can
  bool io_uring = false;           // take requests through io_uring
  std::uint32_t read_ahead = 512;  // KiB that the kernel reads ahead in a file; 0: the kernel's own value
  unsigned threads = 0;            // that serve requests at the same time; 0: chosen by the number of CPUs
  bool poll = true;                // look for the next request for a moment before sleeping
  /// A process that lets another daemon go on with the mount if the daemon is killed. None: for mounts in the
  /// background of packages that don't change.
  std::optional<bool> keeper;
  bool has_keeperd = false;                      // pkgfs-keeperd holds the mount, too; `keeper` is true
  std::string crash_dir;                         // the directory for the stacks of crashes; empty: none are written
  bool writable = false;                         // an overlay above the mount takes changes
  std::string writable_dir;                      // absolute: where they are kept; empty: they end with the mount
  std::optional<std::uint64_t> writable_size;    // bytes of a file system in memory for the changes
  std::optional<std::uint64_t> writable_inodes;  // of that file system
  bool rebase = false;                           // use changes that were made above other packages
  std::optional<std::chrono::seconds> follow;    // how often the package is resolved again; none: never
  unsigned keep_old = 0;                         // older versions that stay open for `rollback`
  std::string on_change;                         // the shell command to run after a change; empty: none
  std::optional<std::chrono::seconds> idle;      // serve: after which an unused package is closed
  std::string locks;                             // serve: the directory of lock files; empty: none
  std::optional<bool> cpu_latency;               // keep idle CPUs awake while requests come; none: where it helps
};

/// The options of `pkgfs volume-plugin` only.
struct PluginFlags {
  std::string socket = "/run/docker/plugins/pkgfs.sock";
  std::string state_dir = "/var/lib/pkgfs/volumes";
  std::string mount_root = "/run/pkgfs/volumes";
  double mount_wait = 3.5;  // seconds
  double keep = 10;         // seconds
};

/// How the words of `-o` are treated.
struct MountWordRules {
  bool from_mount = false;  // mount(8) calls: accept the words that it adds by itself
  bool sloppy = false;      // leave out unknown words (mount -s)
};

/// What `parse_mount_options` parses.
struct MountArguments {
  std::vector<std::string> words;
  MountWordRules rules = {};
  std::string working_directory;  // of the process; empty: unknown
};

struct MountOptions : MountFlags {
  MountArguments arguments;  // that were parsed
  std::string package;
  std::string mountpoint;
  TreeFlags tree;
  LogFlags log;
};

/// What `pkgfs export` writes.
enum class ExportFormat : std::uint8_t { kTar, kOci, kDocker, kSquashfs, kErofs };

/// Everything that a command line can set. Each command uses a part of it.
struct Options {
  std::vector<std::string> operands;
  TreeFlags tree;
  LogFlags log;
  MountFlags mount;
  PluginFlags plugin;
  bool json = false;
  bool dot = false;
  bool with_profile = false;  // resolve: put profiles of accesses into the lock file
  bool commands = false;      // inspect: list only the commands
  bool structure = false;     // verify: leave out the contents of files
  bool force = false;
  bool keep_going = false;                         // extract: also what isn't damaged
  std::string output;                              // pack: the file to write
  bool only_sum = false;                           // diff: --stat
  bool with_diff = false;                          // changes: contents
  ExportFormat format = ExportFormat::kTar;        // export
  std::string platform = "linux/wasm";             // export: of an image
  bool dry_run = false;                            // cache prune
  std::optional<std::chrono::seconds> older_than;  // cache prune
  std::optional<std::uint64_t> max_size;           // cache prune: bytes to keep at most
  bool lazy = false;                               // unmount: also while programs use it
  std::optional<double> wait_limit;                // wait: seconds
  bool long_listing = false;                       // ls
};

/// Parses the arguments after the command's name. Throws Error(kUsage): for all unknown options at once, else for the
/// first wrong value, else for fewer than `minimum` or more than `maximum` operands.
[[nodiscard]] Options parse_options(CommandId command, const std::vector<std::string>& args, std::size_t minimum,
                                    std::size_t maximum);
/// The same for `pkgfs mount`.
[[nodiscard]] MountOptions parse_mount_options(const std::vector<std::string>& args, const MountWordRules& rules = {});
/// The same for `pkgfs serve`; `package` is empty.
[[nodiscard]] MountOptions parse_serve_options(const std::vector<std::string>& args, const MountWordRules& rules = {});

}  // namespace pkgfs
