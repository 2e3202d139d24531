// SPDX-License-Identifier: MIT
#include "daemon/csi/host_namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <set>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/unique_fd.h"
#include "daemon/mount/mount_table.h"

namespace pkgfs::csi {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestProgram = std::size_t{256} << 20U;
const std::string kWhat = "Unable to work in the namespaces of the host";

std::string program_text(const std::string& path) {
  auto text = read_small_file(path, kLargestProgram);
  if (!text) {
    throw Error(ErrorCode::kNotFound, {kWhat, "there is no \"" + path + "\""});
  }
  return *std::move(text);
}

/// The keeper is looked for beside pkgfs, or where an installation puts it.
std::string keeper_of(const std::string& program) {
  const fs::path directory = fs::path(program).parent_path();
  const fs::path installed = directory.parent_path() / "libexec/pkgfs/pkgfs-keeper";
  std::error_code failed;
  return fs::exists(installed, failed) ? installed : directory / "pkgfs-keeper";
}

/// A namespace of a process, as /proc shows it.
std::string space_of(const std::string& process, const char* name) { return "/proc/" + process + "/ns/" + name; }

/// Whether this process is in that namespace of the other. False if /proc doesn't say.
bool shares(const std::string& process, const char* name) {
  struct stat ours{};
  struct stat theirs{};
  return ::stat(space_of("self", name).c_str(), &ours) == 0 && ::stat(space_of(process, name).c_str(), &theirs) == 0 &&
         ours.st_ino == theirs.st_ino;
}

Error refused(const std::string& path, int error) {
  return {ErrorCode::kPermission,
          {system_error(kWhat + " (" + path + ")", error).message(), "the container must be privileged"}};
}

UniqueFd open_space(const std::string& process, const char* name) {
  const std::string path = space_of(process, name);
  UniqueFd space(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!space) {
    throw refused(path, errno);
  }
  return space;
}

void enter(const std::string& process, const char* name, int type) {
  if (!shares(process, name) && ::setns(open_space(process, name).get(), type) != 0) {
    throw refused(space_of(process, name), errno);
  }
}

/// The entries of a directory that others may change meanwhile.
std::vector<fs::path> entries_of(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (fs::directory_iterator entry(directory, failed), end; !failed && entry != end; entry.increment(failed)) {
    found.push_back(entry->path());
  }
  return found;
}

/// Both paths are without symbolic links, as those that /proc shows.
void remove_unused(const fs::path& programs, const fs::path& current) {
  std::set<fs::path> used{current};
  for (const fs::path& process : entries_of("/proc")) {
    std::error_code failed;
    if (const fs::path executable = fs::read_symlink(process / "exe", failed); !failed) {
      used.insert(executable.parent_path());
    }
  }
  for (const fs::path& entry : entries_of(programs)) {
    if (std::error_code failed; !used.contains(entry)) {
      fs::remove_all(entry, failed);
    }
  }
}

std::vector<std::string> root_cgroups() {
  std::vector<std::string> files;
  for (const MountEntry& entry : read_mount_table()) {
    if (entry.type == "cgroup" || entry.type == "cgroup2") {
      files.push_back(entry.mountpoint + "/cgroup.procs");
    }
  }
  return files;
}

}  // namespace

OwnProgram enter_host(const std::string& process, const std::string& program, const std::string& state_dir) {
  if (shares(process, "mnt")) {
    throw Error(ErrorCode::kUsage, {kWhat, "process " + process +
                                               " has the mount namespace of the driver: in a container, the pod needs "
                                               "hostPID; on a host, leave --host-process out"});
  }
  const std::array<std::pair<std::string, std::string>, 2> programs{
      {{"pkgfs", program_text(program)}, {"pkgfs-keeper", program_text(keeper_of(program))}}};
  std::shared_ptr<const UniqueFd> network;
  if (!shares(process, "net")) {
    network = std::make_shared<const UniqueFd>(open_space(process, "net"));
  }
  enter(process, "cgroup", CLONE_NEWCGROUP);
  enter(process, "mnt", CLONE_NEWNS);
  const std::string version = to_hex(sha256(programs[0].second + programs[1].second)).substr(0, 16);
  make_private_directory(fs::path(state_dir) / "bin" / version);
  std::error_code failed;
  const fs::path all = fs::canonical(fs::path(state_dir) / "bin", failed);
  if (failed) {
    throw system_error(kWhat + ": \"" + state_dir + "\"", failed.value());
  }
  const fs::path directory = all / version;
  for (const auto& [name, text] : programs) {
    const std::string path = directory / name;
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0 || static_cast<std::size_t>(status.st_size) != text.size()) {
      write_file_atomically(path, text, Durability::kSynced, 0755);
    }
  }
  remove_unused(all, directory);
  OwnProgram result{
      .path = directory / "pkgfs", .cgroups = root_cgroups(), .network = std::move(network), .places = {}};
  log::info("mounts are made on the host, by \"{}\"", result.path);
  return result;
}

}  // namespace pkgfs::csi
