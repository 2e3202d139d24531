// SPDX-License-Identifier: MIT
#include "fuse/session.h"

#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/thread_annotations.h"
#include "fuse/change_notifier.h"
#include "fuse/content_prefetcher.h"
#include "fuse/idmapped_mounts.h"
#include "fuse/newer_libfuse.h"
#include "fuse/parallel_lookups.h"
#include "fuse/session_cache.h"

namespace pkgfs::fuse {
namespace {

Mutex messages_mutex;
std::string messages PKGFS_GUARDED_BY(messages_mutex);  // libfuse's, since `take_messages` was last called

__attribute__((format(printf, 2, 0))) void keep_message(fuse_log_level level, const char* format, va_list arguments) {
  std::array<char, 512> text{};
  const int length = std::vsnprintf(text.data(), text.size(), format, arguments);
  if (length <= 0) {
    return;
  }
  if (level >= FUSE_LOG_INFO) {  // the requests that `-d` prints, one on a line, with names from packages
    std::string_view line(text.data());
    line.remove_suffix(line.ends_with('\n') ? 1 : 0);
    std::fputs((printable(line) + "\n").c_str(), stderr);
    return;
  }
  const MutexLock lock(messages_mutex);
  if (messages.size() < 4 * text.size()) {
    messages += text.data();
  }
}

std::string take_messages() {
  const MutexLock lock(messages_mutex);
  std::string text = std::exchange(messages, {});
  while (text.ends_with('\n')) {
    text.pop_back();
  }
  return text;
}

/// `security`: whether words for SELinux were passed to the kernel.
[[noreturn]] void throw_mount_error(const std::string& what, bool security = false) {
  std::vector<std::string> chain{what};
  if (const std::string said = take_messages(); !said.empty()) {
    for (std::size_t at = 0; at <= said.size();) {
      const std::size_t end = std::min(said.find('\n', at), said.size());
      chain.push_back(said.substr(at, end - at));
      at = end + 1;
    }
    if (said.find("user_allow_other") != std::string::npos) {
      chain.emplace_back("add a line \"user_allow_other\" to /etc/fuse.conf, or mount without allow_other");
    }
  }
  if (security && ::access("/sys/fs/selinux/enforce", F_OK) != 0) {
    chain.emplace_back(
        "this kernel doesn't use SELinux, which the options context=, fscontext=, defcontext= and "
        "rootcontext= are for");
  }
  throw Error(ErrorCode::kMount, std::move(chain));
}

/// Makes the kernel follow no symbolic link of a mount. The first request isn't answered yet, so that no program is in
/// the mount before.
void forbid_links(const std::string& mountpoint) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSYMFOLLOW;
  if (::mount_setattr(AT_FDCWD, mountpoint.c_str(), AT_NO_AUTOMOUNT, &attributes, sizeof attributes) == 0) {
    return;
  }
  const int error = errno;
  const std::string what = "Unable to mount \"" + mountpoint + "\" with nosymfollow";
  if (error == EPERM) {
    throw Error(ErrorCode::kPermission, {what, "only root can use this option"});
  }
  if (error == EINVAL || error == ENOSYS) {
    throw Error(ErrorCode::kUnsupported, {what, "it needs Linux 5.14"});
  }
  throw system_error(what, error);
}

/// In a value of `-o`, commas and backslashes are escaped.
std::string escaped(const std::string& value) {
  std::string text;
  for (const char c : value) {
    if (c == ',' || c == '\\') {
      text += '\\';
    }
    text += c;
  }
  return text;
}

/// The device of the topmost file system at `path`, 0 if that can't be found. Sends no request to a FUSE daemon, which
/// may be this process.
std::uint64_t device_at(const std::string& path) {
  struct statx status{};
  if (::statx(AT_FDCWD, path.c_str(), AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_TYPE, &status) != 0) {
    return 0;
  }
  return ::makedev(status.stx_dev_major, status.stx_dev_minor);
}

std::string mount_words(const MountSettings& settings) {
  std::string words = "ro,nosuid,nodev,noatime,default_permissions,subtype=pkgfs,fsname=" + escaped(settings.source);
  if (settings.allow_other) {
    words += ",allow_other";
  }
  if (settings.auto_unmount) {
    words += ",auto_unmount";
  }
  if (settings.io_uring) {
    words += ",io_uring";
  }
  for (const std::string& word : settings.extra) {
    words += "," + word;
  }
  for (const std::string& word : settings.security) {
    words += "," + escaped(word);
  }
  return words;
}

}  // namespace

