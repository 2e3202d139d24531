// SPDX-License-Identifier: MIT
#include "daemon/serve/package_names.h"

#include <sys/stat.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/packages/flags_elsewhere.h"

namespace pkgfs {
namespace {

using Finding = vfs::ServedNames::Finding;
using Kind = NameSyntax::Kind;

/// They read directories and files of this machine.
constexpr unsigned kLocalThreads = 4;
/// Each may wait for a server. More searches than these wait for a free thread.
constexpr unsigned kRemoteThreads = 64;
/// Threads that ask registries whether a link leads to another version now.
constexpr unsigned kCheckThreads = 4;
/// Threads that make listings. If a registry directory hangs, they do; searches have other threads.
constexpr unsigned kListingThreads = 2;

bool is_directory(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

/// What tells one state of a lock file from another; empty if there is none.
std::string state_of_file(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return {};
  }
  return fmt::format("{} {} {} {}.{}", status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec,
                     status.st_mtim.tv_nsec);
}

int errno_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotFound:
      return ENOENT;
    case ErrorCode::kPermission:
      return EACCES;
    case ErrorCode::kNetwork:
      return EHOSTUNREACH;
    case ErrorCode::kFull:
      return ENOSPC;
    case ErrorCode::kInterrupted:
      return EINTR;
    case ErrorCode::kUsage:
    case ErrorCode::kCorrupt:
    case ErrorCode::kUnsupported:
    case ErrorCode::kResolve:
    case ErrorCode::kLoad:
    case ErrorCode::kBusy:
    case ErrorCode::kIo:
    case ErrorCode::kMount:
    case ErrorCode::kInternal:
      break;
  }
  return EIO;
}

}  // namespace

PackageNames::PackageNames(TreeFlags flags, std::string locks, const Io& io)
    : flags_(std::move(flags)),
      locks_(std::move(locks)),
      io_(io),
      settings_(load_settings(flags_.network, io.environment)),
      memory_(tree_options(flags_).memory),
      local_(kLocalThreads),
      remote_(kRemoteThreads),
      checking_(kCheckThreads),
      listing_(kListingThreads) {
  flags_.network.is_never_path = true;
  flags_.network.forks_later = false;  // `serve` has forked before it looks for the first package
}

void PackageNames::check_directories() const {
  for (const std::string& directory : settings_.directories) {
    if (!is_directory(directory)) {
      throw Error(ErrorCode::kNotFound, "package directory does not exist: \"" + directory + "\"");
    }
  }
}

PackageNames::~PackageNames() = default;

bool PackageNames::is_local(const std::string& full_name) const {
  return std::ranges::any_of(settings_.directories,
                             [&](const std::string& directory) { return is_directory(directory + "/" + full_name); });
}

PackageNames::Meaning PackageNames::meaning_of(const std::string& directory, std::string_view name) {
  const NameSyntax syntax = syntax_of(directory, name);
  if (!syntax.is_plain && !is_local(syntax.full_name)) {
    return {};
  }
  switch (syntax.kind) {
    case Kind::kNothing:
      break;
    case Kind::kNamespace:
    case Kind::kHashes:
      return {.kind = Meaning::Kind::kDirectory};
    case Kind::kLocked:
      return {.kind = locks_.empty() ? Meaning::Kind::kAbsent : Meaning::Kind::kDirectory};
    case Kind::kLocks:
      return {.kind = locks_.empty() ? Meaning::Kind::kAbsent : Meaning::Kind::kLink, .text = locks_};
    case Kind::kExact:
      return {.kind = Meaning::Kind::kTree};
    case Kind::kRequirement:
      return {.kind = Meaning::Kind::kFoundLink};
    case Kind::kLockedPackage: {
      std::string state = locks_.empty() ? std::string() : state_of_file(lock_path(syntax.specifier));
      const auto kind = state.empty() ? Meaning::Kind::kAbsent : Meaning::Kind::kTree;
      return {.kind = kind, .text = {}, .state = std::move(state)};
    }
  }
  return {};
}

