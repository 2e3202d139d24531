// SPDX-License-Identifier: MIT
#include "daemon/mount/writable_run.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/webc/json_fields.h"
#include "core/webc/parse_json.h"
#include "daemon/mount/unmount.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;
using webc::Json;

constexpr std::size_t kMostRunText = 1U << 20U;
constexpr std::size_t kIdLength = 16;
constexpr const char* kRunFile = "/mount.json";

/// The first user of the namespace and the user outside that it stands for, as /proc/self/uid_map says.
struct UserMap {
  unsigned long inside = 0;
  unsigned long outside = 0;
  unsigned long count = 0;
};

UserMap user_map() {
  UserMap map;
  if (const std::optional<std::string> text = read_kernel_file("/proc/self/uid_map")) {
    std::istringstream(*text) >> map.inside >> map.outside >> map.count;
  }
  return map;
}

bool is_in_user_namespace() {
  constexpr unsigned long kAll = 0xffffffff;
  const UserMap map = user_map();
  return map.inside != 0 || map.outside != 0 || map.count != kAll;
}

/// mountinfo escapes characters as `\` and three octal digits; overlayfs itself escapes `\` and `:` with a backslash.
std::string unescape_layer(std::string_view text) {
  std::string once;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '3') {
      once += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      once += text[i];
    }
  }
  std::string twice;
  for (std::size_t i = 0; i < once.size(); ++i) {
    i += once[i] == '\\' && i + 1 < once.size() ? 1 : 0;
    twice += once[i];
  }
  return twice;
}

std::optional<std::string> option_of(const MountEntry& mount, const std::string& name) {
  std::istringstream words(mount.super_options);
  for (std::string word; std::getline(words, word, ',');) {
    if (word.starts_with(name + "=")) {
      return unescape_layer(std::string_view(word).substr(name.size() + 1));
    }
  }
  return std::nullopt;
}

/// The run of this user whose overlay, made by fuse-overlayfs, is at `path`. Its mount table entry doesn't name layers.
std::optional<WritableRun> fuse_run_at(const std::string& path) {
  for (WritableRun& run : all_runs()) {
    if (run.engine == OverlayEngine::kFuse && run.mountpoint == path) {
      return std::move(run);
    }
  }
  return std::nullopt;
}

void unmount_all(const std::string& path) {
  while (find_mount(path)) {
    unmount(path, true);
  }
}

/// Directories of overlayfs (`work/work`) have no permissions, which keeps other users than root out.
void make_removable(const std::string& path) {
  std::error_code failed;
  stdfs::permissions(path, stdfs::perms::owner_all, failed);
  std::vector<stdfs::path> left{path};
  while (!left.empty()) {
    const stdfs::path here = std::move(left.back());
    left.pop_back();
    for (stdfs::directory_iterator entry(here, failed), end; !failed && entry != end; entry.increment(failed)) {
      std::error_code gone;
      if (stdfs::is_directory(entry->symlink_status(gone))) {
        stdfs::permissions(entry->path(), stdfs::perms::owner_all, stdfs::perm_options::nofollow, gone);
        if (gone) {
          stdfs::permissions(entry->path(), stdfs::perms::owner_all, gone);
        }
        left.push_back(entry->path());
      }
    }
    failed.clear();
  }
}

void remove_tree(const std::string& path) {
  std::error_code failed;
  stdfs::remove_all(path, failed);
  if (failed == std::errc::permission_denied) {
    make_removable(path);
    stdfs::remove_all(path, failed);
  }
  if (failed) {
    log::warn("\"{}\" stays: {}", path, failed.message());
  }
}

}  // namespace

OverlayEngine overlay_engine() {
  return ::geteuid() != 0         ? OverlayEngine::kFuse
         : is_in_user_namespace() ? OverlayEngine::kKernelForUser
                                  : OverlayEngine::kKernel;
}

