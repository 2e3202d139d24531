// SPDX-License-Identifier: MIT
#include "daemon/mount/taking_over.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
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

/// No keeper of a daemon that is about to be killed starts a successor. Keepers of versions that don't know
/// keeper::kReplacedBy look at these numbers.
void end_claims(UniqueFd& state) {
  try {
    auto before = fuse::SharedState::adopt(std::move(state));
    before.claim_succession();
    before.handed_over();
  } catch (const Error& error) {
    log::debug("{}", error);
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
    send_message(predecessor.control.get(), keeper::kPrepared);
    if (!receive_message(predecessor.control.get(), keeper::kGo, kUpgradeMs, predecessor.keeper)) {
      signal_process(predecessor.process, SIGCONT);
      throw Error(ErrorCode::kInterrupted, "the daemon before goes on, because the process that replaces it has ended");
    }
    predecessor.ended = now();
    take_counts(statistics, predecessor.state);
  } else if (predecessor.process) {
    pollfd ended{.fd = predecessor.process.get(), .events = POLLIN, .revents = 0};
    (void)::poll(&ended, 1, kPatienceMs);
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

void end_predecessor(Predecessor& predecessor) {
  if (!predecessor.runs) {
    return;
  }
  const auto own = static_cast<std::uint32_t>(::getpid());
  // Not through fuse::SharedState: the state may have the layout of another version.
  if (::pwrite(predecessor.state.get(), &own, sizeof(own), keeper::kReplacedBy) != sizeof(own)) {
    log::write(log::Level::kError,
               fmt::format("this daemon ends, because it can't note that it has replaced the one before: {}",
                           errno_text(errno)));
    std::_Exit(EXIT_FAILURE);  // an Error would unmount; now the keeper lets the daemon before go on
  }
  end_claims(predecessor.state);
  // In this order: if this process is killed in between, the keeper doesn't let the daemon go on, but kills it.
  signal_process(predecessor.process, SIGKILL);
  signal_process(predecessor.keeper, SIGKILL);
  // The keeper of this daemon is to listen for upgrades where that one still listens.
  pollfd ended{.fd = predecessor.keeper.get(), .events = POLLIN, .revents = 0};
  (void)::poll(&ended, predecessor.keeper ? 1 : 0, predecessor.keeper ? kEndMs : 0);
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
