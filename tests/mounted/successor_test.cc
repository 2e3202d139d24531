// SPDX-License-Identifier: MIT
// Risk: a reader waits for ever, or gets an error, because the daemon that had taken its request was killed. This test
// has its own small daemons and takes the part of the process that starts their successors.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>

#include "fuse/request_store.h"
#include "fuse/shared_state.h"
#include "tests/mounted/mounted.h"
#include "tests/unit/fuse/servers_fixture.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// What a newer <linux/fuse.h> has, since Linux 6.9.
constexpr int kNotifyResend = 7;

/// A child process, which is killed at the latest at the end of the scope.
class Child {
 public:
  explicit Child(const std::function<int()>& life) : process_(::fork()) {
    if (process_ == 0) {
      int code = EXIT_FAILURE;
      try {
        code = life();
      } catch (...) {  // the exit code says it
      }
      ::_exit(code);
    }
    if (process_ < 0) {
      throw std::bad_alloc();
    }
  }
  Child(Child&& other) noexcept : process_(std::exchange(other.process_, -1)) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  Child& operator=(Child&&) = delete;
  ~Child() { kill(); }

  void kill() {
    if (process_ > 0) {
      ::kill(process_, SIGKILL);
      ::waitpid(std::exchange(process_, -1), nullptr, 0);
    }
  }
  /// The exit code; -1: it didn't end in time, or was killed.
  int wait(std::chrono::seconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!ended()) {
      if (std::chrono::steady_clock::now() > deadline) {
        return -1;
      }
      std::this_thread::sleep_for(5ms);
    }
    int status = 0;
    ::waitpid(std::exchange(process_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  [[nodiscard]] bool ended() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
  }

  pid_t process_;
};

/// The mount, as the process sees it that outlives the daemons. It has only one thread, and answers no request itself.
class SuccessorMount : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    void* const page = ::mmap(nullptr, sizeof(Init), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(page, MAP_FAILED);
    init_ = static_cast<Init*>(page);
    fuse_args args = FUSE_ARGS_INIT(0, nullptr);
    fuse_opt_add_arg(&args, "pkgfs-test");
    fuse_opt_add_arg(&args, "-oro,fsname=pkgfs-test-successor");
    session_ = fuse_session_new(&args, &adapter_.operations(), sizeof(fuse_lowlevel_ops), &adapter_);
    fuse_opt_free_args(&args);
    ASSERT_NE(session_, nullptr);
    ASSERT_EQ(fuse_session_mount(session_, dir_.path().c_str()), 0);
  }
  void TearDown() override {
    daemons_.clear();
    if (session_ != nullptr) {
      // With its last descriptor the connection ends, so that a reader that still waits can be killed.
      const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
      ::dup3(null.get(), fuse_session_fd(session_), O_CLOEXEC);
      readers_.clear();
      fuse_session_unmount(session_);
      fuse_session_destroy(session_);
    }
    if (init_ != nullptr) {
      ::munmap(init_, sizeof(Init));
    }
  }

  /// Starts a daemon that goes on from the one before, if there was one. `hangs`: the disk of "slow" doesn't answer.
  /// `resends`: the kernel sends requests again that have no reply.
  Child& start_daemon(bool hangs = false, bool resends = false) {
    return daemons_.emplace_back([this, hangs, resends] { return serve(hangs, resends); });
  }
  /// Starts a process that uses the mount, and says in its exit code whether all was well: 0.
  Child& start_reader(const std::function<int()>& life) {
    return readers_.emplace_back([this, &life] {
      ::close(fuse_session_fd(session_));
      return life();
    });
  }

  /// Whether a READ is in flight, soon.
  bool is_reading() {
    for (int i = 0; i < 2000; ++i) {
      for (const fuse::InFlight& one : state_.in_flight()) {
        if (one.request.opcode == FUSE_READ) {
          return true;
        }
      }
      std::this_thread::sleep_for(5ms);
    }
    return false;
  }

  /// Exit code 0: "slow" was read.
  int read_slow() {
    const int file = ::open((dir_.path() / "slow").c_str(), O_RDONLY | O_CLOEXEC);
    std::array<char, 4096> bytes{'x'};
    const ssize_t count = file < 0 ? -1 : ::read(file, bytes.data(), bytes.size());
    return count == static_cast<ssize_t>(bytes.size()) && bytes[0] == 0 ? 0 : 1;
  }

  void a_read_outlives_the_daemon(bool resends) {
    Child& daemon = start_daemon(true);
    Child& reader = start_reader([this] { return read_slow(); });
    ASSERT_TRUE(is_reading());
    daemon.kill();
    EXPECT_EQ(reader.wait(0s), -1) << "there is no daemon to answer";
    EXPECT_EQ(state_.in_flight().size(), 1U);
    start_daemon(false, resends);
    EXPECT_EQ(reader.wait(10s), 0);
  }

