// SPDX-License-Identifier: MIT
#include "daemon/mount/taking_over.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "daemon/keeper/protocol.h"
#include "daemon/mount/guarding.h"
#include "daemon/mount/handover.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/unmount.h"

namespace pkgfs {
namespace {

/// For the process that replaces a daemon: to stop it, and to check the mount.
constexpr int kUpgradeMs = 30'000;
/// For a process that was killed, to end.
constexpr int kEndMs = 200;

std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Detaches the mount, but nothing else that is mounted there meanwhile.
void unmount_own(const std::string& mountpoint, const std::string& device) noexcept {
  try {
    if (const auto mounted = find_mount(mountpoint); mounted && mounted->device == device) {
      unmount(mountpoint, true);
    }
  } catch (const Error& error) {
    log::warn("{}", error);
  }
}

/// Goes on from the counts of a daemon that has stopped.
void take_counts(fuse::Statistics& statistics, const UniqueFd& state) {
  try {
    statistics.continue_from(fuse::SharedState::adopt(UniqueFd(::fcntl(state.get(), F_DUPFD_CLOEXEC, 0))));
  } catch (const Error& error) {
    log::info("the counts of the mount begin anew: {}", error);
  }
}

/// Takes the mount from a daemon that was stopped, so that no keeper of it starts a successor. Keepers of versions that
/// don't know keeper::kReplacedBy look at the other two numbers. Returns an empty text, or the reason why it fails.
/// Not through fuse::SharedState: the state may have the layout of another version.
std::string take_mount(int state, std::optional<std::uint32_t> successions) {
  constexpr std::size_t kPage = 4096;
  std::uint32_t replaced_by = 0;
  struct flock lock{};  // keepers that pkgfs-keeperd starts have it while they decide
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = keeper::kSuccessions;
  lock.l_len = sizeof(replaced_by);
  // The state must be long enough: a mapping beyond its end would crash.
  if (!successions || ::pread(state, &replaced_by, sizeof(replaced_by), keeper::kReplacedBy) != sizeof(replaced_by)) {
    return "its memory can't be read";
  }
  if (::fcntl(state, F_SETLK, &lock) != 0) {
    return "a keeper of it is starting a successor: " + errno_text(errno);
  }
  void* const memory = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, state, 0);
  if (memory == MAP_FAILED) {
    return "its memory can't be mapped: " + errno_text(errno);
  }
  const auto number = [&](std::size_t at) {
    return std::atomic_ref(*reinterpret_cast<std::uint32_t*>(static_cast<char*>(memory) + at));
  };
  std::uint32_t known = *successions;
  const bool taken = number(keeper::kSuccessions).compare_exchange_strong(known, known + 1);
  if (taken) {
    number(keeper::kReplacedBy) = static_cast<std::uint32_t>(::getpid());
    number(keeper::kHanded) = *successions + 1;
  }
  ::munmap(memory, kPage);
  return taken ? "" : "a keeper of it has started a successor";
}

/// From now on, this daemon may take requests although the one before may go on.
void note_taking(Predecessor& predecessor) {
  const auto own = static_cast<std::uint32_t>(::getpid());
  (void)!::pwrite(predecessor.state.get(), &own, sizeof(own), keeper::kTaking);
  std::uint32_t number = 0;
  if (::pread(predecessor.state.get(), &number, sizeof(number), keeper::kSuccessions) == sizeof(number)) {
    predecessor.successions = number;
  }
}

fuse::SharedState adopt_or_create(std::optional<Predecessor>& predecessor, Keeping& keeping) {
  if (predecessor && predecessor->state && !predecessor->runs) {
    try {
      return fuse::SharedState::adopt(std::move(predecessor->state));
    } catch (const Error& error) {
      log::info("the counts of the mount begin anew: {}", error);
    }
  }
  if (keeping != Keeping::kNothing) {
    try {
      return fuse::SharedState::create();
    } catch (const Error& error) {
      warn_not_kept(error.message());
      keeping = Keeping::kNothing;
    }
  }
  return fuse::SharedState::unshared();
}

}  // namespace

fuse::SharedState state_of(std::optional<Predecessor>& predecessor, Keeping& keeping) {
  fuse::SharedState state = adopt_or_create(predecessor, keeping);
  if (keeping == Keeping::kBackedKeeper) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread
    ::setenv(keeper::kBackedVariable, std::to_string(state.successions()).c_str(), 1);
  } else {
    ::unsetenv(keeper::kBackedVariable);  // NOLINT(concurrency-mt-unsafe)
  }
  for (const char* const name : {keeper::kSuccessionsVariable, keeper::kBeforeVariable}) {
    ::unsetenv(name);  // NOLINT(concurrency-mt-unsafe): of another keeper; an older one passes them on
  }
  return state;
}

std::unique_ptr<fuse::RequestStore> requests_of(Predecessor& predecessor) {
  auto store = predecessor.runs ? fuse::RequestStore::adopt_beside(std::move(predecessor.requests))
                                : fuse::RequestStore::adopt(std::move(predecessor.requests));
  if (const std::uint64_t lost = store->lost(); lost > 0) {
    throw Error(ErrorCode::kMount, fmt::format("{} requests of the daemon before can't be answered", lost));
  }
  return store;
}

