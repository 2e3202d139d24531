// SPDX-License-Identifier: MIT
#include "core/base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "core/base/age_text.h"
#include "core/base/error.h"
#include "core/base/log.h"

namespace pkgfs {
namespace {

std::string time_text(std::chrono::milliseconds time) {
  return age_text(std::chrono::duration_cast<std::chrono::seconds>(time));
}

/// Whether the name in the directory still leads to the open file `fd`. If not, a lock on `fd` excludes no process.
bool is_in_place(int fd, int directory, const std::string& name) {
  struct stat ours{};
  struct stat there{};
  return ::fstat(fd, &ours) == 0 && ::fstatat(directory, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
         FileId(ours) == FileId(there);
}

}  // namespace

FileLock::FileLock(PrivateDirectory directory, std::string name)
    : directory_(std::move(directory)), name_(std::move(name)) {}

// Doesn't delegate: if it throws, there is no lock for the destructor to give up.
FileLock::FileLock(PrivateDirectory directory, std::string name, const CancelFlag& cancel,
                   std::chrono::milliseconds longest, const Progress& progress)
    : directory_(std::move(directory)), name_(std::move(name)) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kStep{50};
  constexpr std::chrono::seconds kSilent{1};
  const auto begun = Clock::now();
  auto last_progress = begun;
  std::uint64_t last_value = progress ? progress() : 0;
  bool was_replaced = false;
  bool is_told = false;
  while (true) {
    const Outcome outcome = attempt();
    if (outcome == Outcome::kTaken) {
      return;
    }
    // The process that held the lock has removed its file, so the next file is probably free. Once only: where another
    // process removes every file, this loop must not spin.
    if (outcome == Outcome::kReplaced && !std::exchange(was_replaced, true)) {
      continue;
    }
    was_replaced = outcome == Outcome::kReplaced;
    const auto now = Clock::now();
    if (const std::uint64_t value = progress ? progress() : 0; std::exchange(last_value, value) != value) {
      last_progress = now;
    }
    const auto since = [now](Clock::time_point time) {
      return std::chrono::duration_cast<std::chrono::milliseconds>(now - time);
    };
    if (since(last_progress) >= longest) {
      throw Error(
          ErrorCode::kBusy,
          fmt::format("Unable to lock '{}': pkgfs waited {} for another process that downloads the same file{}; "
                      "end that process, or try again later",
                      path(), time_text(since(begun)),
                      progress ? fmt::format(", and made no progress for {}", time_text(since(last_progress)))
                               : std::string()));
    }
    if (since(begun) >= kSilent && !std::exchange(is_told, true)) {
      tell_of_wait(longest, static_cast<bool>(progress));
    }
    if (cancel.wait_for(kStep)) {
      throw Error(ErrorCode::kInterrupted, fmt::format("interrupted while waiting for '{}'", path()));
    }
  }
}

FileLock::~FileLock() {
  if (fd_) {
    directory_.remove(name_);  // while the lock is still held: closing the descriptor releases it
  }
}

std::optional<FileLock> FileLock::take_if_free(PrivateDirectory directory, std::string name) {
  FileLock lock(std::move(directory), std::move(name));
  return lock.attempt() == Outcome::kTaken ? std::optional(std::move(lock)) : std::nullopt;
}

bool FileLock::is_held(const PrivateDirectory& directory, const std::string& name) {
  const UniqueFd fd(::openat(directory.fd(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  return fd && ::flock(fd.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

FileLock::Outcome FileLock::attempt() {
  UniqueFd fd;
  try {
    fd = directory_.open_file(name_, PrivateDirectory::Content::kNone);
  } catch (Error& error) {
    throw std::move(error).context(fmt::format("Unable to lock '{}'", path()));
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      throw system_error(fmt::format("Unable to lock '{}'", path()), errno);
    }
    return Outcome::kHeld;
  }
  if (!is_in_place(fd.get(), directory_.fd(), name_)) {
    return Outcome::kReplaced;
  }
  fd_ = std::move(fd);
  return Outcome::kTaken;
}

void FileLock::tell_of_wait(std::chrono::milliseconds longest, bool sees_progress) const {
  struct stat status{};
  const bool is_foreign =
      ::fstatat(directory_.fd(), name_.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_uid != ::geteuid();
  log::warn("waiting for the lock \"{}\"{}, at most {}{}: another download of the same file holds it", path(),
            is_foreign ? fmt::format(" of user {}", status.st_uid) : std::string(), time_text(longest),
            sees_progress ? " without progress" : "");
}

}  // namespace pkgfs
