// SPDX-License-Identifier: MIT
#include "daemon/mount/keeper_process.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/keeper/description.h"
#include "daemon/keeper/protocol.h"
#include "daemon/mount/handover.h"
#include "daemon/mount/spawn_with.h"

namespace pkgfs {
namespace {

constexpr int kKeeperStartMs = 5000;

std::vector<int> all_of(const KeeperProcess::Mount& mount) {
  std::vector<int> descriptors(mount.fixed.begin(), mount.fixed.end());
  descriptors.insert(descriptors.end(), mount.containers.begin(), mount.containers.end());
  return descriptors;
}

/// False: the process has ended.
bool send_part(int socket, const keeper::Description& description, std::span<const int> descriptors) {
  keeper::Description text = description;
  iovec bytes{&text, sizeof(text)};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(keeper::kDescribedAtOnce * sizeof(int))> space{};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  header.msg_control = space.data();
  header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* const first = CMSG_FIRSTHDR(&header);
  first->cmsg_level = SOL_SOCKET;
  first->cmsg_type = SCM_RIGHTS;
  first->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(first), descriptors.data(), descriptors.size_bytes());
  return ::sendmsg(socket, &header, MSG_NOSIGNAL) > 0;
}

}  // namespace

std::string keeper_program() {
  std::error_code failed;
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe", failed).parent_path();
  for (const std::filesystem::path& directory : {own, own.parent_path() / "libexec" / "pkgfs"}) {
    if (std::string path = (directory / keeper::kName).string(); !failed && ::access(path.c_str(), X_OK) == 0) {
      return path;
    }
  }
  return {};
}

KeeperProcess& KeeperProcess::operator=(KeeperProcess&& other) noexcept {
  if (this != &other) {
    end();
    id_ = std::exchange(other.id_, 0);
    process_ = std::move(other.process_);
    control_ = std::move(other.control_);
  }
  return *this;
}

void KeeperProcess::end() {
  if (id_ == 0) {
    return;
  }
  if (process_) {
    end_child_process(process_.get(), id_);
  } else {
    ::kill(id_, SIGKILL);  // nothing has waited for the child, so it has its number
    (void)::waitpid(id_, nullptr, 0);
  }
  id_ = 0;
  process_.reset();
  control_.reset();
}

KeeperProcess KeeperProcess::spawn(const std::string& containers, const std::string& connection,
                                   const std::string& mountpoint, const std::vector<int>& descriptors,
                                   std::vector<std::string> variables) {
  const std::string program = keeper_program();
  if (program.empty()) {
    throw Error(ErrorCode::kIo, std::string("there is no program \"") + keeper::kName + "\" beside pkgfs");
  }
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw system_error("the keeper can't watch the daemon", errno);
  }
  UniqueFd mine(ends[0]);
  const UniqueFd keepers(ends[1]);
  std::vector<int> passed{keepers.get()};
  passed.insert(passed.end(), descriptors.begin(), descriptors.end());
  std::vector<std::string> words{keeper::kName, std::to_string(keeper::kVersion), containers, connection, mountpoint};
  for (std::string& word : command_line_of(::getpid())) {
    words.push_back(std::move(word));
  }
  // A process that ignores SIGCHLD, which is inherited, can't wait for its children.
  std::signal(SIGCHLD, SIG_DFL);  // NOLINT(concurrency-mt-unsafe)
  KeeperProcess process;
  process.id_ = spawn_with(passed, program, std::move(words), std::move(variables));
  process.process_ = open_process(process.id_);
  process.control_ = std::move(mine);
  return process;
}

KeeperProcess KeeperProcess::start(const Mount& mount) {
  std::vector<int> descriptors = all_of(mount);
  std::vector<std::string> variables{keeper::kSuccessionsVariable + ("=" + mount.successions)};
  if (!mount.before.empty()) {
    descriptors.insert(descriptors.end(), mount.before.begin(), mount.before.end());
    variables.push_back(keeper::kBeforeVariable + ("=" + std::to_string(::getpid())));
  }
  return spawn(std::to_string(mount.containers.size()), mount.connection, mount.mountpoint, descriptors,
               std::move(variables));
}

std::future<KeeperProcess> KeeperProcess::start_early(const std::string& mountpoint) {
  const auto start = [mountpoint]() -> KeeperProcess {
    try {
      return spawn(keeper::kLaterContainers, keeper::kLaterConnection, mountpoint, {}, {});
    } catch (const Error& error) {
      log::debug("the keeper isn't started before the mount: {}", error);
      return {};
    }
  };
  try {
    return std::async(std::launch::async, start);
  } catch (const std::system_error&) {  // no thread; `start` may still find one
    return {};
  }
}

bool KeeperProcess::describe(const Mount& mount) const {
  keeper::Description description{.containers = static_cast<std::uint32_t>(mount.containers.size())};
  if (mount.connection.size() >= description.connection.size()) {
    return false;
  }
  std::ranges::copy(mount.connection, description.connection.begin());
  const std::vector<int> descriptors = all_of(mount);
  for (std::span<const int> rest(descriptors); !rest.empty();) {
    const auto part = rest.first(std::min(rest.size(), keeper::kDescribedAtOnce));
    rest = rest.subspan(part.size());
    if (!send_part(control_.get(), description, part)) {
      return false;
    }
  }
  return true;
}

bool KeeperProcess::watches() const {
  return process_ && receive_message(control_.get(), keeper::kReady, kKeeperStartMs);
}

}  // namespace pkgfs
