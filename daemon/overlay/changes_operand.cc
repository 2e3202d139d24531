// SPDX-License-Identifier: MIT
#include "daemon/overlay/changes_operand.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "core/base/error.h"
#include "core/vfs/host_file_system.h"
#include "daemon/mount/mountpoint.h"

namespace pkgfs {

std::optional<ChangesPlace> find_changes(const std::string& text) {
  const std::string path = resolve_mountpoint(text);
  if (const std::optional<MountEntry> mounted = find_package_mount(path)) {
    if (mounted->served_at.empty()) {
      throw Error(ErrorCode::kUsage, {"The mount at \"" + text + "\" isn't writable, so nothing in it is changed",
                                      "\"pkgfs mount --writable\" makes one that is"});
    }
    std::optional<WritableRun> run = find_run(path);
    if (!run) {
      throw Error(ErrorCode::kPermission, "The writable mount at \"" + text + "\" is of another user");
    }
    std::string directory = run->changes;
    return ChangesPlace{.directory = std::move(directory), .mount = std::move(run)};
  }
  std::error_code failed;
  if (!std::filesystem::exists(std::filesystem::path(text) / "record", failed)) {
    return std::nullopt;
  }
  std::string directory = std::filesystem::canonical(text);
  for (WritableRun& run : all_runs()) {
    if (run.changes == directory && find_mount(run.lower())) {
      return ChangesPlace{.directory = std::move(directory), .mount = std::move(run)};
    }
  }
  return ChangesPlace{.directory = std::move(directory), .mount = {}};
}

Error no_changes(const std::string& text) {
  return {ErrorCode::kUsage,
          {"\"" + text + "\" is neither a writable mount nor a directory of changes",
           "\"pkgfs mount --writable=DIR\" makes both"}};
}

OpenedChanges::OpenedChanges(const ChangesPlace& place, const Io& io)
    : directory_(ChangesDirectory::look(place.directory)), upper_(directory_.upper(), directory_.record().engine) {
  if (place.mount && find_mount(place.mount->lower())) {
    const std::string lower = place.mount->lower();
    UniqueFd root(::open(lower.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root) {
      throw system_error("Unable to open \"" + lower + "\"", errno);
    }
    mounted_ = std::make_unique<vfs::HostFileSystem>(std::move(root), lower);
    tree_.emplace(upper_, *mounted_);
  } else {
    opened_ = directory_.open_packages(io, true);
    tree_.emplace(upper_, *opened_->tree.file_system);
  }
}

ShownAs OpenedChanges::shown() const {
  const ChangesRecord& record = directory_.record();
  const MountOptions then = parse_mount_options(record.arguments.words, record.arguments.rules);
  ShownAs shown{.uid = record.uid, .gid = record.gid, .file_mask = then.fmask, .directory_mask = then.dmask};
  struct stat status{};
  if (record.engine == OverlayEngine::kKernelForUser && ::stat(directory_.upper().c_str(), &status) == 0) {
    shown.uid = status.st_uid;  // the record has the numbers of the user namespace
    shown.gid = status.st_gid;
  }
  return shown;
}

}  // namespace pkgfs