  static UniqueFd copy(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

  TempDir dir_;
  fuse::SharedState state_ = fuse::SharedState::create();
  std::unique_ptr<fuse::RequestStore> store_ = fuse::RequestStore::create();
  std::deque<Child> daemons_;
  std::deque<Child> readers_;

 private:
  struct Init {
    std::size_t size = 0;
    std::array<char, 4096> bytes{};
  };

  int serve(bool hangs, bool resends) {
    fuse::SharedState state = fuse::SharedState::adopt(copy(state_.fd()));
    const auto store = fuse::RequestStore::adopt(copy(store_->fd()));
    fuse::Statistics statistics(state);
    const auto disk = std::make_shared<fuse::SlowBytes>(statistics);
    fuse::Tree tree(disk);
    fuse::Adapter adapter(tree, statistics, {});
    if (hangs) {
      disk->gate.close();
    }
    fuse_args args = FUSE_ARGS_INIT(0, nullptr);
    fuse_opt_add_arg(&args, "pkgfs-test");
    fuse_session* const session = fuse_session_new(&args, &adapter.operations(), sizeof(fuse_lowlevel_ops), &adapter);
    const std::string device = "/dev/fd/" + std::to_string(fuse_session_fd(session_));
    if (session == nullptr || fuse_session_mount(session, device.c_str()) != 0) {
      return EXIT_FAILURE;
    }
    answer_init(session);
    if (resends) {
      const fuse_out_header resend{.len = sizeof(resend), .error = kNotifyResend, .unique = 0};
      (void)!::write(fuse_session_fd(session), &resend, sizeof(resend));
    }
    fuse::Servers servers(session, statistics, {.threads = 4, .on_duty = 1, .keep_requests = store.get()});
    servers.start();
    pollfd ended{.fd = servers.ended_fd(), .events = POLLIN, .revents = 0};
    while (::poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
    ::_exit(EXIT_SUCCESS);
  }

  /// The first daemon answers the kernel's INIT. For its successors, libfuse gets the same, and the kernel ignores the
  /// reply.
  void answer_init(fuse_session* session) {
    fuse_buf buffer{};
    if (init_->size == 0) {
      const int size = fuse_session_receive_buf(session, &buffer);
      if (size <= 0 || static_cast<std::size_t>(size) > init_->bytes.size()) {
        ::_exit(EXIT_FAILURE);
      }
      std::memcpy(init_->bytes.data(), buffer.mem, static_cast<std::size_t>(size));
      init_->size = static_cast<std::size_t>(size);
    } else {
      buffer.mem = init_->bytes.data();
      buffer.size = init_->size;
    }
    fuse_session_process_buf(session, &buffer);
  }

  fuse::Statistics statistics_;
  fuse::Tree tree_{std::make_shared<fuse::SlowBytes>(statistics_)};
  fuse::Adapter adapter_{tree_, statistics_, {}};
  fuse_session* session_ = nullptr;
  Init* init_ = nullptr;  // shared with the daemons
};

TEST_F(SuccessorMount, AReadOutlivesTheDaemonOnAKernelThatDoesNotResend) { a_read_outlives_the_daemon(false); }

TEST_F(SuccessorMount, ARequestMayBeBothKeptAndResent) { a_read_outlives_the_daemon(true); }

TEST_F(SuccessorMount, NoReaderNoticesThatDaemonsAreKilled) {
  constexpr int kReaders = 3;
  constexpr int kLookups = 3000;
  constexpr int kDaemons = 40;
  for (int reader = 0; reader < kReaders; ++reader) {
    start_reader([this, reader] {
      for (int i = 0; i < kLookups; ++i) {
        struct stat status{};
        const std::string name = "absent" + std::to_string(reader) + "-" + std::to_string(i);
        if (::stat((dir_.path() / name).c_str(), &status) == 0 || errno != ENOENT) {
          return 1;
        }
      }
      return 0;
    });
  }
  for (int i = 0; i < kDaemons; ++i) {
    Child& daemon = start_daemon();
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + i % 7));
    daemon.kill();
  }
  start_daemon();
  for (Child& reader : readers_) {
    EXPECT_EQ(reader.wait(20s), 0);
  }
  EXPECT_GE(fuse::Statistics(state_).snapshot()[fuse::Request::kLookup].requests,
            static_cast<std::uint64_t>(kReaders) * kLookups)
      << "the counts go on";
}

}  // namespace
}  // namespace pkgfs::test
