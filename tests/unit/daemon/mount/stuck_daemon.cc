// SPDX-License-Identifier: MIT
#include "tests/unit/daemon/mount/stuck_daemon.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "daemon/mount/guardian.h"
#include "daemon/mount/mount_table.h"
#include "tests/support/mount.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kFile = 2;
constexpr std::size_t kFileSize = 4096;

fuse_attr attributes(std::uint64_t node) {
  fuse_attr attr{};
  attr.ino = node;
  attr.mode = node == kFile ? S_IFREG | 0444U : S_IFDIR | 0555U;
  attr.size = node == kFile ? kFileSize : 0;
  attr.nlink = 1;
  attr.blksize = kFileSize;
  return attr;
}

/// The side of the protocol that a daemon has, without libfuse.
class Server {
 public:
  explicit Server(int device) : device_(device) {}

  /// Answers every request but reads. The first read starts the thread that gets stuck.
  void run() {
    std::vector<char> buffer(std::size_t{1} << 18U);
    while (true) {
      const ssize_t size = ::read(device_, buffer.data(), buffer.size());
      if (size < static_cast<ssize_t>(sizeof(fuse_in_header))) {
        return;  // unmounted, or aborted
      }
      fuse_in_header in{};
      std::memcpy(&in, buffer.data(), sizeof(in));
      answer(in);
    }
  }

 private:
  void answer(const fuse_in_header& in) {
    switch (in.opcode) {
      case FUSE_INIT: {
        fuse_init_out out{};
        out.major = FUSE_KERNEL_VERSION;
        out.minor = 31;
        out.max_write = 1U << 17U;
        return reply(in, out);
      }
      case FUSE_LOOKUP: {
        fuse_entry_out out{};
        out.nodeid = kFile;
        out.entry_valid = out.attr_valid = 1000;
        out.attr = attributes(kFile);
        return reply(in, out);
      }
      case FUSE_GETATTR: {
        fuse_attr_out out{};
        out.attr_valid = 1000;
        out.attr = attributes(in.nodeid);
        return reply(in, out);
      }
      case FUSE_OPEN:
        return reply(in, fuse_open_out{});
      case FUSE_READ:
        std::thread([this] { store(); }).detach();
        return;
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT:
        return;
      default:
        return fail(in, -ENOSYS);
    }
  }

  /// Waits for the page that the kernel has locked for the read.
  void store() const {
    std::array<char, kFileSize> content{};
    fuse_notify_store_out out{};
    out.nodeid = kFile;
    out.size = kFileSize;
    fuse_out_header header{};
    header.error = FUSE_NOTIFY_STORE;
    send(header, {&out, sizeof(out)}, {content.data(), content.size()});
  }

  template <typename Out>
  void reply(const fuse_in_header& in, Out out) const {
    fuse_out_header header{};
    header.unique = in.unique;
    send(header, {&out, sizeof(out)}, {});
  }
  void fail(const fuse_in_header& in, int error) const {
    fuse_out_header header{};
    header.unique = in.unique;
    header.error = error;
    send(header, {}, {});
  }
  void send(fuse_out_header& header, iovec first, iovec second) const {
    header.len = static_cast<std::uint32_t>(sizeof(header) + first.iov_len + second.iov_len);
    const std::array<iovec, 3> parts{{{&header, sizeof(header)}, first, second}};
    (void)!::writev(device_, parts.data(), parts.size());
  }

  int device_;
};

/// The process that a pidfd stands for.
std::string process_of(int pidfd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(pidfd));
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("Pid:")) {
      return line.substr(5);
    }
  }
  return "0";
}

/// Serves until the other end of `control` is closed. Tells there first: a problem, or the numbers of connection and
/// guardian.
[[noreturn]] void run_daemon(const std::string& mountpoint, StuckDaemon::Guarded guarded, int control) {
  const rlimit none{.rlim_cur = 0, .rlim_max = 0};
  ::setrlimit(RLIMIT_CORE, &none);
  const auto tell = [control](const std::string& text) { (void)!::write(control, text.data(), text.size()); };
  const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  const std::string options = "fd=" + std::to_string(device) + ",rootmode=40000,user_id=0,group_id=0";
  if (device < 0 || ::mount("stuck", mountpoint.c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
    tell(std::string("! ") + std::strerror(errno));
    std::_Exit(1);
  }
  const std::string number = pkgfs::find_mount(mountpoint)->device;
  const std::string connection = number.substr(number.find(':') + 1);
  Server server(device);
  std::thread serving([&server] { server.run(); });
  Guardian guardian;
  if (guarded == StuckDaemon::Guarded::kYes) {
    if (const std::string why = guardian.start(connection); !why.empty()) {
      tell("! " + why);
      std::_Exit(1);
    }
  }
  tell(connection + " " + process_of(guardian.ended_fd()));
  char byte = 0;
  (void)!::read(control, &byte, 1);
  std::_Exit(0);
}

}  // namespace

StuckDaemon::StuckDaemon(Guarded guarded) : mountpoint_(directory_.path() / "mnt") {
  fs::create_directory(mountpoint_);
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    problem_ = std::strerror(errno);
    return;
  }
  control_.reset(ends[0]);
  UniqueFd other(ends[1]);
  pid_ = ::fork();
  if (pid_ == 0) {
    control_.reset();
    run_daemon(mountpoint_, guarded, other.get());
  }
  other.reset();
  std::array<char, 256> text{};
  const ssize_t length = ::read(control_.get(), text.data(), text.size() - 1);
  if (length <= 0 || text[0] == '!') {
    problem_ = length <= 0 ? "the daemon died" : text.data();
    return;
  }
  std::istringstream(text.data()) >> connection_ >> guardian_;
}

StuckDaemon::~StuckDaemon() {
  control_.reset();
  if (pid_ > 0) {
    ::umount2(mountpoint_.c_str(), MNT_FORCE | MNT_DETACH);  // aborts the connection
    ::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
  }
}

bool StuckDaemon::get_stuck() {
  reader_ = std::make_unique<Process>(Arguments{"cat", mountpoint_ / "f"});
  return eventually([&] {
    std::error_code gone;
    for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(pid_) + "/task", gone)) {
      if (process_status(task.path()).starts_with("D")) {
        return true;
      }
    }
    return false;
  });
}

bool StuckDaemon::ends_within(std::chrono::milliseconds limit) const {
  return eventually([&] { return !is_running(pid_); }, limit);
}

void StuckDaemon::kill(int signal) const { ::kill(pid_, signal); }

}  // namespace pkgfs::test
