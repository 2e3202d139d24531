// SPDX-License-Identifier: MIT
// Risk: a daemon is killed, and programs that use its mount get errors, wrong bytes, or wait for ever.
#include <fcntl.h>
#include <unistd.h>

#include <iterator>
#include <random>
#include <sstream>

#include "tests/mounted/keeper.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/disk/faulty_disk.h"
#include "tests/support/http.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

using Keeper = KeeperTest;

TEST_F(Keeper, AKilledDaemonIsReplacedWhileAReaderReads) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = kept(mount.path());
  EXPECT_EQ(before.generation, 1);
  EXPECT_EQ(before.last_end, "");
  ComparingReader reader(mount.path(), source());
  sleep_ms(50);
  const Serving after = replace_daemon(mount.path());
  sleep_ms(50);
  reader.expect_right();
  EXPECT_EQ(after.generation, 2);
  EXPECT_EQ(after.all["package"], before.all["package"]);
  EXPECT_EQ(after.all["packages"], before.all["packages"]);
  EXPECT_EQ(after.all["mountpoint"], before.all["mountpoint"]);
}

TEST_F(Keeper, TwentyKillsInARowAreNoErrorForReaders) {
  constexpr int kTimes = 20;
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ComparingReader one(mount.path(), source());
  ComparingReader two(mount.path(), source());
  std::mt19937 random(std::random_device{}());
  for (int i = 0; i < kTimes && !HasFailure(); ++i) {
    sleep_ms(static_cast<int>(random() % 60));
    EXPECT_EQ(replace_daemon(mount.path()).generation, i + 2);
  }
  one.expect_right();
  two.expect_right();
  EXPECT_EQ(listing(mount.path() / "d7"), listing(mount.path() / "d7"));
}

TEST_F(Keeper, OtherSignalsAndCrashesAreNoErrorForReadersEither) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ComparingReader reader(mount.path(), source());
  for (const int signal : {SIGSEGV, SIGABRT, SIGKILL}) {
    sleep_ms(20);
    replace_daemon(mount.path(), signal);
    ASSERT_FALSE(HasFailure()) << "signal " << signal;
  }
  reader.expect_right();
}

/// Holds what programs hold, until a file appears; then uses it on.
constexpr const char* kHolder = R"(
import mmap, os, sys, time
mount, source, go_on = sys.argv[1:4]
os.chdir(os.path.join(mount, "d3"))
inode = os.stat(".").st_ino
right = open(os.path.join(source, "large"), "rb").read()
file = open(os.path.join(mount, "large"), "rb", buffering=0)
status = os.fstat(file.fileno())
unread = open(os.path.join(mount, "d5", "f505"), "rb", buffering=0)
begin = file.read(10000)
mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
page = mapped[5000000:5000010]
entries = os.scandir(os.path.join(mount, "d4"))
names = [next(entries).name for _ in range(10)]
directory = os.open(os.path.join(mount, "d6"), os.O_RDONLY | os.O_DIRECTORY)
os.write(1, b"go")
while not os.path.exists(go_on):
    time.sleep(0.01)
os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
assert begin + file.readall() == right, "the open file"
assert mapped[:] == right and page == right[5000000:5000010], "the mapping"
assert os.fstat(file.fileno()) == status, "fstat"
assert unread.readall() == open(os.path.join(source, "d5/f505"), "rb").read(), "a file that was open and unread"
names += [entry.name for entry in entries]
assert sorted(names) == sorted(os.listdir(os.path.join(source, "d4"))), "the listing that had begun"
assert sorted(os.listdir(directory)) == sorted(os.listdir(os.path.join(source, "d6"))), "the open directory"
assert os.stat(".").st_ino == inode and os.getcwd() == os.path.join(mount, "d3"), "the working directory"
assert sorted(os.listdir(".")) == sorted(os.listdir(os.path.join(source, "d3"))), "its names"
assert open("f333", "rb").read() == open(os.path.join(source, "d3/f333"), "rb").read(), "a file below it"
)";

TEST_F(Keeper, OpenFilesMappingsAndWorkingDirectoriesGoOn) {
  for (const int kills : {1, 3}) {
    const MountedPackage mount(kPkgfs, package());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const TempDir dir;
    Process holder({"/usr/bin/python3", "-I", "-S", "-c", kHolder, mount.path(), source(), dir.path() / "go-on"});
    ASSERT_TRUE(eventually([&] { return holder.out() == "go"; })) << holder.err();
    for (int i = 0; i < kills; ++i) {
      replace_daemon(mount.path());
    }
    dir.write("go-on", "");
    EXPECT_TRUE(holder.wait().ok()) << holder.wait().describe();
  }
}

