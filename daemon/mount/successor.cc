// SPDX-License-Identifier: MIT
#include "daemon/mount/successor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
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
#include "daemon/mount/mount_service.h"
#include "daemon/mount/mount_table.h"
#include "daemon/packages/fresh_tree.h"
#include "daemon/packages/kept_tree.h"

namespace pkgfs {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

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

/// Goes on with a mount whose record has been read.
int resume(Predecessor predecessor, const MountOptions& options, const Io& io, ServiceManager& manager) {
  MountRecord& record = predecessor.record;
  ++record.generation;
  std::optional<OpenedTree> opened;
  std::string package = record.package;
  {
    const WorkingDirectory directory(record.arguments.working_directory);
    if (package.empty()) {
      package = FreshTree::decide_later(options.package, record.arguments.working_directory);
    }
    predecessor.versions = restore_versions(record.tree, options.tree, io);
    opened = open_first(record.tree, predecessor.versions, options.tree, io);
    predecessor.identity = kept_identity(record.tree);
  }
  const std::string mountpoint = record.mountpoint;
  FreshTree fresh(package, options.tree, record.arguments.working_directory, io);
  return serve_mount(
      *std::move(opened), {.followed = nullptr, .fresh = &fresh}, options, mountpoint, [](const std::string&) {},
      manager, std::move(predecessor));
}

int go_on(const Handover& said, const Io& io, const ResumeServing& resume_serving) {
  Predecessor predecessor{.record = {},
                          .device = UniqueFd(keeper::kDevice),
                          .state = UniqueFd(keeper::kState),
                          .requests = UniqueFd(keeper::kRequests),
                          .process = UniqueFd(keeper::kEnded),
                          .keeper = {},
                          .control = UniqueFd(keeper::kControl),
                          .ended = said.ended,
                          .signal = said.signal,
                          .runs = said.runs};
  const UniqueFd record(keeper::kRecord);
  predecessor.record = MountRecord::read(record.get());
  MountRecord& read = predecessor.record;
  count_crash(read, said);
  const MountOptions options = read.is_served() ? parse_serve_options(read.arguments.words, read.arguments.rules)
                                                : parse_mount_options(read.arguments.words, read.arguments.rules);
  set_log_level(options.log);
  for (int i = 0; i < said.containers; ++i) {
    read.tree.descriptors.push_back(keeper::kContainers + i);
  }
  if (read.is_served()) {
    ++read.generation;
    return resume_serving(std::move(predecessor), options, io);
  }
  ServiceManager none;
  return resume(std::move(predecessor), options, io, none);
}

}  // namespace

bool is_successor(const Environment& environment) {
  // The descriptor of the record is what a keeper always passes on.
  const int seals = environment(keeper::kVariable) ? ::fcntl(keeper::kRecord, F_GET_SEALS) : -1;
  return seals > 0 && (seals & F_SEAL_WRITE) != 0;
}

int run_successor(const Io& io, const ResumeServing& resume_serving) {
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
    return go_on(*said, io, resume_serving);
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
    if (const UniqueFd abort = open_abort_file(connection_of(device)); abort) {
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