const char* to_string(OverlayEngine engine) {
  switch (engine) {
    case OverlayEngine::kKernel:
      return "overlay";
    case OverlayEngine::kKernelForUser:
      return "overlay-user";
    case OverlayEngine::kFuse:
      return "fuse-overlayfs";
  }
  return "";
}

std::optional<OverlayEngine> overlay_engine_named(const std::string& name) {
  for (const OverlayEngine engine : {OverlayEngine::kKernel, OverlayEngine::kKernelForUser, OverlayEngine::kFuse}) {
    if (name == to_string(engine)) {
      return engine;
    }
  }
  return std::nullopt;
}

void WritableRun::write() const {
  const Json record{{"mountpoint", mountpoint},
                    {"changes", changes},
                    {"engine", to_string(engine)},
                    {"discards", discards},
                    {"is_tmpfs", is_tmpfs}};
  write_file_atomically(directory + kRunFile, record.dump(2, ' ', false, Json::error_handler_t::replace) + "\n",
                        Durability::kUnsynced);
}

std::optional<WritableRun> WritableRun::read(const std::string& directory) {
  const std::string path = directory + kRunFile;
  const std::optional<std::string> text = read_own_file(path, kMostRunText);
  if (!text) {
    return std::nullopt;
  }
  try {
    const Json record = webc::parse_json(*text);
    const auto word = [&](const char* key) { return webc::expect_text(webc::required(record, key, "mount"), key); };
    WritableRun run{.directory = directory,
                    .mountpoint = word("mountpoint"),
                    .changes = word("changes"),
                    .engine = overlay_engine_named(word("engine")).value_or(OverlayEngine::kKernel),
                    .discards = webc::required(record, "discards", "mount") == Json(true),
                    .is_tmpfs = webc::required(record, "is_tmpfs", "mount") == Json(true)};
    return run;
  } catch (Error& error) {
    throw std::move(error).context("Unable to use \"" + path + "\"");
  }
}

// NOLINTBEGIN(concurrency-mt-unsafe): no thread changes the environment
std::string run_base() {
  if (overlay_engine() == OverlayEngine::kKernel) {
    return "/run/pkgfs/writable";
  }
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/' && ::access(runtime, W_OK) == 0) {
    return stdfs::path(runtime).lexically_normal() / "pkgfs/writable";
  }
  const unsigned long user = is_in_user_namespace() ? user_map().outside : ::geteuid();
  return "/tmp/pkgfs-" + std::to_string(user) + "/pkgfs/writable";
}
// NOLINTEND(concurrency-mt-unsafe)

std::optional<std::string> run_directory_of(const std::string& lower) {
  const stdfs::path path(lower);
  const stdfs::path run = path.parent_path();
  const std::string id = run.filename();
  const bool fits = path.is_absolute() && path.filename() == "lower" && id.size() == kIdLength &&
                    id.find_first_not_of("0123456789abcdef") == std::string::npos &&
                    run.parent_path().filename() == "writable" && run.parent_path().parent_path().filename() == "pkgfs";
  return fits ? std::optional(run.string()) : std::nullopt;
}

std::vector<WritableRun> all_runs() {
  std::vector<WritableRun> runs;
  std::error_code failed;
  for (stdfs::directory_iterator entry(run_base(), failed), end; !failed && entry != end; entry.increment(failed)) {
    try {
      if (std::optional<WritableRun> run = WritableRun::read(entry->path())) {
        runs.push_back(*std::move(run));
      }
    } catch (const Error& error) {
      log::debug("{}", error);
    }
  }
  return runs;
}

std::optional<UniqueFd> lock_directory(const std::string& path) {
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!directory) {
    throw system_error("Unable to open the directory \"" + path + "\"", errno);
  }
  if (::flock(directory.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return std::nullopt;
    }
    throw system_error("Unable to lock the directory \"" + path + "\"", errno);
  }
  return directory;
}