/// The daemon has the requests and waits for the disk when it is killed.
TEST_F(Keeper, RequestsWithoutAReplyAreAnsweredByTheSuccessor) {
  for (const char* no_resend : {"", "1"}) {
    SCOPED_TRACE(std::string("PKGFS_TEST_NO_RESEND=") + no_resend);
    const FaultyDisk disk(package());
    ASSERT_TRUE(disk.ok());
    ProcessOptions environment;
    if (*no_resend != '\0') {
      environment.environment = {{"PKGFS_TEST_NO_RESEND", no_resend}};
    }
    const MountedPackage mount(kPkgfs, disk.disk(), {"--push=off"}, environment);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const Serving before = kept(mount.path());
    disk.command("drop");
    disk.command("hold");
    Process reader({"sha256sum", mount / "large"});
    Process finder({"cat", mount / "d9/f950"});
    Process lister({"ls", mount / "d11"});
    sleep_ms(300);
    EXPECT_FALSE(reader.ends_within(milliseconds(0))) << "the disk isn't held";
    ::kill(before.daemon, SIGKILL);
    sleep_ms(100);
    disk.command("release");
    EXPECT_TRUE(eventually([&] { return serving(mount.path()).generation == 2; })) << "there is no successor";
    EXPECT_EQ(reader.wait().out.substr(0, 64), file_sha256(source() + "/large")) << reader.wait().describe();
    EXPECT_EQ(finder.wait().out, read_text(source() + "/d9/f950")) << finder.wait().describe();
    EXPECT_EQ(lister.wait().out, run({"ls", source() + "/d11"}).out) << lister.wait().describe();
    ASSERT_FALSE(HasFailure());
  }
}

/// A stopped daemon doesn't even take requests.
TEST_F(Keeper, RequestsThatNoDaemonTookAreAnsweredByTheSuccessor) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = kept(mount.path());
  ASSERT_GT(before.daemon, 1);
  ::kill(before.daemon, SIGSTOP);
  std::vector<std::unique_ptr<Process>> readers;
  for (int i = 0; i < 20; ++i) {
    readers.push_back(std::make_unique<Process>(
        Arguments{"cat", mount / ("d" + std::to_string(i) + "/f" + std::to_string(i * 100 + 7))}));
  }
  sleep_ms(200);
  ::kill(before.daemon, SIGKILL);
  for (std::size_t i = 0; i < 20; ++i) {
    const std::string name = "/d" + std::to_string(i) + "/f" + std::to_string(i * 100 + 7);
    EXPECT_EQ(readers[i]->wait().out, read_text(source() + name)) << readers[i]->wait().describe();
  }
  EXPECT_EQ(serving(mount.path()).generation, 2);
}

TEST_F(Keeper, TheContainerMayBeRemovedOrReplacedBefore) {
  const TempDir dir;
  const fs::path copy = dir.path() / "copy.webc";
  for (const char* way : {"removed", "replaced", "its directory is renamed"}) {
    SCOPED_TRACE(way);
    const fs::path place = dir.path() / "place";
    fs::create_directory(place);
    const fs::path container = place / "copy.webc";
    fs::copy_file(package(), container);
    const MountedPackage mount(kPkgfs, container);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    kept(mount.path());
    if (way == std::string("removed")) {
      fs::remove(container);
    } else if (way == std::string("replaced")) {
      fs::copy_file(single("basic-v3"), copy);
      fs::rename(copy, container);
    } else {
      fs::rename(place, dir.path() / "elsewhere");
    }
    ComparingReader reader(mount.path(), source());
    replace_daemon(mount.path());
    replace_daemon(mount.path());
    reader.expect_right();
    EXPECT_EQ(run({"diff", "-r", source(), mount.path()}).out.find("differ"), std::string::npos);
    fs::remove_all(place);
    ASSERT_FALSE(HasFailure());
  }
}

TEST_F(Keeper, AnotherFileSystemOverTheMountIsNoHindrance) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root, to mount a tmpfs";
  }
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = kept(mount.path());
  ASSERT_GT(before.daemon, 1);
  Process holder({"tail", "-f", mount / "large"});
  ASSERT_TRUE(eventually([&] { return !holder.out().empty(); })) << holder.err();
  ASSERT_TRUE(run({"mount", "-t", "tmpfs", "above", mount.path()}).ok());
  ::kill(before.daemon, SIGKILL);
  sleep_ms(300);
  EXPECT_TRUE(run({"umount", mount.path()}).ok());
  const Serving after = kept(mount.path());
  EXPECT_EQ(after.generation, 2);
  EXPECT_EQ(read_text(mount / "d8/f812"), read_text(source() + "/d8/f812"));
  replace_daemon(mount.path());
}

