// SPDX-License-Identifier: MIT
#include "daemon/mount/writable_run.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/base/private_directory.h"
#include "core/webc/json_fields.h"
#include "core/webc/parse_json.h"

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

/// The place of `run_base`: a directory that other programs made, and the directories of pkgfs below it.
struct BaseParts {
  std::string anchor;
  std::vector<std::string> names;
};

// NOLINTBEGIN(concurrency-mt-unsafe): no thread changes the environment
BaseParts base_parts() {
  if (overlay_engine() == OverlayEngine::kKernel) {
    return {.anchor = "/run", .names = {"pkgfs", "writable"}};
  }
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/' && ::access(runtime, W_OK) == 0) {
    return {.anchor = stdfs::path(runtime).lexically_normal(), .names = {"pkgfs", "writable"}};
  }
  const unsigned long user = is_in_user_namespace() ? user_map().outside : ::geteuid();
  return {.anchor = "/tmp", .names = {"pkgfs-" + std::to_string(user), "pkgfs", "writable"}};
}
// NOLINTEND(concurrency-mt-unsafe)

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
  const Json record{{"mountpoint", mountpoint}, {"changes", changes},   {"engine", to_string(engine)},
                    {"discards", discards},     {"is_tmpfs", is_tmpfs}, {"is_image", is_image}};
  write_file_atomically(directory + kRunFile, record.dump(2, ' ', false, Json::error_handler_t::replace) + "\n",
                        Durability::kUnsynced);
}

std::optional<WritableRun> WritableRun::read(const std::string& directory) {
  const std::string path = directory + kRunFile;
  const std::optional<PrivateDirectory> place = PrivateDirectory::find(directory);
  const std::optional<std::string> text = place ? place->read_file(kRunFile + 1, kMostRunText) : std::nullopt;
  if (!text) {
    return std::nullopt;
  }
  try {
    const Json record = webc::parse_json(*text);
    const auto word = [&](const char* key) { return webc::expect_text(webc::required(record, key, "mount"), key); };
    const Json* const image = webc::member(record, "is_image");  // earlier versions of pkgfs don't write it
    WritableRun run{.directory = directory,
                    .mountpoint = word("mountpoint"),
                    .changes = word("changes"),
                    .engine = overlay_engine_named(word("engine")).value_or(OverlayEngine::kKernel),
                    .discards = webc::required(record, "discards", "mount") == Json(true),
                    .is_tmpfs = webc::required(record, "is_tmpfs", "mount") == Json(true),
                    .is_image = image != nullptr && *image == Json(true)};
    return run;
  } catch (Error& error) {
    throw std::move(error).context("Unable to use \"" + path + "\"");
  }
}

std::string run_base() {
  const BaseParts parts = base_parts();
  stdfs::path path(parts.anchor);
  for (const std::string& name : parts.names) {
    path /= name;
  }
  return path;
}

// NOLINTBEGIN(concurrency-mt-unsafe): no thread changes the environment
std::string changes_base() {
  if (overlay_engine() == OverlayEngine::kKernel) {
    return "/var/lib/pkgfs/writable";
  }
  const char* const state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') {
    return std::string(state) + "/pkgfs/writable";
  }
  const char* const home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? std::string(home) + "/.local/state/pkgfs/writable" : std::string();
}
// NOLINTEND(concurrency-mt-unsafe)

UniqueFd open_run_base(bool make) {
  const BaseParts parts = base_parts();
  stdfs::path path(parts.anchor);
  UniqueFd here(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (const std::string& name : parts.names) {
    if (!here) {
      break;
    }
    path /= name;
    if (make && ::mkdirat(here.get(), name.c_str(), 0700) != 0 && errno != EEXIST) {
      throw cannot_create_directory(path, errno);
    }
    here = UniqueFd(::openat(here.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    struct stat status{};
    if (here && (::fstat(here.get(), &status) != 0 || status.st_uid != ::geteuid() ||
                 (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)) {
      throw Error(ErrorCode::kPermission,
                  "\"" + path.string() + "\" belongs to user " + std::to_string(status.st_uid) +
                      ", or other users may write to it, so pkgfs doesn't believe what is there. Remove it, or set "
                      "XDG_RUNTIME_DIR");
    }
  }
  if (!here && (make || errno != ENOENT)) {
    throw system_error("Unable to open the directory \"" + path.string() + "\"", errno);
  }
  return here;
}

bool is_run_id(const std::string& name) {
  return name.size() == kIdLength && name.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::optional<std::string> run_directory_of(const std::string& lower) {
  const stdfs::path path(lower);
  const stdfs::path run = path.parent_path();
  const bool fits = path.is_absolute() && path.filename() == "lower" && is_run_id(run.filename()) &&
                    run.parent_path().filename() == "writable" && run.parent_path().parent_path().filename() == "pkgfs";
  return fits ? std::optional(run.string()) : std::nullopt;
}

namespace {

bool has_trusted_base() {
  try {
    return static_cast<bool>(open_run_base(false));
  } catch (const Error& error) {
    log::debug("{}", error);
    return false;
  }
}

}  // namespace

std::vector<WritableRun> all_runs() {
  std::vector<WritableRun> runs;
  std::error_code failed;
  if (!has_trusted_base()) {
    return runs;
  }
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

void show_as_overlay(MountEntry& mount, const std::vector<MountEntry>& table) {
  const auto overlay = run_directory_of(mount.mountpoint) ? overlay_above(mount.mountpoint, table) : std::nullopt;
  if (overlay) {
    mount.served_at = std::move(mount.mountpoint);
    mount.mountpoint = overlay->mountpoint;
    mount.options = overlay->options;
  }
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
  std::optional<MountEntry> below = find_mount(*lower);
  if (!below) {  // as in a container that has only the overlay: the record says what is below
    const std::optional<WritableRun> run = find_run(path);
    below.emplace();
    below->mountpoint = *lower;
    below->type = run && run->is_image ? kImageType : kMountType;
    below->source = top->source;
  }
  MountEntry found = *std::move(below);
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
    return run && stdfs::path(*run).parent_path() == run_base() && has_trusted_base() ? WritableRun::read(*run)
                                                                                      : std::nullopt;
  }
  for (WritableRun& run : all_runs()) {
    if (run.mountpoint == path) {
      return std::move(run);
    }
  }
  return std::nullopt;
}

}  // namespace pkgfs
