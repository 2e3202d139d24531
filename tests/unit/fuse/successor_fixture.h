// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/unique_fd.h"
#include "fuse/shared_state.h"
#include "tests/unit/fuse/servers_fixture.h"

namespace pkgfs::fuse {

/// Another descriptor of the same file, as a successor gets it.
inline UniqueFd copy_of(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

/// A daemon with a state that outlives it, and its kernel.
struct Daemon {
  explicit Daemon(SharedState& state, const ServerOptions& options = {.threads = 4, .on_duty = 1})
      : statistics(state), kernel(adapter, FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT, &options) {}
  ~Daemon() {
    disk->gate.open();
    tree.gate.open();
  }

  std::uint64_t node(const char* name) { return kernel.node(FUSE_ROOT_ID, name); }
  std::uint64_t send_read(std::uint64_t node) {
    fuse_read_in read{};
    read.size = 100;
    return kernel.send(FUSE_READ, node, &read, sizeof(read));
  }
  std::uint64_t send_getattr(std::uint64_t node) {
    const fuse_getattr_in getattr{};
    return kernel.send(FUSE_GETATTR, node, &getattr, sizeof(getattr));
  }

  Statistics statistics;
  std::shared_ptr<SlowBytes> disk = std::make_shared<SlowBytes>(statistics);
  Tree tree{disk};
  Adapter adapter{tree, statistics, {}};
  test::Kernel kernel;
};

/// Runs `life` in a process of its own, which is killed when `life` returns. False: this libfuse can't be tested
/// without a mount.
inline bool live_and_die(const std::function<void()>& life) {
  constexpr int kSkipped = 77;
  const pid_t daemon = ::fork();
  if (daemon == 0) {
    try {
      life();
      ::raise(SIGKILL);
    } catch (const test::Kernel::Unavailable&) {
      ::_exit(kSkipped);
    } catch (...) {
      ::_exit(EXIT_FAILURE);
    }
  }
  int status = 0;
  EXPECT_EQ(::waitpid(daemon, &status, 0), daemon);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kSkipped) {
    return false;
  }
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  return true;
}

}  // namespace pkgfs::fuse
