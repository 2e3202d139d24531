// SPDX-License-Identifier: MIT
#include "fuse/kernel_features.h"

#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace pkgfs::fuse {
namespace {

using Stage = KernelAnswer::Stage;

bool write_file(const char* path, const char* text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  const auto size = static_cast<ssize_t>(std::strlen(text));
  const bool done = fd >= 0 && ::write(fd, text, static_cast<std::size_t>(size)) == size;
  ::close(fd);
  return done;
}

/// A mount namespace of our own; where that isn't allowed, in a user namespace in which it is.
bool leave_namespaces(KernelAnswer& answer) {
  if (::unshare(CLONE_NEWNS) == 0) {
    return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }
  answer.as_user = true;
  std::array<char, 32> users{};
  std::array<char, 32> groups{};
  (void)std::snprintf(users.data(), users.size(), "0 %u 1", ::geteuid());
  (void)std::snprintf(groups.data(), groups.size(), "0 %u 1", ::getegid());
  return ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_file("/proc/self/setgroups", "deny") &&
         write_file("/proc/self/uid_map", users.data()) && write_file("/proc/self/gid_map", groups.data());
}

}  // namespace

void ask_kernel(KernelAnswer& answer) {
  const auto stop = [&answer](Stage stage) {
    answer.failed = stage;
    answer.error = errno;
  };
  if (!leave_namespaces(answer)) {
    stop(Stage::kNamespace);
    return;
  }
  const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);  // after: it belongs to the namespace that opens it
  if (device < 0) {
    stop(Stage::kDevice);
    return;
  }
  std::array<char, 96> options{};
  (void)std::snprintf(options.data(), options.size(), "fd=%d,rootmode=40000,user_id=%u,group_id=%u", device,
                      ::geteuid(), ::getegid());
  if (::mount("pkgfs-doctor", "/", "fuse", MS_RDONLY | MS_NOSUID | MS_NODEV, options.data()) != 0) {
    stop(Stage::kMount);
    return;
  }
  struct {
    fuse_in_header header;
    fuse_init_in init;
    char more[FUSE_MIN_READ_BUFFER];
  } request{};
  if (::read(device, &request, sizeof(request)) < static_cast<ssize_t>(sizeof(request.header) + 4 * sizeof(int)) ||
      request.header.opcode != FUSE_INIT) {
    stop(Stage::kInit);
    return;
  }
  answer.failed = Stage::kDone;
  answer.major = request.init.major;
  answer.minor = request.init.minor;
  answer.flags = request.init.flags;
}

std::vector<std::string_view> missing_features(const KernelAnswer& answer) {
  constexpr std::array<std::pair<std::uint32_t, std::string_view>, 6> kWanted{
      {{FUSE_DO_READDIRPLUS, "listings with attributes (3.9)"},
       {FUSE_PARALLEL_DIROPS, "parallel lookups (4.7)"},
       {FUSE_NO_OPEN_SUPPORT, "files opened without asking (3.12)"},
       {FUSE_CACHE_SYMLINKS, "links that are kept (4.20)"},
       {FUSE_MAX_PAGES, "reads of more than 128 KiB (4.20)"},
       {FUSE_NO_OPENDIR_SUPPORT, "directories opened without asking (5.1)"}}};
  std::vector<std::string_view> missing;
  for (const auto& [flag, name] : kWanted) {
    if ((answer.flags & flag) == 0) {
      missing.push_back(name);
    }
  }
  return missing;
}

LibraryVersion library_version() {
  constexpr int kHundred = 100;  // fuse_version() counts so: 3.14 is 314
  const int running = ::fuse_version();
  return {::fuse_pkgversion(), running < FUSE_MAJOR_VERSION * kHundred + FUSE_MINOR_VERSION};
}

}  // namespace pkgfs::fuse
