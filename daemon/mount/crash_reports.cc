// SPDX-License-Identifier: MIT
#include "daemon/mount/crash_reports.h"

#include <unistd.h>

#include <array>
#include <csignal>
#include <utility>

#include "daemon/keeper/protocol.h"
#include "fuse/servers.h"

namespace pkgfs {
namespace {

/// -1: no process wants reports.
volatile std::sig_atomic_t crash_channel = -1;

void on_crash(int signal) {
  fuse::Servers::note_crash();
  const std::array<char, keeper::kMessageBytes> message{keeper::kCrash, static_cast<char>(signal)};
  (void)!::write(crash_channel, message.data(), message.size());
  (void)::raise(signal);  // SA_RESETHAND: its default action follows when this handler returns
}

constexpr std::array kCrashes{SIGSEGV, SIGABRT, SIGILL, SIGFPE, SIGQUIT, SIGSYS, SIGTRAP};

}  // namespace

void CrashReports::start(UniqueFd channel) {
  stop();
  channel_ = std::move(channel);
  crash_channel = channel_.get();
  for (const int signal : kCrashes) {
    struct sigaction action{};
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
      action.sa_handler = on_crash;
      action.sa_flags = static_cast<int>(SA_RESETHAND);
      sigfillset(&action.sa_mask);
      ::sigaction(signal, &action, nullptr);
    }
  }
}

void CrashReports::stop() {
  if (!channel_) {
    return;
  }
  for (const int signal : kCrashes) {
    struct sigaction action{};
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == on_crash) {
      action.sa_handler = SIG_DFL;
      ::sigaction(signal, &action, nullptr);
    }
  }
  crash_channel = -1;
  channel_.reset();
}

}  // namespace pkgfs