bool Handshake::kernel_resends() const {
  constexpr std::uint32_t kMinor = 40;  // of the protocol
  struct {
    fuse_in_header header;
    std::uint32_t major;
    std::uint32_t minor;
  } init{};
  static_assert(offsetof(fuse_init_in, minor) == sizeof(init.major));
  if (request.size() < sizeof(init)) {
    return false;
  }
  std::memcpy(&init, request.data(), sizeof(init));
  return init.major == FUSE_KERNEL_VERSION && init.minor >= kMinor;
}

void check_device() {
  const UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (device) {
    return;
  }
  const int error = errno;
  if (error == ENOENT || error == ENODEV || error == ENXIO) {
    throw Error(ErrorCode::kMount,
                std::vector<std::string>{
                    "FUSE isn't available: there is no working /dev/fuse",
                    "load the module (modprobe fuse), or give the container the device (--device /dev/fuse)"});
  }
  throw system_error("Unable to open /dev/fuse", error);
}

Session::Session(Adapter& adapter, const MountSettings& settings) : adapter_(adapter), settings_(settings) {
  fuse_set_log_func(keep_message);
  if (const std::string why = settings.io_uring ? io_uring_missing() : std::string(); !why.empty()) {
    throw Error(ErrorCode::kUnsupported, {"FUSE over io_uring isn't to be had", why});
  }
  const std::string words = mount_words(settings_);
  fuse_args args = FUSE_ARGS_INIT(0, nullptr);
  fuse_opt_add_arg(&args, "pkgfs");
  fuse_opt_add_arg(&args, "-o");
  fuse_opt_add_arg(&args, words.c_str());
  if (settings_.debug) {
    fuse_opt_add_arg(&args, "-d");
  }
  session_ = fuse_session_new(&args, &adapter_.operations(), sizeof(fuse_lowlevel_ops), &adapter_);
  fuse_opt_free_args(&args);
  if (session_ == nullptr) {
    throw_mount_error("Unable to prepare the mount", !settings_.security.empty());
  }
  adapter_.attach(session_);
}

Session::~Session() {
  constexpr auto kLimit = std::chrono::seconds(5);
  if (servers_ != nullptr ? !stop(kLimit) : !end_rings(kLimit)) {
    // A thread is stuck in a request and uses this object: only the end of the process helps.
    std::_Exit(EXIT_FAILURE);
  }
  unmount();
  fuse_session_destroy(session_);
}

bool Session::is_disconnected() const {
  pollfd device{.fd = fuse_session_fd(session_), .events = 0, .revents = 0};
  return ::poll(&device, 1, 0) == 1 && (device.revents & POLLERR) != 0;
}

bool Session::is_covered() const {
  if (device_ == 0 || is_disconnected()) {
    return false;  // unmounted: the path leads to what was below
  }
  return device_at(settings_.mountpoint) != device_;
}

void Session::unmount() {
  if (!std::exchange(mounted_, false)) {
    return;
  }
  const bool covered = is_covered();
  if (!covered && unmount_) {
    const bool is_gone = is_disconnected();  // what is mounted at the path then isn't this mount
    close_device();
    if (!is_gone) {
      unmount_();
    }
    return;
  }
  if (!covered) {
    // Closes the device, so that open files fail, and unmounts lazily; does nothing if the mount is gone already.
    fuse_session_unmount(session_);
    return;
  }
  // libfuse unmounts by path: it would detach the other file system, with its data. The kernel can't detach what is
  // covered without that which covers it. So this mount stays, and ends as when a daemon is killed.
  log::warn("another file system is mounted over \"{}\": the mount of pkgfs below it is dead now; unmount both",
            settings_.mountpoint);
  close_device();
}

void Session::close_device() {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null) {
    ::dup3(null.get(), fuse_session_fd(session_), O_CLOEXEC);
  }
}

void Session::mount() {
  if (fuse_session_mount(session_, settings_.mountpoint.c_str()) != 0) {
    throw_mount_error("Unable to mount at \"" + settings_.mountpoint + "\"", !settings_.security.empty());
  }
  mounted_ = true;
  device_ = device_at(settings_.mountpoint);
  const int flags = ::fcntl(fuse_session_fd(session_), F_GETFD);
  ::fcntl(fuse_session_fd(session_), F_SETFD, flags | FD_CLOEXEC);
  if (settings_.nosymfollow) {
    forbid_links(settings_.mountpoint);
  }
}

int Session::device_fd() const { return fuse_session_fd(session_); }

