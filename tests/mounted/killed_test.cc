// SPDX-License-Identifier: MIT
// Risk: the daemon is killed while it works, and every process that uses the mount hangs for ever.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <random>
#include <stdexcept>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kReaders = R"(
import os, sys, threading
paths = [os.path.join(at, name) for at, _, names in os.walk(sys.argv[1]) for name in names]
for path in paths:
    os.stat(path)
turns = iter(paths)
def read():
    for path in turns:
        file = os.open(path, os.O_RDONLY)
        os.read(file, 65536)
        os.close(file)
def until_it_fails():
    try:
        read()
    except (OSError, ValueError):
        pass
threads = [threading.Thread(target=until_it_fails) for _ in range(3)]
os.write(1, b"go")
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
)";

class Killed : public MountedTest {
 protected:
  static constexpr int kDirectories = 40;
  static constexpr int kFilesInEach = 100;

  static void SetUpTestSuite() {
    directory_ = std::make_unique<TempDir>();
    PackageBuilder builder("acme/many@1.0.0");
    builder.mount("/", "data");
    for (int i = 0; i < kDirectories * kFilesInEach; ++i) {
      builder.file("data", "d" + std::to_string(i / kFilesInEach) + "/f" + std::to_string(i), std::string(6000, 'x'));
    }
    builder.write(package());
    const rlimit none{.rlim_cur = 0, .rlim_max = 0};
    ::setrlimit(RLIMIT_CORE, &none);  // for the crashes below
  }
  static void TearDownTestSuite() { directory_.reset(); }
  static std::string package() { return directory_->path() / "many.webc"; }

  static std::unique_ptr<TempDir> directory_;
};

std::unique_ptr<TempDir> Killed::directory_;

TEST_F(Killed, NobodyHangsWhateverItWasDoing) {
  constexpr int kTimes = 20;  // without the guardian, one in some dozens hangs
  std::mt19937 random(std::random_device{}());
  for (int i = 0; i < kTimes; ++i) {
    MountedPackage mount(kPkgfs, package(), {"--keeper=off"});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const pid_t daemon = mount.daemon();
    // Readers that take turns file by file often read the very file that the daemon prefetches.
    Process readers({"/usr/bin/python3", "-c", kReaders, mount.path()});
    ASSERT_TRUE(eventually([&] { return readers.out() == "go"; })) << readers.err();
    sleep_ms(static_cast<int>(random() % 30));
    ::kill(daemon, i % 2 == 0 ? SIGKILL : SIGABRT);  // a crash stops threads in another way
    EXPECT_TRUE(eventually([&] { return !is_running(daemon); }, seconds(3))) << "the daemon can't die, round " << i;
    EXPECT_TRUE(readers.ends_within(seconds(3))) << "readers hang, round " << i;
    struct stat status{};
    const bool dead = ::stat((mount / "absent").c_str(), &status) != 0 && errno == ENOTCONN;
    EXPECT_TRUE(dead) << "round " << i;
    force_unmount(mount.path());  // frees processes that hang
    ASSERT_FALSE(HasFailure());
  }
}

/// The guardian of a daemon, as soon as it watches the daemon; throws if there is none.
pid_t guardian_of(pid_t daemon) {
  std::string found;
  const std::string title = "^fuse-guardian of " + std::to_string(daemon) + "$";
  if (!eventually([&] { return !(found = run({"pgrep", "-f", title}).out).empty(); })) {
    throw std::runtime_error("there is no guardian");
  }
  return std::stoi(found);
}

TEST_F(Killed, TheGuardianEndsWithItsDaemon) {
  if (nothing_is_pushed()) {
    GTEST_SKIP() << "nothing is pushed";
  }
  MountedPackage mount(kPkgfs, package(), {"--keeper=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const pid_t guardian = guardian_of(mount.daemon());
  EXPECT_TRUE(mount.unmount().ok());
  EXPECT_TRUE(eventually([&] { return !is_running(guardian); }));

  MountedPackage killed(kPkgfs, package(), {"--keeper=off"});
  ASSERT_TRUE(killed.ok()) << killed.result().describe();
  const pid_t other = guardian_of(killed.daemon());
  ::kill(killed.daemon(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return !is_running(other); }));
  force_unmount(killed.path());
}

TEST_F(Killed, SignalsDoTheGuardianNoHarmAndAKilledOneIsReplaced) {
  if (nothing_is_pushed()) {
    GTEST_SKIP() << "nothing is pushed";
  }
  const MountedPackage mount(kPkgfs, package(), {"--keeper=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const pid_t daemon = mount.daemon();
  const pid_t guardian = guardian_of(daemon);
  EXPECT_NE(::getpgid(guardian), ::getpgid(daemon)) << "who kills the daemon's group kills it, too";
  for (const int signal : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGHUP, SIGPIPE}) {
    ::kill(guardian, signal);
  }
  sleep_ms(300);
  EXPECT_EQ(read_text(mount / "d1/f100").size(), 6000U);
  EXPECT_TRUE(is_running(guardian));
  ::kill(guardian, SIGKILL);
  const std::string process = "/proc/" + std::to_string(guardian);
  EXPECT_TRUE(eventually([&] { return !fs::exists(process); })) << "a zombie is left";
  EXPECT_NE(guardian_of(daemon), guardian);
  for (int i = 200; i < 300; ++i) {
    EXPECT_EQ(read_text(mount / ("d2/f" + std::to_string(i))).size(), 6000U);
  }
  EXPECT_EQ(mount.daemon(), daemon);
}

}  // namespace
}  // namespace pkgfs::test
