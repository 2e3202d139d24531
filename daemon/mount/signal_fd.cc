// SPDX-License-Identifier: MIT
#include "daemon/mount/signal_fd.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.h"

namespace pkgfs {

SignalFd::SignalFd(std::initializer_list<int> signals, Ignored ignored) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) {
    struct sigaction action{};
    const bool is_ignored = ::sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_IGN;
    if (ignored == Ignored::kDelivered || !is_ignored) {
      sigaddset(&set, signal);
    }
  }
  ::pthread_sigmask(SIG_BLOCK, &set, &before_);
  fd_.reset(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!fd_) {
    const int error = errno;
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    throw system_error("Unable to wait for signals", error);
  }
}

std::optional<int> SignalFd::take() const {
  signalfd_siginfo info{};
  return ::read(fd_.get(), &info, sizeof(info)) == sizeof(info) ? std::optional(static_cast<int>(info.ssi_signo))
                                                                : std::nullopt;
}

void SignalFd::restore() {
  if (fd_) {
    fd_.reset();
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
}

}  // namespace pkgfs