TEST_F(Keeper, ACopyOfAMountThatIsGoneGoesOn) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root, to bind a mount";
  }
  const TempDir dir;
  const fs::path elsewhere = dir.path() / "elsewhere";
  fs::create_directory(elsewhere);
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ASSERT_TRUE(run({"mount", "--bind", mount.path(), elsewhere}).ok());
  const MountGuard guard(elsewhere);
  const Serving before = kept(mount.path());
  ASSERT_GT(before.daemon, 1);
  ASSERT_TRUE(run({"umount", mount.path()}).ok());
  ASSERT_EQ(read_text(elsewhere / "d8/f812"), read_text(source() + "/d8/f812"));
  ::kill(before.daemon, SIGKILL);
  const ProcessResult read = run({"cat", elsewhere / "d9/f912"}, {.timeout = seconds(5)});
  EXPECT_EQ(read.out, read_text(source() + "/d9/f912")) << read.describe();
  serving(elsewhere);
  EXPECT_TRUE(run({"umount", elsewhere}).ok());
}

/// What a process has, other than its memory.
std::string belongings(pid_t process) {
  const std::string directory = "/proc/" + std::to_string(process);
  const auto descriptors = std::distance(fs::directory_iterator(directory + "/fd"), fs::directory_iterator());
  const auto threads = std::distance(fs::directory_iterator(directory + "/task"), fs::directory_iterator());
  std::string status = shell("grep -E '^(Uid|Gid|Groups|Cap|Umask|NoNewPrivs|Seccomp)' " + directory + "/status").out;
  return std::to_string(descriptors) + " descriptors, " + std::to_string(threads) + " threads, priority " +
         read_text(directory + "/oom_score_adj") + read_text(directory + "/cgroup") + read_text(directory + "/limits") +
         fs::read_symlink(directory + "/cwd").string() + fs::read_symlink(directory + "/ns/mnt").string() + status;
}

TEST_F(Keeper, SuccessorsHaveNoMoreThanTheirPredecessors) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving first = replace_daemon(mount.path());
  ASSERT_GT(first.keeper, 1);
  const std::string daemons = belongings(first.daemon);
  const std::string keepers = belongings(first.keeper);
  Serving last;
  for (int i = 0; i < 5; ++i) {
    last = replace_daemon(mount.path());
  }
  EXPECT_TRUE(eventually([&] { return belongings(last.daemon) == daemons; }, seconds(2)))
      << belongings(last.daemon) << "\nwhere the first successor has\n"
      << daemons;
  EXPECT_EQ(belongings(last.keeper), keepers);
}

