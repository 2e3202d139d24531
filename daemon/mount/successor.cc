// SPDX-License-Identifier: MIT
#include "daemon/mount/successor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/keeper/protocol.h"
#include "daemon/mount/guarding.h"
#include "daemon/mount/handover.h"
#include "daemon/mount/keeping.h"
#include "daemon/mount/mount_package.h"
#include "daemon/mount/mount_table.h"
#include "daemon/mount/unmount.h"
#include "daemon/packages/kept_tree.h"

namespace pkgfs {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
/// For the process that replaces a daemon: to stop it, and to check the mount.
constexpr int kUpgradeMs = 30'000;

std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Takes the descriptors from the keeper. They must not reach a program that this process starts.
void claim_descriptors(int containers) {
  for (int fd = keeper::kControl; fd < keeper::kContainers + containers; ++fd) {
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  for (const int fd : {keeper::kProgram, keeper::kMainThread}) {
    ::close(fd);
  }
}

/// Notes the crash of the daemon before. Throws Error if there were too many: then one request may kill every daemon.
void count_crash(MountRecord& record, const Handover& said) {
  constexpr std::size_t kMost = 5;
  constexpr std::int64_t kWithin = 60 * kSecond;
  std::erase_if(record.crashes, [&](std::int64_t time) { return time < said.ended - kWithin; });
  if (said.signal == 0) {
    record.last_end = said.runs ? "replaced by another version" : "killed";
    return;
  }
  record.last_end = fmt::format("ended by signal {} ({})", said.signal, ::strsignal(said.signal));  // NOLINT
  record.crashes.push_back(said.ended);
  if (record.crashes.size() > kMost) {
    (void)!::write(keeper::kAbort, "1", 1);
    throw Error(
        ErrorCode::kInternal,
        fmt::format("the daemon of \"{}\" crashed {} times within a minute, last with signal {} ({})",
                    record.mountpoint, record.crashes.size(), said.signal, ::strsignal(said.signal)));  // NOLINT
  }
}

/// The working directory in which relative paths of the command line count, while this object lives.
class WorkingDirectory {
 public:
  explicit WorkingDirectory(const std::string& path) { (void)!::chdir(path.c_str()); }
  ~WorkingDirectory() { (void)!::chdir("/"); }
  WorkingDirectory(const WorkingDirectory&) = delete;
  WorkingDirectory& operator=(const WorkingDirectory&) = delete;
};

/// A process that replaces a daemon may have a terminal.
void leave_caller() {
  ::setsid();
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    ::dup2(null.get(), stream);
  }
  (void)!::chdir("/");
}

/// Of a device such as "0:53".
std::uint64_t device_number(const std::string& device) {
  unsigned major = 0;
  unsigned minor = 0;
  (void)std::sscanf(device.c_str(), "%u:%u", &major, &minor);  // NOLINT(cert-err34-c): of the kernel
  return ::makedev(major, minor);
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
void take_counts(fuse::Statistics& statistics, UniqueFd state) {
  try {
    statistics.continue_from(fuse::SharedState::adopt(std::move(state)));
  } catch (const Error& error) {
    log::info("the counts of the mount begin anew: {}", error);
  }
}

/// Goes on with a mount whose record has been read.
int resume(Predecessor predecessor, const MountOptions& options, const Io& io, ServiceManager& manager) {
  MountRecord& record = predecessor.record;
  ++record.generation;
  std::optional<OpenedTree> opened;
  {
    const WorkingDirectory directory(record.arguments.working_directory);
    opened = open_kept_tree(record.tree, options.tree, io);
  }
  const std::string mountpoint = record.mountpoint;
  return serve_mount(
      *std::move(opened), nullptr, options, mountpoint, [](const std::string&) {}, manager, std::move(predecessor));
}

int go_on(const Handover& said, const Io& io) {
  Predecessor predecessor{.record = {},
                          .device = UniqueFd(keeper::kDevice),
                          .state = UniqueFd(keeper::kState),
                          .requests = UniqueFd(keeper::kRequests),
                          .process = UniqueFd(keeper::kEnded),
                          .control = UniqueFd(keeper::kControl),
                          .ended = said.ended,
                          .signal = said.signal,
                          .runs = said.runs};
  const UniqueFd record(keeper::kRecord);
  predecessor.record = MountRecord::read(record.get());
  MountRecord& read = predecessor.record;
  count_crash(read, said);
  const MountOptions options = parse_mount_options(read.arguments.words, read.arguments.rules);
  set_log_level(options.log);
  for (int i = 0; i < said.containers; ++i) {
    read.tree.descriptors.push_back(keeper::kContainers + i);
  }
  ServiceManager none;
  return resume(std::move(predecessor), options, io, none);
}

}  // namespace

fuse::SharedState state_of(std::optional<Predecessor>& predecessor, Keeping& keeping) {
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
      log::warn("if this daemon is killed, no other one goes on with its mount: {}", error);
      keeping = Keeping::kNothing;
    }
  }
  return fuse::SharedState::unshared();
}

