// SPDX-License-Identifier: MIT
#include "daemon/mount/changes_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/base/private_directory.h"
#include "core/cache/file_hash.h"
#include "core/resolve/lock_file.h"
#include "core/webc/json_fields.h"
#include "core/webc/parse_json.h"
#include "daemon/mount/mount_settings.h"
#include "daemon/mount/overlay_mount.h"
#include "daemon/mount/remove_tree.h"
#include "daemon/packages/package_path.h"

namespace pkgfs {
namespace {

namespace stdfs = std::filesystem;
using webc::Json;

constexpr std::size_t kMostRecord = 1U << 20U;
constexpr const char* kRecordFile = "/record";
constexpr const char* kLockFile = "/packages.lock";

std::string word_of(const Json& record, const char* key) {
  return webc::expect_text(webc::required(record, key, "record"), key);
}

Json record_json(const ChangesRecord& record) {
  return {{"format", 1},
          {"package", record.package},
          {"given", record.given},
          {"digest", record.digest},
          {"engine", to_string(record.engine)},
          {"arguments", record.arguments.words},
          {"from_mount", record.arguments.rules.from_mount},
          {"sloppy", record.arguments.rules.sloppy},
          {"working_directory", record.arguments.working_directory},
          {"uid", record.uid},
          {"gid", record.gid}};
}

ChangesRecord record_from(const Json& json) {
  if (webc::required(json, "format", "record") != Json(1)) {
    throw Error(ErrorCode::kUnsupported, "it is of another version of pkgfs");
  }
  ChangesRecord record{.package = word_of(json, "package"),
                       .given = word_of(json, "given"),
                       .digest = word_of(json, "digest"),
                       .engine = {},
                       .arguments = {},
                       .uid = static_cast<uid_t>(webc::expect_unsigned(webc::required(json, "uid", "record"), "uid")),
                       .gid = static_cast<gid_t>(webc::expect_unsigned(webc::required(json, "gid", "record"), "gid"))};
  const std::optional<OverlayEngine> engine = overlay_engine_named(word_of(json, "engine"));
  if (!engine) {
    throw Error(ErrorCode::kUnsupported, "its engine is unknown");
  }
  record.engine = *engine;
  for (const Json& word : webc::expect_list(webc::required(json, "arguments", "record"), "arguments")) {
    record.arguments.words.push_back(webc::expect_text(word, "arguments"));
  }
  record.arguments.rules = {.from_mount = webc::required(json, "from_mount", "record") == Json(true),
                            .sloppy = webc::required(json, "sloppy", "record") == Json(true)};
  record.arguments.working_directory = word_of(json, "working_directory");
  return record;
}

std::string absolute_package(const std::string& given) {
  const std::optional<std::string> path = package_path(given);
  std::error_code failed;
  const stdfs::path real = path ? stdfs::canonical(*path, failed) : stdfs::path();
  return path && !failed ? real.string() : given;
}

/// The resolution with the hashes of files, which a lock file must have. Nothing if the hash of a package isn't known
/// before it is fetched.
std::optional<Resolution> with_hashes(const OpenedTree& opened) {
  Resolution resolution = opened.resolution;
  for (auto& node : resolution.graph.nodes) {
    if (!node.dist || (!node.dist->webc_sha256 && !node.dist->path)) {
      return std::nullopt;
    }
    if (!node.dist->webc_sha256) {
      node.dist->webc_sha256 = hash_file(*node.dist->path);
    }
  }
  return resolution;
}

/// The text of `packages.lock`; nothing if the packages need none. A file without dependencies has a path that says
/// all, and a lock file would need its hash, which is slow.
std::optional<std::string> lock_text(const OpenedTree& opened) {
  if (opened.resolution.graph.nodes.size() == 1 && opened.resolution.graph.nodes.front().dist->path) {
    return std::nullopt;
  }
  const std::optional<Resolution> locked = with_hashes(opened);
  return locked ? std::optional(print_lock(make_lock(*locked))) : std::nullopt;
}

/// Whether the run says that its changes are at `path`.
bool uses_changes(const std::string& run, const std::string& path) {
  try {
    const std::optional<WritableRun> read = WritableRun::read(run);
    return read && read->changes == path;
  } catch (const Error& error) {
    log::debug("{}", error);
    return false;
  }
}

/// Whether the directory has nothing but what a process that was killed may have left of `write_record`.
bool is_as_good_as_empty(const std::string& path) {
  return std::ranges::all_of(stdfs::directory_iterator(path), [](const stdfs::directory_entry& entry) {
    const std::string name = entry.path().filename();
    return name == kLockFile + 1 || name.starts_with("packages.lock.") || name.starts_with("record.");
  });
}

/// Asks again for a moment: another command may have the lock while it asks the kernel, and the kernel removes its mark
/// of a directory shortly after the overlay is gone.
template <typename Ask>
bool happens_soon(const Ask& ask) {
  for (const int pause : {10, 20, 40, 80, 160}) {
    if (ask()) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(pause));
  }
  return ask();
}

}  // namespace

