// SPDX-License-Identifier: MIT
#include "fuse/session.h"

#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "fuse/content_pusher.h"

namespace pkgfs::fuse {
namespace {

/// Sent to a thread only to end its read of the device with EINTR.
constexpr int kWakeSignal = SIGUSR1;
constexpr auto kWakeInterval = std::chrono::milliseconds(5);

std::mutex messages_mutex;
std::string messages;  // what libfuse said since it was last asked; guarded by `messages_mutex`

__attribute__((format(printf, 2, 0))) void keep_message(fuse_log_level level, const char* format, va_list arguments) {
  std::array<char, 512> text{};
  const int length = std::vsnprintf(text.data(), text.size(), format, arguments);
  if (length <= 0) {
    return;
  }
  if (level >= FUSE_LOG_INFO) {  // `-d`: every request
    std::fputs(text.data(), stderr);
    return;
  }
  const std::lock_guard lock(messages_mutex);
  if (messages.size() < 4 * text.size()) {
    messages += text.data();
  }
}

std::string take_messages() {
  const std::lock_guard lock(messages_mutex);
  std::string text = std::exchange(messages, {});
  while (text.ends_with('\n')) {
    text.pop_back();
  }
  return text;
}

[[noreturn]] void throw_mount_error(const std::string& what) {
  std::vector<std::string> chain{what};
  if (const std::string said = take_messages(); !said.empty()) {
    chain.push_back(said);
    if (said.find("user_allow_other") != std::string::npos) {
      chain.emplace_back("add a line \"user_allow_other\" to /etc/fuse.conf, or mount without allow_other");
    }
  }
  throw Error(ErrorCode::kMount, std::move(chain));
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

std::string mount_words(const MountSettings& settings) {
  std::string words = "ro,nosuid,nodev,noatime,default_permissions,subtype=pkgfs,fsname=" + escaped(settings.source);
  if (settings.allow_other) {
    words += ",allow_other";
  }
  if (settings.auto_unmount) {
    words += ",auto_unmount";
  }
  for (const std::string& word : settings.extra) {
    words += "," + word;
  }
  return words;
}

}  // namespace

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

Session::Session(Adapter& adapter, const MountSettings& settings)
    : adapter_(adapter), settings_(settings), ended_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  fuse_set_log_func(keep_message);
  const std::string words = mount_words(settings_);
  fuse_args args = FUSE_ARGS_INIT(0, nullptr);
  fuse_opt_add_arg(&args, "pkgfs");
  fuse_opt_add_arg(&args, "-o");
  fuse_opt_add_arg(&args, words.c_str());
  if (settings_.debug) {
    fuse_opt_add_arg(&args, "-d");
  }
  session_ = fuse_session_new(&args, &Adapter::operations(), sizeof(fuse_lowlevel_ops), &adapter_);
  fuse_opt_free_args(&args);
  if (session_ == nullptr) {
    throw_mount_error("Unable to prepare the mount");
  }
}

Session::~Session() {
  if (!threads_.empty() && !stop(std::chrono::seconds(5))) {
    // A thread is stuck in a request and uses this object: only the end of the process helps.
    std::_Exit(EXIT_FAILURE);
  }
  if (mounted_) {
    fuse_session_unmount(session_);
  }
  fuse_session_destroy(session_);
}

void Session::mount() {
  if (fuse_session_mount(session_, settings_.mountpoint.c_str()) != 0) {
    throw_mount_error("Unable to mount at \"" + settings_.mountpoint + "\"");
  }
  mounted_ = true;
  const int flags = ::fcntl(fuse_session_fd(session_), F_GETFD);
  ::fcntl(fuse_session_fd(session_), F_SETFD, flags | FD_CLOEXEC);
}

void Session::start(unsigned threads, ContentPusher* pusher) {
  struct sigaction action{};
  action.sa_handler = [](int) {};  // no SA_RESTART: reads end with EINTR
  ::sigaction(kWakeSignal, &action, nullptr);
  running_ = threads;
  for (unsigned i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { serve(); });
  }
  if (pusher != nullptr) {
    pusher_ = pusher;
    pusher_->start(session_);
  }
}

void Session::serve() {
  fuse_buf buffer{};
  while (fuse_session_exited(session_) == 0) {
    const int received = fuse_session_receive_buf(session_, &buffer);
    if (received == -EINTR || received == -EAGAIN) {
      continue;
    }
    if (received <= 0) {  // unmounted, or the connection was aborted
      fuse_session_exit(session_);
      break;
    }
    fuse_session_process_buf(session_, &buffer);
  }
  std::free(buffer.mem);
  if (running_.fetch_sub(1) == 1) {
    const std::uint64_t one = 1;
    (void)!::write(ended_.get(), &one, sizeof(one));
  }
}

bool Session::wait_ready(std::chrono::milliseconds limit) const {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!adapter_.ready().load(std::memory_order_acquire)) {
    if (std::chrono::steady_clock::now() >= deadline || running_ == 0) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

bool Session::stop(std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  // First, while the READs that it may wait for are still answered.
  const bool pusher_ended = pusher_ == nullptr || pusher_->stop(limit);
  fuse_session_exit(session_);
  while (running_ > 0 && std::chrono::steady_clock::now() < deadline) {
    for (std::thread& thread : threads_) {
      ::pthread_kill(thread.native_handle(), kWakeSignal);
    }
    pollfd ended{.fd = ended_.get(), .events = POLLIN, .revents = 0};
    (void)::poll(&ended, 1, static_cast<int>(kWakeInterval.count()));
  }
  const bool all_ended = running_ == 0 && pusher_ended;
  if (mounted_) {
    // Closes the device, which fails what is still open, and unmounts lazily; does nothing if that was done by others.
    fuse_session_unmount(session_);
    mounted_ = false;
  }
  if (!all_ended) {
    return false;
  }
  for (std::thread& thread : threads_) {
    thread.join();
  }
  threads_.clear();
  if (const std::string said = take_messages(); !said.empty()) {
    log::debug("libfuse: {}", said);
  }
  return true;
}

}  // namespace pkgfs::fuse