std::optional<std::string> lower_of(const MountEntry& mount) {
  if (mount.type == "overlay") {
    std::optional<std::string> lower = option_of(mount, "lowerdir");
    return lower && run_directory_of(*lower) ? lower : std::nullopt;
  }
  if (mount.type == kFuseOverlayType) {
    if (const std::optional<WritableRun> run = fuse_run_at(mount.mountpoint)) {
      return run->lower();
    }
  }
  return std::nullopt;
}

std::optional<MountEntry> overlay_above(const std::string& lower, const std::vector<MountEntry>& table) {
  for (const MountEntry& mount : table) {
    if (lower_of(mount) == lower) {
      return mount;
    }
  }
  return std::nullopt;
}

std::optional<MountEntry> find_package_mount(const std::string& path) {
  std::optional<MountEntry> top = find_mount(path);
  if (!top || top->type == kMountType) {
    return top;
  }
  const std::optional<std::string> lower = lower_of(*top);
  if (!lower) {
    return std::nullopt;
  }
  MountEntry found = find_mount(*lower).value_or(MountEntry{.mountpoint = *lower,
                                                            .type = std::string(kMountType),
                                                            .source = top->source,
                                                            .options = {},
                                                            .super_options = {},
                                                            .device = {},
                                                            .served_at = {}});
  found.served_at = std::move(found.mountpoint);
  found.mountpoint = path;
  found.options = top->options;
  return found;
}

std::optional<WritableRun> find_run(const std::string& path) {
  if (const std::optional<MountEntry> top = find_mount(path)) {
    const std::optional<std::string> lower = lower_of(*top);
    const std::optional<std::string> run = lower ? run_directory_of(*lower) : std::nullopt;
    // Another user's record isn't trusted.
    return run && stdfs::path(*run).parent_path() == run_base() ? WritableRun::read(*run) : std::nullopt;
  }
  for (WritableRun& run : all_runs()) {
    if (run.mountpoint == path) {
      return std::move(run);
    }
  }
  return std::nullopt;
}

void end_run(const WritableRun& run) noexcept {
  try {
    while (const auto overlay = overlay_above(run.lower(), read_mount_table())) {
      unmount(overlay->mountpoint, true);
    }
    unmount_all(run.lower());
    if (run.is_tmpfs) {
      unmount_all(run.changes);
      ::rmdir(run.changes.c_str());
    } else if (run.discards) {
      remove_tree(run.changes);
    }
    ::unlink((run.directory + kRunFile).c_str());
    ::rmdir(run.lower().c_str());
    if (::rmdir(run.directory.c_str()) != 0 && errno != ENOENT) {
      log::warn("the directory \"{}\" stays", run.directory);
    }
  } catch (const std::exception& error) {
    log::warn("\"{}\": {}", run.mountpoint, error);
  }
}

void end_stale_runs() noexcept {
  try {
    const std::vector<MountEntry> table = read_mount_table();
    for (const auto& entry : stdfs::directory_iterator(run_base())) {
      const std::string directory = entry.path();
      // A process that was killed early has left no record.
      const WritableRun run = WritableRun::read(directory).value_or(WritableRun{
          .directory = directory, .mountpoint = directory, .changes = directory + "/changes", .is_tmpfs = true});
      if (!run_directory_of(run.lower()) || overlay_above(run.lower(), table)) {
        continue;
      }
      if (const std::optional<UniqueFd> lock = lock_directory(directory)) {
        log::info("cleared what an earlier writable mount at \"{}\" has left", run.mountpoint);
        end_run(run);
      }
    }
  } catch (const std::exception& error) {
    log::debug("earlier writable mounts: {}", error);
  }
}

bool wait_for_end(const WritableRun& run, std::chrono::milliseconds limit) {
  constexpr auto kPause = std::chrono::milliseconds(5);
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (::access(run.directory.c_str(), F_OK) == 0) {
    try {
      if (const std::optional<UniqueFd> lock = lock_directory(run.directory)) {
        end_run(run);
        return true;
      }
    } catch (const Error& error) {
      log::debug("{}", error);  // it has just gone
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return false;
    }
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

}  // namespace pkgfs