void PackageNames::find(std::uint64_t number, const std::string& path, std::shared_ptr<const void> recipe, Done done) {
  const auto task = std::make_shared<Task>();
  task->number = number;
  task->path = path;
  task->recipe = std::static_pointer_cast<const PackageRecipe>(std::move(recipe));
  task->done = std::move(done);
  {
    const MutexLock lock(mutex_);
    tasks_.emplace(number, task);
  }
  try {
    local_.add([this, task] { work(task, true); });
  } catch (...) {
    const MutexLock lock(mutex_);
    tasks_.erase(number);
    throw;
  }
}

void PackageNames::give_up(std::uint64_t number) {
  TaskPointer task;
  {
    const MutexLock lock(mutex_);
    const auto found = tasks_.find(number);
    if (found == tasks_.end()) {
      return;
    }
    task = found->second;
    tasks_.erase(found);
    task->given_up = true;
  }
  task->running.cancel();
}

std::uint64_t PackageNames::progress(std::uint64_t number) {
  const MutexLock lock(mutex_);
  const auto found = tasks_.find(number);
  if (found == tasks_.end()) {
    return 1;
  }
  return found->second->is_running ? 1 + found->second->arrivals.count() : 0;
}

std::vector<std::string> PackageNames::places() const {
  std::vector<std::string> all = settings_.directories;
  all.push_back(settings_.cache_dir);
  if (!locks_.empty()) {
    all.push_back(locks_);
  }
  return all;
}

bool PackageNames::stop(std::chrono::milliseconds limit) {
  std::map<std::uint64_t, TaskPointer> tasks;
  std::map<std::string, Check> checks;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    tasks.swap(tasks_);
    checks.swap(checks_);
  }
  for (const auto& [number, task] : tasks) {
    task->running.cancel();
  }
  for (const auto& [path, check] : checks) {
    if (check.task != nullptr) {
      check.task->running.cancel();
    }
  }
  return local_.stop(limit) && remote_.stop(limit) && checking_.stop(limit) && listing_.stop(limit);
}

void PackageNames::end(const TaskPointer& task, Finding finding) {
  std::shared_ptr<vfs::HeldTree> unused;  // closing a tree waits for its threads and the disk, so it needs no lock
  {
    const MutexLock lock(mutex_);
    tasks_.erase(task->number);
    if (task->given_up) {
      unused.swap(finding.tree);
    }
  }
  unused.reset();
  task->done(std::move(finding));
}

void PackageNames::work(const TaskPointer& task, bool offline) {
  {
    const MutexLock lock(mutex_);
    if (task->given_up || stopping_) {
      return;
    }
  }
  task->is_running = true;
  const NameSyntax syntax = syntax_of_path(task->path);
  Finding finding;
  try {
    finding = search(*task, syntax, offline);
  } catch (...) {
    const Error error = current_error();
    // Memory, threads or descriptors are free again as soon as other packages are closed.
    finding.error = error.is_of_machine() ? ENOMEM : errno_of(error.code());
    finding.reason = error.what();
    offline = offline && !error.is_of_machine();
  }
  // Without a registry, only a package that was found can lack what is at a server.
  const bool may_help = finding.error != ENOENT || !settings_.registries.empty() || task->recipe != nullptr ||
                        syntax.kind == Kind::kLockedPackage;
  if (!offline || finding.error == 0 || finding.error == EINTR || !may_help || !may_ask(syntax)) {
    if (finding.error != 0 && finding.error != EINTR) {
      log::write(finding.error == ENOENT || !may_warn() ? log::Level::kInfo : log::Level::kWarn,
                 "\"" + task->path + "\" can't be shown: " + finding.reason);
    }
    end(task, std::move(finding));
    return;
  }
  task->is_running = false;
  try {
    remote_.add([this, task] { work(task, false); });
  } catch (const std::system_error& error) {
    finding.error = ENOMEM;
    finding.reason = std::string("no thread can be started: ") + error.what();
    end(task, std::move(finding));
  }
}

bool PackageNames::may_warn() {
  constexpr unsigned kMost = 20;
  constexpr auto kTime = std::chrono::minutes(1);
  const auto now = std::chrono::steady_clock::now();
  const MutexLock lock(mutex_);
  if (now - warned_since_ >= kTime) {
    warned_since_ = now;
    warnings_ = 0;
  }
  return ++warnings_ <= kMost;
}

}  // namespace pkgfs
