// SPDX-License-Identifier: MIT
#include "daemon/mount/guarding.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/log.h"
#include "daemon/keeper/protocol.h"

namespace pkgfs {

UniqueFd open_abort_file(const std::string& connection, UniqueFd* file_system) {
  if (connection.empty() || connection.find_first_not_of("0123456789") != std::string::npos) {
    errno = EINVAL;
    return {};
  }
  const std::string name = connection + "/abort";
  UniqueFd file(::open(("/sys/fs/fuse/connections/" + name).c_str(), O_WRONLY | O_CLOEXEC));
  if (file) {
    return file;
  }
  // fusectl is not mounted, as in most containers. Root can open it without mounting it anywhere.
  const UniqueFd control(::fsopen("fusectl", FSOPEN_CLOEXEC));
  if (!control || ::fsconfig(control.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return {};
  }
  UniqueFd root(::fsmount(control.get(), FSMOUNT_CLOEXEC, 0));
  file = root ? UniqueFd(::openat(root.get(), name.c_str(), O_WRONLY | O_CLOEXEC)) : UniqueFd();
  if (file_system != nullptr) {
    *file_system = std::move(root);
  }
  return file;
}

UniqueFd open_process(pid_t process) { return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, process, 0))); }

UniqueFd open_main_thread(pid_t process) {
  const std::string task = std::to_string(process);
  return UniqueFd(::open(("/proc/" + task + "/task/" + task + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
}

bool has_stopped(pid_t process) {
  std::error_code failed;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task", failed)) {
    const UniqueFd stat(::open((task.path() / "stat").c_str(), O_RDONLY | O_CLOEXEC));
    if (std::string_view("TtDZX").find(keeper::thread_state(stat.get())) == std::string_view::npos) {
      return false;
    }
  }
  return !failed;
}

void warn_not_kept(const std::string& why) {
  log::warn("if this daemon is killed, no other one goes on with its mount: {}", why);
}

void signal_process(const UniqueFd& process, int signal) {
  (void)::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0);
}

void end_child_process(int process, pid_t id) {
  constexpr int kEndMs = 1000;
  if (::syscall(SYS_pidfd_send_signal, process, SIGKILL, nullptr, 0) != 0) {
    ::kill(id, SIGKILL);  // a filter of system calls; nothing has waited for the child, so it has its number
  }
  (void)keeper::ends_within(process, kEndMs);
  siginfo_t info{};
  (void)::waitid(P_PIDFD, static_cast<id_t>(process), &info, WEXITED | WNOHANG);
}

}  // namespace pkgfs