bool Session::answer_first() {
  rings_ = settings_.io_uring;
  fuse_buf buffer{};
  const int received = fuse_session_receive_buf(session_, &buffer);
  const auto* const bytes = static_cast<const std::byte*>(buffer.mem);
  bool sent = true;
  if (received > 0 && rings_) {
    fuse_session_process_buf(session_, &buffer);
  } else if (received > 0) {
    handshake_.request.assign(bytes, bytes + received);
    handshake_.reply = reply_to(handshake_.request);
    if (may_be_idmapped(settings_.extra)) {
      allow_idmapped_mounts(handshake_.request, handshake_.reply);
    }
    if (adapter_.is_served()) {
      allow_parallel_lookups(handshake_.request, handshake_.reply);
    }
    const auto written = ::write(fuse_session_fd(session_), handshake_.reply.data(), handshake_.reply.size());
    sent = written == static_cast<ssize_t>(handshake_.reply.size());
  }
  std::free(buffer.mem);
  if (received == -ENOMEM) {
    throw system_error("Unable to receive the first request of the kernel", ENOMEM);
  }
  return sent && adapter_.is_ready();
}

void Session::take_over(UniqueFd device, std::uint64_t number, const Handshake& agreed, std::function<void()> unmount) {
  const std::string what = "Unable to take over the mount at \"" + settings_.mountpoint + "\"";
  if (fuse_session_mount(session_, ("/dev/fd/" + std::to_string(device.get())).c_str()) != 0) {
    throw_mount_error(what);
  }
  (void)device.release();  // libfuse closes it
  unmount_ = std::move(unmount);
  device_ = number;
  handshake_ = agreed;
  std::vector<std::byte> reply = reply_to(agreed.request);
  if (adapter_.is_served()) {
    allow_parallel_lookups(agreed.request, reply);
  }
  if (reply != agreed.reply) {  // a daemon of an earlier version allowed no idmapped mounts, this version does
    allow_idmapped_mounts(agreed.request, reply);
  }
  if (reply != agreed.reply || !adapter_.is_ready()) {
    throw Error(ErrorCode::kMount,
                {what, "this version of pkgfs has another agreement with the kernel than the one that mounted it"});
  }
}

void Session::start(const ServerOptions& servers) {
  ServerOptions options = servers;
  options.poll = servers.poll && !rings_;  // with io_uring, only requests that aren't urgent come through the device
  options.interrupts = !rings_;            // libfuse's threads take most requests, unknown to Servers
  options.interrupt = [this](std::uint64_t request) { return adapter_.interrupt(request); };
  servers_ = std::make_unique<Servers>(session_, adapter_.statistics(), options);
  servers_->start();
  mounted_ = true;
}

void Session::start_prefetching(ContentPrefetcher& prefetcher, unsigned device) {
  prefetcher.start(std::make_unique<SessionCache>(session_, OwnMount(settings_.mountpoint, device)));
  prefetcher_ = &prefetcher;
}

void Session::start_notifying(ChangeNotifier& notifier) {
  notifier.start(session_, adapter_.can_expire());
  notifier_ = &notifier;
}

bool Session::stop_notifying(std::chrono::milliseconds limit) { return notifier_ == nullptr || notifier_->stop(limit); }

bool Session::stop_prefetching(std::chrono::milliseconds limit) {
  return prefetcher_ == nullptr || prefetcher_->stop(limit);
}

bool Session::end_rings(std::chrono::milliseconds limit) {
  if (!std::exchange(rings_, false)) {
    return true;
  }
  fuse_session_exit(session_);
  return end_io_uring(session_, limit);
}

bool Session::stop(std::chrono::milliseconds limit) {
  // The prefetcher and the notifier first: they may be waiting for requests that must still be answered.
  const auto deadline = std::chrono::steady_clock::now() + limit;
  const auto left = [deadline] {
    const auto time = deadline - std::chrono::steady_clock::now();
    return std::max(std::chrono::duration_cast<std::chrono::milliseconds>(time), std::chrono::milliseconds(1));
  };
  const bool prefetcher_ended = stop_prefetching(limit) && stop_notifying(left());
  const bool waiting_ended = adapter_.stop_waiting(left());
  const bool servers_ended = servers_ == nullptr || servers_->stop(left());
  const bool rings_ended = end_rings(left());
  unmount();
  if (!prefetcher_ended || !waiting_ended || !servers_ended || !rings_ended) {
    return false;
  }
  if (const std::string said = take_messages(); !said.empty()) {
    log::debug("libfuse: {}", said);
  }
  return true;
}

}  // namespace pkgfs::fuse