std::string tree_digest(const OpenedTree& opened, const TreeFlags& flags) {
  std::string text = "pkgfs writable 1\n";
  const auto add = [&text](const auto& value) {
    const std::string word(value);
    text += std::to_string(word.size()) + ":" + word + "\n";
  };
  for (const auto& [id, package] : opened.tree.packages) {
    add(id.to_string());
    add(std::to_string(package->header_digest()));
  }
  for (const LoadedMapping& mapping : opened.tree.mappings) {
    add(mapping.mount_path);
    add(mapping.package.to_string());
    add(mapping.volume_name);
    add(mapping.source_path);
  }
  for (const LoadedCommand& command : opened.tree.commands) {
    add(command.name);
    add(command.origin_package.to_string());
  }
  for (const int number : {static_cast<int>(flags.view), static_cast<int>(flags.conflicts),
                           static_cast<int>(flags.raw_links), static_cast<int>(flags.exec_auto)}) {
    add(std::to_string(number));
  }
  add(flags.commands_dir.value_or(""));
  return to_hex(sha256(text));
}

void ChangesDirectory::lock_for_use(ChangesUse use) {
  const std::string what = "The changes in \"" + path_ + "\" are in use";
  std::optional<UniqueFd> lock;
  if (!happens_soon([&] { return (lock = lock_directory(path_)).has_value(); })) {
    throw Error(ErrorCode::kBusy, {what, "a writable mount has them (see \"pkgfs mounts\"): unmount it first"});
  }
  const stdfs::path base = run_base();
  for (const MountEntry& mount : read_mount_table()) {
    // The daemon may have been killed: its lock is gone then, but the kernel still writes here.
    const std::optional<std::string> lower = lower_of(mount);
    const std::optional<std::string> run = lower ? run_directory_of(*lower) : std::nullopt;
    if (run && stdfs::path(*run).parent_path() == base && uses_changes(*run, path_)) {
      // Another user's mount can't use a directory of this user's.
      throw Error(ErrorCode::kBusy, {what, "unmount it first: pkgfs unmount " + mount.mountpoint});
    }
  }
  bool is_free = false;
  try {
    is_free = happens_soon([&] { return !is_upper_in_use(upper()); });
  } catch (const Error& error) {
    if (use != ChangesUse::kRead) {
      throw;
    }
    log::warn("{}; another mount may change it meanwhile", error);
    is_free = true;
  }
  if (!is_free) {
    throw Error(ErrorCode::kBusy, {what, "a container has their mount, or a program uses it after a lazy unmount"});
  }
  lock_ = *std::move(lock);
}

void ChangesDirectory::read_record() {
  const std::optional<PrivateDirectory> directory = PrivateDirectory::find(path_);
  const auto text = directory ? directory->read_file(kRecordFile + 1, kMostRecord) : std::nullopt;
  if (!text) {
    throw Error(ErrorCode::kUsage, {"\"" + path_ + "\" isn't a directory of changes: it has no file \"record\"",
                                    "\"pkgfs mount --writable=DIR\" makes one"});
  }
  try {
    record_ = record_from(webc::parse_json(*text));
  } catch (Error& error) {
    throw std::move(error).context("Unable to use \"" + path_ + kRecordFile + "\"");
  }
}

void ChangesDirectory::require_own() const {
  struct stat status{};
  if (::fstat(lock_.get(), &status) != 0) {
    throw system_error("Unable to use \"" + path_ + "\"", errno);
  }
  if (status.st_uid != ::geteuid()) {
    throw Error(ErrorCode::kPermission, {"\"" + path_ + "\" belongs to user " + std::to_string(status.st_uid) +
                                             ", who could replace what the mount writes there",
                                         "--writable needs a directory of your own"});
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !is_as_good_as_empty(path_)) {
    throw Error(ErrorCode::kPermission, {"Other users could replace what the mount writes into \"" + path_ + "\"",
                                         "chmod go-w \"" + path_ + "\""});
  }
}