std::vector<fuse::NodeRequest> poisoned_requests(fuse::SharedState& state,
                                                 const std::optional<Predecessor>& predecessor, vfs::FileSystem& tree,
                                                 fuse::LiveIds* ids) {
  const auto origin_of = [&](std::uint64_t node) -> Result<vfs::Origin> {
    try {
      return tree.origin(node == 1 ? tree.root() : ids != nullptr ? ids->inode(node) : node);
    } catch (const fuse::StaleNode& stale) {
      return fail(stale.error);
    }
  };
  const std::vector<fuse::InFlight> in_flight = state.in_flight();
  state.forget_in_flight();  // another attempt to go on with the mount must not count them again
  // Where no keeper was told of a crash, the thread that crashed has noted it.
  const bool crashed =
      predecessor && (predecessor->signal != 0 || std::ranges::any_of(in_flight, &fuse::InFlight::crashed));
  if (crashed) {
    for (const fuse::NodeRequest& request : state.suspect(in_flight)) {
      const Result<vfs::Origin> origin = origin_of(request.node);
      log::write(log::Level::kError,
                 fmt::format("requests of kind {} for inode {}{} fail from now on: two daemons crashed at them",
                             request.opcode, request.node,
                             origin ? fmt::format(" (package \"{}\", volume \"{}\", path \"{}\")", origin->package,
                                                  origin->volume, origin->path)
                                    : std::string()));
    }
  }
  return state.poisoned();
}

void take_over(fuse::Session& session, Predecessor& predecessor, fuse::Statistics& statistics, bool resends) {
  // Usually, it has ended by now. If a thread of it waits in the kernel, it ends when this daemon answers its requests.
  constexpr int kPatienceMs = 100;
  const MountRecord& record = predecessor.record;
  session.take_over(std::move(predecessor.device), device_number(record.device), record.handshake,
                    [mountpoint = record.mountpoint, device = record.device] { unmount_own(mountpoint, device); });
  if (predecessor.runs) {
    send_message(predecessor.control.get(), keeper::kPrepared, predecessor.state.get());
    if (!receive_message(predecessor.control.get(), keeper::kGo, kUpgradeMs, predecessor.keeper) ||
        !predecessor.keeper) {
      signal_process(predecessor.process, SIGCONT);
      throw Error(ErrorCode::kInterrupted, "the daemon before goes on, because the process that replaces it has ended");
    }
    predecessor.ended = now();
    note_taking(predecessor);
    take_counts(statistics, predecessor.state);
  } else if (predecessor.process) {
    (void)keeper::ends_within(predecessor.process.get(), kPatienceMs);
  }
  if (resends && !session.resend()) {
    throw system_error("The kernel doesn't send requests again that the daemon before has taken", errno);
  }
}

void begin_serving(Predecessor& predecessor, fuse::Statistics& statistics) {
  // How long a service manager took isn't known.
  statistics.taken_over(std::chrono::nanoseconds(predecessor.ended > 0 ? now() - predecessor.ended : 0));
  if (!predecessor.runs) {
    return;
  }
  // If the other process ends, it can't be asked any more. So this daemon goes on, as it serves the mount already.
  send_message(predecessor.control.get(), keeper::kServing);
  (void)receive_message(predecessor.control.get(), keeper::kChecked, kUpgradeMs);
}

void give_up(const std::string& why) {
  log::write(log::Level::kError,
             fmt::format("this daemon ends, because it can't take the mount from the one before: {}", why));
  std::_Exit(EXIT_FAILURE);  // an Error would unmount
}

void end_predecessor(Predecessor& predecessor) {
  if (!predecessor.runs) {
    return;
  }
  if (const std::string why = take_mount(predecessor.state.get(), predecessor.successions); !why.empty()) {
    give_up(why);
  }
  predecessor.state.reset();
  // In this order: keepers of versions that don't know keeper::kReplacedBy kill this process when their daemon ends. If
  // this process is killed in between, its keeper kills the daemon.
  signal_process(predecessor.keeper, SIGKILL);
  signal_process(predecessor.process, SIGKILL);
  // The keeper of this daemon is to listen for upgrades where that one still listens.
  (void)keeper::ends_within(predecessor.keeper.get(), kEndMs);
}

void replace_with(Keeper& keeper, const Predecessor& predecessor) {
  keeper.replaces(predecessor.state.get(), predecessor.process.get(), predecessor.keeper.get());
}

void end_haste() {
  // NOLINTBEGIN(concurrency-mt-unsafe): no thread changes the environment
  const char* const before = std::getenv(keeper::kNiceVariable);
  if (before == nullptr) {
    return;
  }
  const long nice = std::strtol(before, nullptr, 10);
  ::unsetenv(keeper::kNiceVariable);
  // NOLINTEND(concurrency-mt-unsafe)
  std::error_code failed;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", failed)) {  // each has its own
    const auto thread = std::strtoul(task.path().filename().c_str(), nullptr, 10);
    (void)::setpriority(PRIO_PROCESS, static_cast<id_t>(thread), static_cast<int>(nice));
  }
}

void tell_keeper(Predecessor& predecessor, fuse::SharedState& state) {
  state.handed_over();
  ::prctl(PR_SET_PDEATHSIG, 0);  // NOLINT(cppcoreguidelines-pro-type-vararg): the keeper may end
  send_message(predecessor.control.get(), keeper::kReplaced);
  predecessor.control.reset();
}

}  // namespace pkgfs
