// SPDX-License-Identifier: MIT
#include "daemon/packages/interrupt.h"

#include <unistd.h>

#include <array>
#include <atomic>

namespace pkgfs {
namespace {

constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP, SIGALRM};
constexpr unsigned kPatienceSeconds = 2;

std::atomic<bool> exists = false;  // a guard that gets the signals
std::atomic<CancelFlag*> target = nullptr;
std::atomic<int> received = 0;
std::atomic<bool> is_patient = false;  // no time limit

void on_signal(int number) {
  if (number == SIGALRM) {
    if (is_patient) {
      return;  // it was blocked until now
    }
    number = received;
  } else if (received.exchange(number) == 0) {
    if (CancelFlag* flag = target) {
      flag->cancel();
    }
    if (!is_patient) {
      ::alarm(kPatienceSeconds);
    }
    return;
  }
  ::signal(number, SIG_DFL);  // takes effect when the handler returns and the signal is unblocked
  ::raise(number);
}

}  // namespace

InterruptGuard::InterruptGuard(CancelFlag& flag) : scope_(flag), is_first_(!exists.exchange(true)) {
  if (!is_first_) {
    return;
  }
  received = 0;
  is_patient = false;
  target = &flag;
  struct sigaction action{};
  action.sa_handler = &on_signal;
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals.at(i), nullptr, &before_[i]);
    const bool is_ignored = before_[i].sa_handler == SIG_IGN && kSignals.at(i) != SIGALRM;  // nohup
    if (!is_ignored) {
      ::sigaction(kSignals.at(i), &action, nullptr);
    }
  }
}

InterruptGuard::~InterruptGuard() {
  if (!is_first_) {
    return;
  }
  ::alarm(0);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals.at(i), &before_[i], nullptr);
  }
  target = nullptr;
  exists = false;
}

void InterruptGuard::give_time() {
  is_patient = true;
  ::alarm(0);
}

}  // namespace pkgfs
