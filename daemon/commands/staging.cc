// SPDX-License-Identifier: MIT
#include "daemon/commands/staging.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/commands/tree_mover.h"
#include "daemon/packages/interrupt.h"

namespace pkgfs {

namespace {

/// A second signal would end the process (InterruptGuard), with half of the target moved.
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

/// Warns of what can't be put back.
void tell(const std::vector<std::string>& problems) {
  constexpr std::size_t kMost = 20;
  for (std::size_t i = 0; i < std::min(problems.size(), kMost); ++i) {
    log::warn("{}", problems[i]);
  }
  if (problems.size() > kMost) {
    log::warn("and {} more can't be put back or taken away", problems.size() - kMost);
  }
}

}  // namespace

Staging::Staging(std::string path, bool force) : Staging(std::move(path)) {
  find_place(force);
  prepare();
}

void Staging::check(const std::string& path, bool force) {
  Staging staging(path);
  staging.find_place(force);
  const std::string place = "/proc/self/fd/" + std::to_string(staging.place_.get());
  if (::faccessat(AT_FDCWD, place.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    throw system_error("Unable to write to the directory \"" + path + "\"", errno);
  }
}

void Staging::find_place(bool force) {
  place_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!place_ && errno == ENOENT) {
    find_parent("Unable to make the directory \"" + path_ + "\"");
    return;
  }
  if (!place_) {
    throw system_error("Unable to open the directory \"" + path_ + "\"", errno);
  }
  std::error_code failed;
  const bool was_empty = std::filesystem::is_empty(path_, failed);
  if (failed || ::fstat(place_.get(), &before_) != 0) {
    throw system_error("Unable to read the directory \"" + path_ + "\"", failed ? failed.value() : errno);
  }
  if (!was_empty && !force) {
    throw Error(ErrorCode::kUsage, "The directory \"" + path_ + "\" isn't empty (--force writes into it)");
  }
}

Staging::~Staging() {
  if (area_ && !area_->is_held() && leaf_.empty()) {
    area_->remove();
    const std::array<timespec, 2> times{before_.st_atim, before_.st_mtim};
    ::futimens(place_.get(), times.data());
  }
}

void Staging::prepare() {
  if (leaf_.empty()) {
    warn_of_leftovers(place_.get(), path_);
    const std::string what = "Unable to write to the directory \"" + path_ + "\"";
    area_.emplace(place_.get(), "", what);
    area_->prepare(what);
  } else {
    warn_of_leftovers_beside(place_.get(), leaf_, path_);
    area_.emplace(place_.get(), leaf_, "Unable to make the directory \"" + path_ + "\"");
  }
}

void Staging::find_parent(const std::string& what) {
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
}

UniqueFd Staging::open() const {
  UniqueFd copy(::fcntl(leaf_.empty() ? area_->fresh() : area_->fd(), F_DUPFD_CLOEXEC, 0));
  if (!copy) {
    throw system_error("Unable to write to the directory \"" + path_ + "\"", errno);
  }
  return copy;
}

void Staging::publish(const CancelFlag& cancel) {
  if (leaf_.empty()) {
    merge(cancel);
    return;
  }
  const int place = place_.get();
  const std::string& hidden = area_->name();
  bool done = ::renameat2(place, hidden.c_str(), place, leaf_.c_str(), RENAME_NOREPLACE) == 0;
  if (!done && (errno == EINVAL || errno == ENOSYS)) {  // network file systems; this replaces an empty directory only
    done = ::renameat(place, hidden.c_str(), place, leaf_.c_str()) == 0;
  }
  if (!done) {
    throw system_error("Unable to make the directory \"" + path_ + "\"", errno);
  }
  area_->release();
}

void Staging::merge(const CancelFlag& cancel) {
  struct stat tree{};
  if (::fstat(area_->fresh(), &tree) != 0) {
    throw system_error("Unable to write to the directory \"" + path_ + "\"", errno);
  }
  TreeMover mover(*area_, place_.get(), path_, cancel);
  InterruptGuard::give_time();  // one call of a slow file system may take longer than the limit
  try {
    mover.run();
  } catch (...) {
    const BlockedSignals blocked;
    area_->use_reserve();
    tell(mover.undo());
    throw;
  }
  mover.finish();
  area_->remove();
  area_.reset();
  const std::array<timespec, 2> times{tree.st_atim, tree.st_mtim};
  ::futimens(place_.get(), times.data());  // as TreeMover set them: the hidden directory is gone now
}

}  // namespace pkgfs
