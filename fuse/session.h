// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/unique_fd.h"
#include "fuse/adapter.h"
#include "fuse/servers.h"

struct fuse_session;

namespace pkgfs::fuse {

class ChangeNotifier;

struct MountSettings {
  std::string mountpoint;  // absolute
  std::string source;      // the device that df and findmnt show
  bool allow_other = false;
  bool auto_unmount = false;          // fusermount3 stays, and unmounts when this process dies
  bool debug = false;                 // libfuse prints every request
  bool io_uring = false;              // libfuse's threads take the requests, from one queue for each CPU
  bool nosymfollow = false;           // the kernel follows no symbolic link of the mount
  std::vector<std::string> security;  // words for the kernel's SELinux: "context=..."
  std::vector<std::string> extra;     // more `-o` words for libfuse and the kernel, such as noexec
};

/// The first request of a connection, INIT, and its reply: what the kernel and the daemon agreed on.
struct Handshake {
  std::vector<std::byte> request;
  std::vector<std::byte> reply;

  /// Whether the kernel can send requests again (Linux 6.9).
  [[nodiscard]] bool kernel_resends() const;
};

/// One FUSE mount and the threads that serve it. Not thread-safe.
class Session {
 public:
  /// Creates the session without mounting it. `adapter` must outlive it. Throws Error(kMount), or Error(kUnsupported)
  /// if requests can't come through io_uring as asked.
  Session(Adapter& adapter, const MountSettings& settings);
  /// Stops and unmounts. If a thread is stuck in a request for more than some seconds, ends the process.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Mounts, always with `ro,nosuid,nodev,noatime,default_permissions`. Throws Error(kMount) with libfuse's messages.
  /// If `nosymfollow` isn't possible, throws Error(kPermission) or Error(kUnsupported).
  void mount();
  /// Instead of `mount` and `answer_first`: goes on with the mount of an earlier daemon. `device` is a duplicate of
  /// that daemon's /dev/fuse, `number` is the number of the mount's device (makedev(3)), and `agreed` is its handshake.
  /// The destructor and `stop` call `unmount` instead of libfuse's function, which doesn't know the mount. `unmount`
  /// must not throw. If anything fails before `start` has returned, this session leaves the mount as it is, and another
  /// daemon can still go on with it. Throws Error(kMount) if this program would have answered INIT in another way than
  /// the earlier daemon.
  void take_over(UniqueFd device, std::uint64_t number, const Handshake& agreed, std::function<void()> unmount);
  /// Asks the kernel to send again all requests that it has no reply to yet. Call it after `take_over` and before
  /// `start`. False: the kernel can't (before Linux 6.9).
  [[nodiscard]] bool resend();
  /// Call it after `start`, when another daemon has ended that may have taken requests since. This one answers them.
  void take_back();
  /// What `answer_first` and the kernel agreed on. Empty with io_uring.
  [[nodiscard]] const Handshake& handshake() const { return handshake_; }
  /// Becomes readable when the kernel has sent its first request, right after `mount`. Owned by the session.
  [[nodiscard]] int device_fd() const;
  /// Answers that first request. False: it wasn't INIT, or the kernel's protocol doesn't fit.
  [[nodiscard]] bool answer_first();
  /// Starts the threads that answer all other requests. They inherit the signal mask: the caller first blocks the
  /// signals that it handles itself.
  void start(const ServerOptions& servers);
  /// Starts `prefetcher`, which must outlive the session; call it after `start`. `device` is the minor number of the
  /// mount's device. Throws std::system_error if no thread can be started.
  ///
  /// If this process is killed while the prefetcher waits in the kernel, it can't end. All users of the mount then hang
  /// until another process goes on with the mount, or aborts the FUSE connection. The caller makes sure that such a
  /// process runs.
  void start_prefetching(ContentPrefetcher& prefetcher, unsigned device);
  /// Ends the prefetcher. False: it didn't end within `limit`.
  [[nodiscard]] bool stop_prefetching(std::chrono::milliseconds limit);
  /// Starts `notifier`, which must outlive the session; call it after `start`. Like the prefetcher, the notifier may
  /// wait in the kernel, and so needs a process that can abort the connection. Throws std::system_error.
  void start_notifying(ChangeNotifier& notifier);
  /// Ends the notifier. False: it didn't end within `limit`.
  [[nodiscard]] bool stop_notifying(std::chrono::milliseconds limit);
  /// Tells the kernel that the root shows another tree: `names` of it may lead elsewhere, and its listing and
  /// attributes differ. What is mounted on one of these entries, or below it, is detached. The kernel may make the
  /// caller wait until requests are answered, so it must not be a server thread, and a process must run that can abort
  /// the connection.
  void tell_root_changed(std::span<const std::string> names);
  /// Lets the kernel forget nodes of a version that isn't shown any more, if no program uses them. A caller names each
  /// node of the version, a directory after its entries. Not for a node of the root. May wait as `tell_root_changed`.
  struct OldNode {
    std::uint64_t node = 0;
    std::uint64_t parent = 0;  // 0: the root
    std::string name;
  };
  void let_go(std::span<const OldNode> nodes);
  /// Lets the kernel forget names in the directories `parent`, whatever they lead to. Those in use look like deleted
  /// ones until they are looked up again. May wait as `tell_root_changed`.
  void forget_names(std::span<const OldNode> nodes);
  /// Lets the kernel forget what it keeps of the listing of a directory.
  void forget_listing(std::uint64_t node);
  /// Becomes readable when the session has ended, as it does at an unmount. Only after `start`.
  [[nodiscard]] int ended_fd() const { return servers_->ended_fd(); }
  /// Ends the prefetcher, the notifier and the server threads, and unmounts. Waits up to `limit` for requests that are
  /// being answered; files that are still open fail from then on. False: a thread didn't end, and the caller should end
  /// the process.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);

 private:
  /// Ends the mount, if it wasn't unmounted before.
  void unmount();
  /// Whether the mount has ended: the kernel has closed the connection.
  [[nodiscard]] bool is_disconnected() const;
  /// Closes the device, but keeps the number of its descriptor, which libfuse closes later.
  void close_device();
  /// Whether another file system is mounted over this mount. The check causes no request to this process.
  [[nodiscard]] bool is_covered() const;
  [[nodiscard]] bool end_rings(std::chrono::milliseconds limit);
  /// Lets libfuse answer INIT, but returns the reply instead of sending it to the kernel. Empty if there was none.
  [[nodiscard]] std::vector<std::byte> reply_to(std::vector<std::byte> request);

  Adapter& adapter_;
  MountSettings settings_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  Handshake handshake_;
  std::function<void()> unmount_;     // of a mount that was taken over
  std::uint64_t device_ = 0;          // of the mount; 0: unknown
  bool rings_ = false;                // libfuse may have started its threads for io_uring
  std::unique_ptr<Servers> servers_;  // since `start`
  ContentPrefetcher* prefetcher_ = nullptr;
  ChangeNotifier* notifier_ = nullptr;
};

/// Session::resend for the mount of `device`.
bool ask_to_resend(int device);

/// Checks before mounting that /dev/fuse is there and can be opened. Throws Error(kMount or kPermission).
void check_device();

}  // namespace pkgfs::fuse
