// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>
#include <ranges>
#include <sstream>
#include <string>
#include <vector>

#include "core/base/unique_fd.h"

namespace pkgfs::test {

/// Puts this process, which must have one thread and be root, into a mount namespace of its own, without the mounts of
/// other tests, and with an empty /run/pkgfs and /var/lib/pkgfs. So no other test clears what this one has left, or
/// keeps it in use by a copy of the mounts. The destructor goes back.
class OwnMounts {
 public:
  OwnMounts() : before_(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC)) {
    if (::unshare(CLONE_NEWNS) != 0) {
      return;
    }
    ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    std::vector<std::string> others;
    std::ifstream table("/proc/self/mounts");
    for (std::string line; std::getline(table, line);) {
      std::string source;
      std::string mountpoint;
      std::istringstream(line) >> source >> mountpoint;
      if (mountpoint.starts_with("/tmp/pkgfs-test-") || mountpoint.starts_with("/run/pkgfs/")) {
        others.push_back(std::move(mountpoint));
      }
    }
    for (const std::string& mountpoint : std::views::reverse(others)) {
      ::umount2(mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    }
    is_own_ = true;
    for (const char* directory : {"/run/pkgfs", "/var/lib/pkgfs"}) {
      ::mkdir(directory, 0755);
      is_own_ = is_own_ && ::mount("none", directory, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") == 0;
    }
  }
  ~OwnMounts() { ::setns(before_.get(), CLONE_NEWNS); }
  OwnMounts(const OwnMounts&) = delete;
  OwnMounts& operator=(const OwnMounts&) = delete;

  [[nodiscard]] bool is_own() const { return is_own_; }

 private:
  UniqueFd before_;
  bool is_own_ = false;
};

}  // namespace pkgfs::test
