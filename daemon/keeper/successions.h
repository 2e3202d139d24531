// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "daemon/keeper/protocol.h"

namespace pkgfs::keeper {

/// The number of successors of a mount, in memory that all its keepers share: it decides which of them starts the next
/// one. If the memory can't be mapped, this keeper is alone.
class Successions {
 public:
  void map() {
    constexpr std::size_t kPage = 4096;
    void* const memory = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, kState, 0);
    if (memory != MAP_FAILED) {
      number_ = reinterpret_cast<Number*>(static_cast<char*>(memory) + kSuccessions);
      const char* const told = std::getenv(kSuccessionsVariable);
      known_ = told == nullptr ? number_->load() : static_cast<std::uint32_t>(std::strtoul(told, nullptr, 10));
      handed_ = reinterpret_cast<Number*>(static_cast<char*>(memory) + kHanded);
    }
    ::unsetenv(kSuccessionsVariable);
    began_ = std::getenv(kBackedVariable);
  }

  /// Whether pkgfs-keeperd holds the mount, too.
  [[nodiscard]] bool is_backed() const { return began_ != nullptr; }

  /// Whether this process is to start the next successor. False: another keeper does.
  [[nodiscard]] bool claim() {
    if (number_ == nullptr) {
      return true;
    }
    // pkgfs-keeperd may have started this process although the daemon has another keeper that it couldn't register.
    if (is_backed() && another_has_done_it()) {
      return false;
    }
    const bool mine = number_->compare_exchange_strong(known_, known_ + 1);
    known_ += mine ? 1 : 0;
    return mine;
  }

 private:
  using Number = std::atomic<std::uint32_t>;

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
};

}  // namespace pkgfs::keeper