std::unique_ptr<fuse::RequestStore> requests_of(Predecessor& predecessor) {
  if (predecessor.runs) {
    throw Error(ErrorCode::kUnsupported,
                "this kernel doesn't send requests again (Linux before 6.9), so a daemon that runs can't be replaced");
  }
  auto store = fuse::RequestStore::adopt(std::move(predecessor.requests));
  if (const std::uint64_t lost = store->lost(); lost > 0) {
    throw Error(ErrorCode::kMount, fmt::format("{} requests of the daemon before can't be answered", lost));
  }
  return store;
}

std::vector<fuse::NodeRequest> poisoned_requests(fuse::SharedState& state,
                                                 const std::optional<Predecessor>& predecessor, vfs::FileSystem& tree) {
  const std::vector<fuse::InFlight> in_flight = state.in_flight();
  state.forget_in_flight();  // another attempt to go on with the mount must not count them again
  // Where no keeper was told of a crash, the thread that crashed has noted it.
  const bool crashed =
      predecessor && (predecessor->signal != 0 || std::ranges::any_of(in_flight, &fuse::InFlight::crashed));
  if (crashed) {
    for (const fuse::NodeRequest& request : state.suspect(in_flight)) {
      const Result<vfs::Origin> origin = tree.origin(request.node == 1 ? tree.root() : request.node);
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
    if (!receive_message(predecessor.control.get(), keeper::kGo, kUpgradeMs)) {
      signal_process(predecessor.process, SIGCONT);
      throw Error(ErrorCode::kInterrupted, "the daemon before goes on, because the process that replaces it has ended");
    }
    predecessor.ended = now();
    take_counts(statistics, std::move(predecessor.state));
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
  signal_process(predecessor.process, SIGKILL);
}

void tell_keeper(Predecessor& predecessor) {
  send_message(predecessor.control.get(), keeper::kReplaced);
  predecessor.control.reset();
}

bool is_successor(const Environment& environment) {
  // The descriptor of the record is what a keeper always passes on.
  const int seals = environment(keeper::kVariable) ? ::fcntl(keeper::kRecord, F_GET_SEALS) : -1;
  return seals > 0 && (seals & F_SEAL_WRITE) != 0;
}

int run_successor(const Io& io) {
  log_to_syslog();
  ::prctl(PR_SET_NAME, "pkgfs");  // NOLINT: it was started through a descriptor, whose number would be its name
  leave_caller();
  const std::optional<Handover> said = handover_of(io.environment);
  ::unsetenv(keeper::kVariable);  // NOLINT(concurrency-mt-unsafe): before any thread
  int exit_code = to_exit_code(ErrorCode::kInternal);
  try {
    if (!said) {
      throw Error(ErrorCode::kInternal, "the keeper's message can't be understood");
    }
    claim_descriptors(said->containers);
    keep_one_heap();
    return go_on(*said, io);
  } catch (...) {
    const Error error = current_error();
    log::write(log::Level::kError, fmt::format("this daemon can't go on with the mount: {}", error.what()));
    exit_code = to_exit_code(error.code());
  }
  return exit_code;
}

std::optional<Predecessor> stored_mount(const MountOptions& options, ServiceManager& manager) {
  Predecessor stored;
  UniqueFd record;
  std::map<std::size_t, UniqueFd> containers;
  for (ServiceManager::Stored& each : manager.take_stored()) {
    const std::string_view name = each.name;
    if (name == kStoredDevice) {
      stored.device = std::move(each.fd);
    } else if (name == kStoredRecord) {
      record = std::move(each.fd);
    } else if (name == kStoredState) {
      stored.state = std::move(each.fd);
    } else if (name == kStoredRequests) {
      stored.requests = std::move(each.fd);
    } else if (name.starts_with(kStoredContainer)) {
      containers[std::strtoul(each.name.c_str() + kStoredContainer.size(), nullptr, 10)] = std::move(each.fd);
    }
  }
  if (!stored.device || !record) {
    return std::nullopt;
  }
  const std::string device = MountRecord::device_of(record.get());
  try {
    stored.record = MountRecord::read(record.get());
    const MountArguments& then = stored.record.arguments;
    if (then.words != options.arguments.words || then.working_directory != options.arguments.working_directory) {
      throw Error(ErrorCode::kUsage, "the mount of the last run had other options");
    }
    for (auto& [number, fd] : containers) {
      stored.record.tree.descriptors.push_back(fd.release());
    }
    stored.record.last_end = "ended";  // how isn't known
    return stored;
  } catch (const Error& error) {
    log::info("this daemon doesn't go on with the mount of the last run: {}", error);
    if (const UniqueFd abort = open_abort_file(device.substr(device.find(':') + 1)); abort) {
      (void)!::write(abort.get(), "1", 1);
    }
    manager.forget_stored();
    return std::nullopt;
  }
}

int serve_stored_mount(Predecessor predecessor, const MountOptions& options, const Io& io, ServiceManager& manager) {
  return resume(std::move(predecessor), options, io, manager);
}

}  // namespace pkgfs
