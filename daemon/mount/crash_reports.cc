// SPDX-License-Identifier: MIT
#include "daemon/mount/crash_reports.h"

#include <execinfo.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

#include "core/base/error.h"
#include "daemon/keeper/protocol.h"
#include "fuse/servers.h"

namespace pkgfs {
namespace {

/// -1: no process wants reports.
volatile std::sig_atomic_t crash_channel = -1;

/// Handlers stay although no process is told.
bool notes_only = false;

/// Where stacks are written; -1: nowhere.
volatile std::sig_atomic_t stack_directory = -1;
std::array<char, 32> stack_file{};
std::array<char, 64> stack_title{};

/// Makes system calls only, and what glibc calls safe here once it has run before.
void write_stack() {
  const int file =
      ::openat(stack_directory, stack_file.data(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) {
    return;
  }
  constexpr int kMostFrames = 64;
  std::array<void*, kMostFrames> frames{};
  (void)!::write(file, stack_title.data(), std::strlen(stack_title.data()));
  ::backtrace_symbols_fd(frames.data(), ::backtrace(frames.data(), kMostFrames), file);
  ::close(file);
}

void on_crash(int signal) {
  fuse::Servers::note_crash();
  const std::array<char, keeper::kMessageBytes> message{keeper::kCrash, static_cast<char>(signal)};
  if (stack_directory >= 0) {
    write_stack();
  }
  (void)!::write(crash_channel, message.data(), message.size());
  (void)::raise(signal);  // SA_RESETHAND: its default action follows when this handler returns
}

constexpr std::array kCrashes{SIGSEGV, SIGABRT, SIGILL, SIGFPE, SIGQUIT, SIGSYS, SIGTRAP};

void install_handlers() {
  for (const int signal : kCrashes) {
    struct sigaction action{};
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
      action.sa_handler = on_crash;
      action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_ONSTACK;
      sigfillset(&action.sa_mask);
      ::sigaction(signal, &action, nullptr);
    }
  }
}

void remove_handlers() {
  for (const int signal : kCrashes) {
    struct sigaction action{};
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == on_crash) {
      action.sa_handler = SIG_DFL;
      ::sigaction(signal, &action, nullptr);
    }
  }
}

}  // namespace

void CrashReports::note_crashes() {
  notes_only = true;
  install_handlers();
}

void CrashReports::write_stacks_to(const std::string& directory) {
  UniqueFd opened(::open(directory.c_str(), O_DIRECTORY | O_RDONLY | O_CLOEXEC));
  if (!opened) {
    throw system_error("Unable to write reports of crashes to \"" + directory + "\"", errno);
  }
  std::snprintf(stack_file.data(), stack_file.size(), "pkgfs-%d.crash", ::getpid());
  std::snprintf(stack_title.data(), stack_title.size(), "pkgfs " PKGFS_VERSION " crashed. Its stack:\n");
  std::array<void*, 1> frame{};
  (void)::backtrace(frame.data(), 1);  // the first call loads a library
  stack_directory = opened.release();  // open as long as the process
  install_handlers();
}

void CrashReports::start(UniqueFd channel) {
  // The one before is open until handlers write to the other one.
  const UniqueFd before = std::exchange(channel_, std::move(channel));
  crash_channel = channel_.get();
  install_handlers();
}

void CrashReports::stop() {
  if (!channel_) {
    return;
  }
  if (crash_channel != channel_.get()) {  // another process is told meanwhile
    channel_.reset();
    return;
  }
  if (stack_directory < 0 && !notes_only) {
    remove_handlers();
  }
  crash_channel = -1;
  channel_.reset();
}

}  // namespace pkgfs