void ChangesDirectory::make_layer(const char* name, ::mode_t mode) const {
  const std::string path = path_ + "/" + name;
  if (::mkdirat(lock_.get(), name, mode) != 0 && errno != EEXIST) {
    throw cannot_create_directory(path, errno);
  }
  struct stat status{};
  if (::fstatat(lock_.get(), name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
    throw system_error("Unable to use \"" + path + "\"", errno);
  }
  if (!S_ISDIR(status.st_mode)) {
    throw Error(ErrorCode::kUsage, "\"" + path + "\" isn't a directory");
  }
}

void ChangesDirectory::write_record() {
  if (is_written_) {
    return;
  }
  if (lock_text_) {
    write_file_atomically(path_ + kLockFile, *lock_text_, Durability::kSynced);
  }
  write_file_atomically(path_ + kRecordFile,
                        record_json(record_).dump(2, ' ', false, Json::error_handler_t::replace) + "\n",
                        Durability::kSynced);
  if (!lock_text_) {
    ::unlink((path_ + kLockFile).c_str());
  }
  is_written_ = true;
}

void ChangesDirectory::take_back() noexcept {
  try {
    if (!is_fresh_ || (::rmdir(upper().c_str()) != 0 && errno != ENOENT)) {
      return;
    }
    for (const char* const name : {"/work", kLockFile, kRecordFile}) {
      remove_tree(path_ + name);
    }
    if (is_new_) {
      ::rmdir(path_.c_str());
    } else {
      ::chmod(path_.c_str(), mode_before_);
    }
  } catch (const std::exception& error) {
    log::warn("{}", error);
  }
}

ChangesDirectory ChangesDirectory::look(const std::string& path) {
  std::error_code failed;
  ChangesDirectory changes(stdfs::canonical(path, failed));
  if (failed) {
    throw system_error("\"" + path + "\"", failed.value());
  }
  changes.read_record();
  return changes;
}

ChangesDirectory ChangesDirectory::open(const std::string& path, ChangesUse use) {
  ChangesDirectory changes = look(path);
  changes.lock_for_use(use);
  changes.read_record();  // again: a mount may have replaced it
  return changes;
}

ChangesDirectory ChangesDirectory::prepare(const std::string& path, OverlayEngine engine, const OpenedTree& opened,
                                           const MountOptions& options) {
  const bool is_new = ::mkdir(path.c_str(), 0700) == 0;
  if (!is_new && errno != EEXIST) {
    throw cannot_create_directory(path, errno);
  }
  std::error_code failed;
  ChangesDirectory changes(stdfs::canonical(path, failed));
  if (failed) {
    throw system_error("\"" + path + "\"", failed.value());
  }
  changes.lock_for_use(ChangesUse::kChange);
  changes.require_own();
  ChangesRecord now{.package = mount_source(opened, options.package),
                    .given = absolute_package(options.package),
                    .digest = tree_digest(opened, options.tree),
                    .engine = engine,
                    .arguments = options.arguments,
                    .uid = options.uid.value_or(::geteuid()),
                    .gid = options.gid.value_or(::getegid())};
  if (stdfs::exists(changes.path_ + kRecordFile)) {
    changes.read_record();
    const ChangesRecord& then = changes.record_;
    if (then.engine != engine) {
      throw Error(ErrorCode::kMount, "The changes in \"" + changes.path_ + "\" were made by " + to_string(then.engine) +
                                         ", whose marks " + to_string(engine) + " doesn't understand");
    }
    if (then.digest != now.digest && !options.rebase) {
      throw Error(ErrorCode::kMount,
                  {"The changes in \"" + changes.path_ + "\" were made above \"" + then.package +
                       "\", not above this \"" + now.package + "\" with these options",
                   "--rebase uses them nevertheless: files that were changed or removed then hide those of the "
                   "package, and files that weren't come from it"});
    }
  } else if (!is_as_good_as_empty(changes.path_)) {
    throw Error(ErrorCode::kUsage, "\"" + changes.path_ +
                                       "\" isn't empty, and isn't a directory of changes: --writable needs a directory "
                                       "of its own");
  }
  const bool had_record = stdfs::exists(changes.path_ + kRecordFile);
  changes.record_ = std::move(now);
  changes.lock_text_ = lock_text(opened);
  if (!had_record) {
    struct stat before{};
    if (::fstat(changes.lock_.get(), &before) != 0 || ::fchmod(changes.lock_.get(), 0700) != 0) {
      throw system_error("Unable to use \"" + changes.path_ + "\"", errno);
    }
    changes.is_fresh_ = true;
    changes.is_new_ = is_new;
    changes.mode_before_ = before.st_mode & 07777U;
  }
  try {
    if (!had_record) {
      changes.write_record();
    }
    changes.make_layer("work", 0700);
    changes.make_layer("upper", 0755);
  } catch (...) {
    changes.take_back();
    throw;
  }
  return changes;
}

OpenedTree ChangesDirectory::open_packages(const Io& io, bool commands) const {
  MountOptions options = parse_mount_options(record_.arguments.words, record_.arguments.rules);
  TreeFlags flags = options.tree;
  flags.network.working_directory = record_.arguments.working_directory;
  std::error_code failed;
  if (stdfs::exists(path_ + kLockFile, failed)) {
    flags.network.lock = path_ + kLockFile;
  } else if (flags.network.lock) {
    flags.network.lock = stdfs::path(record_.arguments.working_directory) / *flags.network.lock;
  }
  try {
    OpenedTree opened = open_tree(record_.given, flags, io);
    if (tree_digest(opened, flags) != record_.digest) {
      throw Error(ErrorCode::kMount, "\"" + record_.package + "\" is another one now");
    }
    if (commands) {
      return opened;
    }
    flags.commands_dir.reset();
    return open_tree(record_.given, flags, io);
  } catch (Error& error) {
    throw std::move(error).context("Unable to open the packages below the changes in \"" + path_ + "\"");
  }
}

void ChangesDirectory::discard() {
  for (const char* const name : {"/upper", "/work", kLockFile, kRecordFile}) {
    remove_tree(path_ + name);
  }
}

}  // namespace pkgfs
