// SPDX-License-Identifier: MIT
#include "daemon/mount/writable_image.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/cli/exit_code.h"
#include "daemon/mount/background.h"
#include "daemon/mount/image_mount.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/signal_fd.h"
#include "daemon/mount/writable_mount.h"

namespace pkgfs {
namespace {

/// From the fork to the mount.
constexpr auto kStartLimit = std::chrono::seconds(30);

/// Tells when the file system of a path has ended. A container may use it long after it was unmounted here. The watch
/// itself doesn't keep the file system.
class EndOfFileSystem {
 public:
  /// Throws Error.
  explicit EndOfFileSystem(const std::string& path) : events_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
    // IN_UNMOUNT comes without being asked for, but a watch must ask for something.
    if (!events_ || ::inotify_add_watch(events_.get(), path.c_str(), IN_DELETE_SELF) < 0) {
      throw system_error("Unable to watch \"" + path + "\"", errno);
    }
  }

  /// Becomes readable with the end.
  [[nodiscard]] int fd() const { return events_.get(); }

 private:
  UniqueFd events_;
};

/// False: a signal asks this process to end.
bool wait_for_end_of(const EndOfFileSystem& overlay, const SignalFd& signals) {
  std::array<pollfd, 2> waiting{
      {{.fd = overlay.fd(), .events = POLLIN, .revents = 0}, {.fd = signals.fd(), .events = POLLIN, .revents = 0}}};
  while (::poll(waiting.data(), waiting.size(), -1) < 0 && errno == EINTR) {
  }
  return waiting[0].revents != 0;
}

/// Runs in the process that stays.
int make_and_wait(const MountOptions& options, const PackageImage& image, WritablePlace& place, Readiness& readiness) {
  const SignalFd signals({SIGTERM, SIGINT, SIGHUP}, SignalFd::Ignored::kStaysIgnored);
  WritableMount mount(place.run(), place.locks(), place.take_changes());
  mount_image_file(image.path, options, place.run().lower());
  mount.attach(options, image.package);
  const EndOfFileSystem end(mount.mountpoint());
  const bool was_watched = mount.is_attached();  // else it was unmounted before the watch began
  const std::string message = "\"" + image.package + "\" is mounted at \"" + mount.mountpoint() + "\"";
  log::info("{}; the kernel serves it from \"{}\"", message, image.path);
  readiness.ready();
  log::info("{}", message);  // again: `ready` has turned messages to the system's log
  if (!was_watched || wait_for_end_of(end, signals)) {
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
