// SPDX-License-Identifier: MIT
#include "daemon/doctor/check_mounts.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "core/base/error.h"
#include "daemon/cli/text_output.h"
#include "daemon/mount/mount_status.h"

namespace pkgfs::doctor {
namespace {

/// The state letter of a thread, from the file `stat` in its directory of /proc; ? if unknown.
char state_of_thread(const std::string& directory) {
  std::ifstream file(directory + "/stat");
  std::ostringstream text;
  text << file.rdbuf();
  const std::size_t at = text.str().rfind(')');
  return at == std::string::npos || at + 2 >= text.str().size() ? '?' : text.str()[at + 2];
}

/// T for a stopped process; D if a thread waits in the kernel, as for a disk; else the state of the main thread.
char state_of(pid_t pid) {
  const std::string process = "/proc/" + std::to_string(pid);
  const char main = state_of_thread(process);
  std::error_code gone;
  for (const auto& thread : std::filesystem::directory_iterator(process + "/task", gone)) {
    if (main != 'T' && state_of_thread(thread.path().string()) == 'D') {
      return 'D';
    }
  }
  return main;
}

Finding stuck(const MountStatus& mount, const std::string& name) {
  Finding found{.check = "mount", .level = Level::kProblem, .said = name + " doesn't answer", .advice = {}};
  const std::string detach = "pkgfs unmount --lazy " + printable(mount.entry.mountpoint);
  if (!mount.owner) {
    found.advice = detach;
    return found;
  }
  const pid_t pid = mount.owner->pid;
  switch (state_of(pid)) {
    case 'T':
      found.said += fmt::format(": process {} is stopped", pid);
      found.advice = fmt::format("let it go on: kill -CONT {}; or give it up: {}", pid, detach);
      break;
    case 'D':
      found.said += fmt::format(": process {} waits for a disk or another file system", pid);
      found.advice = "check the disks that hold the package and the cache; to give the mount up: " + detach;
      break;
    default:
      found.said += fmt::format(": process {} is busy", pid);
      found.advice = fmt::format("check the machine's load; to give the mount up: {}", detach);
  }
  return found;
}

}  // namespace

void check_mounts(Findings& findings) {
  std::vector<MountStatus> mounts;
  try {
    mounts = ask_mounts(our_mounts(), kProbeLimit);
  } catch (const Error& error) {
    findings.push_back({"mount", Level::kProblem, printable(error.message()),
                        error.is_of_machine() ? kRaiseLimit : "mount -t proc proc /proc"});
    return;
  }
  std::size_t live = 0;
  for (const MountStatus& mount : mounts) {
    const std::string name = fmt::format("{} on {}", printable(mount.entry.source), printable(mount.entry.mountpoint));
    if (mount.state == MountState::kDead) {
      findings.push_back(
          {"mount", Level::kProblem, name + " is dead: its process is gone",
           "pkgfs unmount " + printable(mount.entry.mountpoint) + "; mounting there again does it as well"});
    } else if (mount.state == MountState::kStuck) {
      findings.push_back(stuck(mount, name));
    } else if (mount.state == MountState::kChanged) {
      findings.push_back({"mount", Level::kProblem, name + ": another program has changed a package file in place",
                          "unmount and mount again; \"pkgfs stats\" names the file"});
    } else if (mount.state == MountState::kTampered) {
      findings.push_back({"mount", Level::kProblem,
                          name + ": a server sent a package with another hash than the registry announced",
                          "unmount; ask the registry's owner; \"pkgfs stats\" names the package"});
    } else if (const auto lazy = mount.lazy(); lazy && !lazy->problem.empty()) {
      findings.push_back(
          {"mount", Level::kWarning, name + " is " + printable(lazy->text()), "check the network and the server"});
    } else {
      ++live;
    }
  }
  if (live == mounts.size()) {
    findings.push_back({"mount", Level::kOk, live == 0 ? "there are none" : fmt::format("{} live", live), ""});
  }
}

}  // namespace pkgfs::doctor
