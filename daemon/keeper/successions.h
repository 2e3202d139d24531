// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "daemon/keeper/protocol.h"

namespace pkgfs::keeper {

/// Which of several keepers of a mount starts the next successor: they share memory that says so. The number of
/// successors decides between the keepers of one daemon. When a running daemon is replaced, the daemon that has the
/// mount is the one that kReplacedBy names. If the number can't be mapped, this keeper is alone.
class Successions {
 public:
  /// `containers`: how many this keeper has.
  void map(int containers) {
    constexpr std::size_t kPage = 4096;
    void* const memory = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, kState, 0);
    if (memory != MAP_FAILED) {
      number_ = reinterpret_cast<Number*>(static_cast<char*>(memory) + kSuccessions);
      const char* const told = std::getenv(kSuccessionsVariable);
      known_ = told == nullptr ? number_->load() : static_cast<std::uint32_t>(std::strtoul(told, nullptr, 10));
      handed_ = reinterpret_cast<Number*>(static_cast<char*>(memory) + kHanded);
    }
    const char* const daemon = std::getenv(kBeforeVariable);
    // Without the descriptor, the variable is of another keeper.
    if (daemon != nullptr && ::fcntl(kContainers + containers, F_GETFD) >= 0) {
      daemon_ = static_cast<std::uint32_t>(std::strtoul(daemon, nullptr, 10));
      before_ = kContainers + containers;
      ended_before_ = before_ + 1;
      keeper_before_ = before_ + 2;
      for (const int descriptor : {before_, ended_before_, keeper_before_}) {
        (void)::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
      }
    }
    forget_variables();
    began_ = std::getenv(kBackedVariable);
  }

  /// Of other keepers, which have passed them on.
  static void forget_variables() {
    ::unsetenv(kSuccessionsVariable);
    ::unsetenv(kBeforeVariable);
  }

  /// Whether pkgfs-keeperd holds the mount, too.
  [[nodiscard]] bool is_backed() const { return began_ != nullptr; }

  /// Whether another daemon has replaced that of this keeper.
  [[nodiscard]] static bool is_replaced() { return number_at(kState, kReplacedBy) != 0; }

  /// Whether this process may have taken requests of the daemon, which hasn't taken them back.
  [[nodiscard]] static bool has_taken(pid_t process) {
    return number_at(kState, kTaking) == static_cast<std::uint32_t>(process);
  }

  /// Closes the state of the daemon before, if this keeper's daemon has replaced that one.
  void look() {
    if (before_ >= 0 && number_at(before_, kReplacedBy) == daemon_) {
      ::close(before_);
      before_ = -1;
    }
  }

  /// Whether this process is to start the next successor. False: another keeper does, or another daemon has the mount.
  /// Lets the daemon before go on or kills it, if this keeper's daemon was to replace it: that one may be stopped, and
  /// its keeper killed.
  [[nodiscard]] bool claim() {
    look();
    if (before_ >= 0) {
      // Of a crash, this process is told earlier. A thread that still runs may be about to replace the daemon before.
      (void)::syscall(SYS_pidfd_send_signal, kEnded, SIGKILL, nullptr, 0);
      (void)ends_within(kEnded, kGraceMs);
      look();
    }
    if (before_ >= 0) {
      let_daemon_before_go_on();
      return false;
    }
    if (ended_before_ >= 0) {
      (void)::syscall(SYS_pidfd_send_signal, keeper_before_, SIGKILL, nullptr, 0);
      (void)::syscall(SYS_pidfd_send_signal, ended_before_, SIGKILL, nullptr, 0);
    }
    if (is_replaced()) {
      return false;
    }
    if (number_ == nullptr) {
      return true;
    }
    // pkgfs-keeperd may have started this process although the daemon has another keeper that it couldn't register.
    if (is_backed() && (another_has_done_it() || is_replaced())) {
      return false;
    }
    const bool mine = number_->compare_exchange_strong(known_, known_ + 1);
    known_ += mine ? 1 : 0;
    return mine;
  }

 private:
  using Number = std::atomic<std::uint32_t>;

  /// Its keeper does that first, if it still runs: then it ends, and the daemon takes back what this keeper's daemon
  /// may have taken. A keeper that was stopped is killed, because the daemon waits for its end. If that daemon has
  /// ended, another one may serve already, and the kernel sends all requests again.
  void let_daemon_before_go_on() const {
    constexpr int kKeeperMs = 1000;
    if (!ends_within(keeper_before_, kKeeperMs)) {
      (void)::syscall(SYS_pidfd_send_signal, keeper_before_, SIGKILL, nullptr, 0);
    }
    (void)::syscall(SYS_pidfd_send_signal, ended_before_, SIGCONT, nullptr, 0);
    if (ends_within(ended_before_, 0)) {
      constexpr std::uint32_t kResend[]{16, 7, 0, 0};  // fuse_out_header: its length, FUSE_NOTIFY_RESEND, no request
      (void)!::write(kDevice, kResend, sizeof(kResend));
    }
  }

  /// Waits until no other keeper is starting a successor. Returns whether one of them has done it. A keeper has this
  /// lock until it ends, and its successor ends with it unless the number in kHanded says that the successor serves.
  [[nodiscard]] bool another_has_done_it() {
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = kSuccessions;
    lock.l_len = sizeof(*number_);
    (void)::fcntl(kState, F_SETLKW, &lock);
    known_ = number_->load();
    return std::strtoul(began_, nullptr, 10) != known_ && *handed_ == known_;
  }

  Number* number_ = nullptr;
  Number* handed_ = nullptr;
  std::uint32_t known_ = 0;
  const char* began_ = nullptr;  // kBackedVariable
  int ended_before_ = -1;        // kEnded of that daemon; -1: none
  int keeper_before_ = -1;       // a pidfd of its keeper
  int before_ = -1;              // kState of the daemon that this keeper's daemon is to replace; -1: none
  std::uint32_t daemon_ = 0;     // in kReplacedBy once it has done that
};

}  // namespace pkgfs::keeper
