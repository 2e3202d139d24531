// SPDX-License-Identifier: MIT
#include "daemon/commands/staging.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <random>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/commands/remove_contents.h"
#include "daemon/commands/tree_mover.h"

namespace pkgfs {

namespace {

constexpr int kHiddenFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr const char* kNew = "new";  // in a hidden directory that is in the target: what is written
constexpr const char* kOld = "old";  // what that has replaced

/// None and errno if it fails, EEXIST included.
UniqueFd make_directory(int place, const char* name) {
  UniqueFd made;
  if (::mkdirat(place, name, S_IRWXU) == 0) {
    made.reset(::openat(place, name, kHiddenFlags));
    if (const int error = errno; !made) {
      ::unlinkat(place, name, AT_REMOVEDIR);
      errno = error;
    }
  }
  return made;
}

/// A signal would end the process after two seconds (InterruptGuard), with half of the target moved.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~BlockedSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

Staging::Staging(std::string path, bool force) : path_(std::move(path)) {
  place_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (place_) {
    stage_inside(force);
  } else if (errno == ENOENT) {
    stage_beside();
  } else {
    throw system_error("Unable to open the directory \"" + path_ + "\"", errno);
  }
}

Staging::~Staging() {
  if (hidden_.empty() || is_lost_) {
    return;
  }
  remove();
  if (leaf_.empty()) {
    const std::array<timespec, 2> times{before_.st_atim, before_.st_mtim};
    ::futimens(place_.get(), times.data());
  }
}

void Staging::stage_inside(bool force) {
  std::error_code failed;
  const bool was_empty = std::filesystem::is_empty(path_, failed);
  if (failed || ::fstat(place_.get(), &before_) != 0) {
    throw system_error("Unable to read the directory \"" + path_ + "\"", failed ? failed.value() : errno);
  }
  if (!was_empty && !force) {
    throw Error(ErrorCode::kUsage, "The directory \"" + path_ + "\" isn't empty (--force writes into it)");
  }
  const std::string what = "Unable to write to the directory \"" + path_ + "\"";
  make_hidden("", what);
  tree_ = make_directory(staging_.get(), kNew);
  if (!tree_) {
    const int error = errno;
    remove();
    throw system_error(what, error);
  }
}

void Staging::stage_beside() {
  const std::string what = "Unable to make the directory \"" + path_ + "\"";
  const std::string name = path_.substr(0, path_.find_last_not_of('/') + 1);
  const std::size_t slash = name.rfind('/');
  leaf_ = slash == std::string::npos ? name : name.substr(slash + 1);
  place_.reset(
      ::open(slash == std::string::npos ? "." : name.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat status{};
  if (!place_ || leaf_.empty()) {
    throw system_error(what, leaf_.empty() ? ENOENT : errno);
  }
  if (::fstatat(place_.get(), leaf_.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
    throw system_error("Unable to open the directory \"" + path_ + "\"", ENOENT);  // a link that leads nowhere
  }
  make_hidden(leaf_, what);
  tree_.reset(::fcntl(staging_.get(), F_DUPFD_CLOEXEC, 0));
}

void Staging::make_hidden(const std::string& prefix, const std::string& what) {
  constexpr int kAttempts = 100;
  constexpr std::size_t kPrefix = 200;  // bytes; a name may have 255
  std::random_device random;
  for (int i = 0; i < kAttempts && !staging_; ++i) {
    std::array<char, 32> ending{};
    std::snprintf(ending.data(), ending.size(), ".pkgfs-%08x%08x", static_cast<unsigned>(random()),
                  static_cast<unsigned>(random()));
    const std::string name = (prefix.empty() ? "" : "." + prefix.substr(0, kPrefix)) + ending.data();
    staging_ = make_directory(place_.get(), name.c_str());
    if (staging_) {
      hidden_ = name;
    } else if (errno != EEXIST) {
      break;
    }
  }
  if (!staging_) {
    throw system_error(what, errno);
  }
}

UniqueFd Staging::open() const { return UniqueFd(::fcntl(tree_.get(), F_DUPFD_CLOEXEC, 0)); }

void Staging::publish(const CancelFlag& cancel) {
  if (leaf_.empty()) {
    merge(cancel);
    return;
  }
  const int place = place_.get();
  bool done = ::renameat2(place, hidden_.c_str(), place, leaf_.c_str(), RENAME_NOREPLACE) == 0;
  if (!done && (errno == EINVAL || errno == ENOSYS)) {  // network file systems; this replaces an empty directory only
    done = ::renameat(place, hidden_.c_str(), place, leaf_.c_str()) == 0;
  }
  if (!done) {
    throw system_error("Unable to make the directory \"" + path_ + "\"", errno);
  }
  hidden_.clear();
}

void Staging::merge(const CancelFlag& cancel) {
  struct stat tree{};
  const UniqueFd old = make_directory(staging_.get(), kOld);
  if (!old || ::fstat(tree_.get(), &tree) != 0) {
    throw system_error("Unable to write to the directory \"" + path_ + "\"", errno);
  }
  TreeMover mover(tree_.get(), place_.get(), old.get(), path_, cancel);
  try {
    mover.run();
  } catch (...) {
    const BlockedSignals blocked;
    is_lost_ = !mover.undo();
    if (is_lost_) {
      log::warn("files of \"{}\" could not be put back: they are in \"{}/{}/{}\"", path_, path_, hidden_, kOld);
    }
    throw;
  }
  remove();
  const std::array<timespec, 2> times{tree.st_atim, tree.st_mtim};
  ::futimens(place_.get(), times.data());  // as TreeMover set them: the hidden directory is gone now
}

void Staging::remove() {
  ::fchmod(staging_.get(), S_IRWXU);  // a package's mode may forbid it
  remove_contents(staging_.get());
  ::unlinkat(place_.get(), hidden_.c_str(), AT_REMOVEDIR);
  hidden_.clear();
}

}  // namespace pkgfs