TEST_F(Keeper, ProgramsThatWereRemovedGoOn) {
  const TempDir dir;
  for (const char* name : {"pkgfs", "pkgfs-keeper"}) {
    fs::copy_file(fs::path(kPkgfs).parent_path() / name, dir.path() / name);
  }
  const MountedPackage mount(dir.path() / "pkgfs", package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving before = kept(mount.path());
  ASSERT_GT(before.daemon, 1);
  fs::remove(dir.path() / "pkgfs");
  fs::remove(dir.path() / "pkgfs-keeper");
  ::kill(before.daemon, SIGKILL);
  EXPECT_TRUE(eventually([&] { return serving(mount.path()).generation == 2; })) << "there is no successor";
  EXPECT_EQ(read_text(mount / "d9/f912"), read_text(source() + "/d9/f912"));
  EXPECT_TRUE(run({kPkgfs, "unmount", mount.path()}).ok());
}

TEST_F(Keeper, IsTriedAgainUntilItCanBeStarted) {
  const TempDir dir;
  for (const char* name : {"pkgfs", "pkgfs-keeper"}) {
    fs::copy_file(fs::path(kPkgfs).parent_path() / name, dir.path() / name);
  }
  const fs::path program = dir.path() / "pkgfs-keeper";
  for (const bool from_the_start : {true, false}) {
    SCOPED_TRACE(from_the_start ? "it can't be started at first" : "it can't be replaced");
    if (from_the_start) {
      fs::rename(program, dir.path() / "away");
    }
    const MountedPackage mount(dir.path() / "pkgfs", package());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    if (!from_the_start) {
      const Serving before = kept(mount.path());
      ASSERT_GT(before.keeper, 1);
      fs::rename(program, dir.path() / "away");
      ::kill(before.keeper, SIGKILL);
      ASSERT_TRUE(eventually([&] { return serving(mount.path()).keeper == 0; }));
    }
    EXPECT_EQ(serving(mount.path()).keeper, 0);
    fs::rename(dir.path() / "away", program);
    EXPECT_TRUE(eventually([&] { return serving(mount.path()).keeper > 1; }, seconds(8)));
    const std::string daemon = std::to_string(serving(mount.path()).daemon);
    std::istringstream children(read_text("/proc/" + daemon + "/task/" + daemon + "/children"));
    EXPECT_EQ(std::distance(std::istream_iterator<pid_t>(children), {}), 1) << "a guardian is left";
    replace_daemon(mount.path());
  }
}

/// A keeper holds a descriptor of each package, and is started with them.
TEST_F(Keeper, HoldsMorePackagesThanTheLimitOfOpenFilesAllowsAtFirst) {
  constexpr int kPackages = 700;
  const TempDir dir;
  fs::create_directory(dir.path() / "registry");
  PackageBuilder all("acme/all@1.0.0");
  for (int i = 0; i < kPackages; ++i) {
    const std::string name = "acme/p" + std::to_string(i);
    PackageBuilder one(name + "@1.0.0");
    one.file("data", "f", name);
    one.mount("/p" + std::to_string(i), "data");
    one.write(dir.path() / "registry" / (std::to_string(i) + ".webc"));
    all.use(name, name + "@1.0.0");
    all.mount("/p" + std::to_string(i), "data", name);
  }
  all.write(dir.path() / "all.webc");
  const fs::path at = dir.path() / "mnt";
  fs::create_directory(at);
  const MountGuard guard(at);
  const ProcessResult mounted = run({"prlimit", "--nofile=1024:8192", kPkgfs, "mount", "--registry",
                                     dir.path() / "registry", dir.path() / "all.webc", at});
  ASSERT_TRUE(mounted.ok()) << mounted.describe();
  replace_daemon(at);
  EXPECT_EQ(read_text(at / "p699/f"), "acme/p699");
  EXPECT_TRUE(run({kPkgfs, "unmount", at}).ok());
}

TEST_F(Keeper, IsThereWhenTheMountIsReady) {
  for (int i = 0; i < 10; ++i) {
    const MountedPackage mount(kPkgfs, package());
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const pid_t daemon = mount.daemon();
    ::kill(daemon, SIGKILL);
    EXPECT_FALSE(becomes_dead(mount.path(), milliseconds(300))) << "a daemon that is killed at once has no successor";
    serving(mount.path());
    ASSERT_FALSE(HasFailure()) << "round " << i;
  }
}

TEST_F(Keeper, CountersGoOn) {
  const TempDir dir;
  const std::string socket = "unix:" + (dir.path() / "metrics.sock").string();
  const MountedPackage mount(kPkgfs, package(), {"--metrics", socket});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  for (int round = 1; round <= 3; ++round) {
    EXPECT_TRUE(run({"cat", mount / ("d" + std::to_string(round) + "/f" + std::to_string(100 * round))}).ok());
    const Serving before = serving(mount.path());
    const Serving after = replace_daemon(mount.path());
    ASSERT_TRUE(before.all.is_object() && after.all.is_object());
    for (const auto& [name, count] : before.all["requests"].items()) {
      EXPECT_GE(after.all["requests"].value(name, 0), count.get<int>()) << name;
    }
    EXPECT_GE(after.all["bytes_read"], before.all["bytes_read"]);
    EXPECT_GE(after.all["files_pushed"], before.all["files_pushed"]);
    std::string said;
    EXPECT_TRUE(eventually([&] { return static_cast<bool>(connect_to(socket)); })) << "metrics aren't served on";
    said = scrape(socket);
    EXPECT_NE(said.find("\npkgfs_takeovers_total " + std::to_string(round) + "\n"), std::string::npos) << said;
    const std::size_t at = said.find("\npkgfs_takeover_pause_seconds_max ");
    ASSERT_NE(at, std::string::npos) << said;
    const double pause = std::stod(said.substr(at + std::string("\npkgfs_takeover_pause_seconds_max ").size()));
    EXPECT_GT(pause, 0);
    EXPECT_LT(pause, 5);
  }
}

TEST_F(Keeper, MountsNameTheProcessesOfNow) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving after = replace_daemon(mount.path());
  const ProcessResult result = run({kPkgfs, "mounts", "--json"}, {.timeout = seconds(10)});
  for (const nlohmann::json& entry : nlohmann::json::parse(result.out)) {
    if (entry["mountpoint"] == mount.path().string()) {
      EXPECT_EQ(entry["state"], "live");
      EXPECT_EQ(entry["pid"], after.daemon);
      EXPECT_EQ(entry["keeper"], after.keeper);
      EXPECT_EQ(entry["generation"], 2);
      EXPECT_EQ(entry["last_end"], after.last_end);
      return;
    }
  }
  ADD_FAILURE() << "not listed: " << result.describe();
}

}  // namespace
}  // namespace pkgfs::test
