// SPDX-License-Identifier: MIT
#include "daemon/mount/writable_image.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "daemon/cli/exit_code.h"
#include "daemon/mount/background.h"
#include "daemon/mount/image_mount.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/signal_fd.h"
#include "daemon/mount/writable_mount.h"

namespace pkgfs {
namespace {

/// Tells when a file system has ended. A container may use it long after it was unmounted here. The watch itself
/// doesn't keep the file system.
class EndOfFileSystem {
 public:
  /// Throws Error: the kernel limits how many such objects a user can have.
  EndOfFileSystem() : events_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
    if (!events_) {
      refuse(errno);
    }
  }

  /// Watches the file system whose root is the descriptor `root`. Throws Error.
  void watch(int root) const {
    const std::string path = "/proc/self/fd/" + std::to_string(root);
    // IN_UNMOUNT comes without being asked for, but a watch must ask for something.
    if (::inotify_add_watch(events_.get(), path.c_str(), IN_DELETE_SELF) < 0) {
      refuse(errno);
    }
  }

  /// Readable when `has_come` is to be called.
  [[nodiscard]] int fd() const { return events_.get(); }
  /// Takes what the kernel has told so far. Other events than the end are no reason to clear anything.
  [[nodiscard]] bool has_come() const {
    constexpr std::size_t kRoom = 4096;
    alignas(inotify_event) std::array<char, kRoom> buffer{};
    const ssize_t length = ::read(events_.get(), buffer.data(), buffer.size());
    for (ssize_t at = 0; at < length;) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      if ((event.mask & IN_UNMOUNT) != 0) {
        return true;
      }
      at += static_cast<ssize_t>(sizeof event + event.len);
    }
    return false;
  }

 private:
  [[noreturn]] static void refuse(int error) {
    throw Error(ErrorCode::kIo, {"Unable to watch for the end of the mount", inotify_text(error)});
  }

  UniqueFd events_;
};

/// False: a signal asks this process to end.
bool wait_for_end_of(const EndOfFileSystem& overlay, const SignalFd& signals) {
  std::array<pollfd, 2> waiting{
      {{.fd = overlay.fd(), .events = POLLIN, .revents = 0}, {.fd = signals.fd(), .events = POLLIN, .revents = 0}}};
  while (true) {
    if (::poll(waiting.data(), waiting.size(), -1) < 0) {
      continue;  // EINTR
    }
    if (waiting[0].revents != 0 && overlay.has_come()) {
      return true;
    }
    if (waiting[1].revents != 0) {
      return false;
    }
  }
}

/// Runs in the process that stays.
int make_and_wait(const MountOptions& options, const PackageImage& image, WritablePlace& place, Readiness& readiness) {
  const SignalFd signals({SIGTERM, SIGINT, SIGHUP}, SignalFd::Ignored::kStaysIgnored);
  const EndOfFileSystem end;
  WritableMount mount(place.run(), place.locks(), place.take_changes());
  mount_image_file(image.path, options, place.run().lower());
  // A watch of the path later could be one of another file system: a program may mount there at any time.
  mount.attach(options, image.package, [&](int root) { end.watch(root); });
  const std::string message = "\"" + image.package + "\" is mounted at \"" + mount.mountpoint() + "\"";
  log::info("{}; the kernel serves it from \"{}\"", message, image.path);
  readiness.ready();
  log::info("{}", message);  // again: `ready` has turned messages to the system's log
  if (wait_for_end_of(end, signals)) {
    mount.finish();
  }
  return kExitOk;
}

}  // namespace

int mount_writable_image(const MountOptions& options, const Io& io) {
  refuse_with_image(options);
  if (overlay_engine() != OverlayEngine::kKernel) {
    throw Error(ErrorCode::kPermission,
                "--engine=erofs needs root of the machine: root of a user namespace can't mount images");
  }
  const std::string mountpoint = prepare_mountpoint(options.mountpoint);
  PackageImage image = find_or_make_image(options, io, true);
  WritablePlace place(options, mountpoint, *image.opened);
  image.opened.reset();
  const int exit_code = run_in_background(
      io, kStartLimit, is_automounted(mountpoint) ? Leave::kWhenReady : Leave::kAtOnce,
      [&](Readiness& readiness) { return make_and_wait(options, image, place, readiness); }, [&] { place.undo(); });
  if (exit_code == kExitOk) {
    place.keep();
  }
  return exit_code;
}

}  // namespace pkgfs
