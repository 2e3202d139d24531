// SPDX-License-Identifier: MIT
// Risk: systemd takes a package for mounted that isn't, or kills the daemon of a mount that works.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include <nlohmann/json.hpp>

#include "daemon/mount/mount_record.h"
#include "tests/mounted/mounted.h"
#include "tests/system/notify_socket.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Service : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    fs::create_directories(mountpoint());
  }

  [[nodiscard]] fs::path mountpoint() const { return directory_.path() / "mnt"; }
  [[nodiscard]] std::string socket_path() const { return directory_.path() / "notify"; }
  [[nodiscard]] ProcessOptions environment(const NotifySocket& socket, const std::string& watchdog_usec = "0") const {
    return {.timeout = seconds(20),
            .environment = {{"NOTIFY_SOCKET", socket.name()}, {"WATCHDOG_USEC", watchdog_usec}}};
  }
  [[nodiscard]] Arguments command(const std::string& package) const {
    return {kPkgfs, "mount", "-f", package, mountpoint()};
  }

  TempDir directory_;
  MountGuard guard_{mountpoint()};
};

/// Runs `command` from start to end, and expects the messages that a service manager should get.
void expect_life(const NotifySocket& socket, const Arguments& command, const ProcessOptions& options,
                 const fs::path& mountpoint) {
  Process daemon(command, options);
  EXPECT_THAT(socket.next(), StartsWith("STATUS=loading "));
  const std::string ready = socket.next();
  EXPECT_THAT(ready, StartsWith("READY=1\nSTATUS="));
  EXPECT_THAT(ready, HasSubstr(" at " + mountpoint.string() + "\n"));
  EXPECT_THAT(ready, HasSubstr("\nMAINPID=" + std::to_string(daemon.pid())));
  EXPECT_TRUE(find_mount(mountpoint).has_value());
  EXPECT_FALSE(fs::is_empty(mountpoint)) << "it answers";
  daemon.signal(SIGTERM);
  EXPECT_EQ(socket.next(), "STOPPING=1");
  EXPECT_EQ(daemon.wait().exit_code, 0) << daemon.err();
  EXPECT_EQ(daemon.err(), "");
  EXPECT_EQ(socket.next(milliseconds(10)), "") << "nothing more";
}

TEST_F(Service, TellsItsLifeToASocketInTheFileSystem) {
  const NotifySocket socket(socket_path());
  expect_life(socket, command(single("basic-v3")), environment(socket), mountpoint());
}

TEST_F(Service, TellsItsLifeToAnAbstractSocket) {
  const NotifySocket socket("@pkgfs-test-" + std::to_string(::getpid()));
  expect_life(socket, command(single("basic-v3")), environment(socket), mountpoint());
}

TEST_F(Service, SaysThatItStopsWhenSomebodyUnmounts) {
  const NotifySocket socket(socket_path());
  Process daemon(command(single("basic-v3")), environment(socket));
  (void)socket.next();
  EXPECT_THAT(socket.next(), StartsWith("READY=1"));
  EXPECT_TRUE(run({kPkgfs, "unmount", mountpoint()}).ok());
  EXPECT_EQ(socket.next(), "STOPPING=1");
  EXPECT_EQ(daemon.wait().exit_code, 0) << daemon.err();
}

TEST_F(Service, IsNeverReadyWhenTheMountFails) {
  const NotifySocket socket(socket_path());
  const ProcessResult result = run(command(directory_.path() / "none.webc"), environment(socket));
  EXPECT_EQ(result.exit_code, 3) << result.describe();
  EXPECT_THAT(socket.next(), StartsWith("STATUS=loading "));
  EXPECT_EQ(socket.next(milliseconds(10)), "");
}

/// It may be a program of some other service that mounts.
TEST_F(Service, SaysNothingInTheBackground) {
  const NotifySocket socket(socket_path());
  EXPECT_TRUE(run({kPkgfs, "mount", single("basic-v3"), mountpoint()}, environment(socket, "200000")).ok());
  EXPECT_TRUE(run({kPkgfs, "unmount", mountpoint()}).ok());
  EXPECT_EQ(socket.next(milliseconds(10)), "");
}

TEST_F(Service, GoesOnWithoutAManagerThatListens) {
  for (const std::string& name : {socket_path(), std::string("@nobody"), std::string("relative"),
                                  "/" + std::string(200, 'x'), std::string("@")}) {
    ProcessOptions options{.timeout = seconds(20), .environment = {{"NOTIFY_SOCKET", name}}};
    Process daemon(command(single("basic-v3")), options);
    EXPECT_TRUE(eventually([&] { return find_mount(mountpoint()).has_value(); })) << daemon.err();
    EXPECT_TRUE(run({kPkgfs, "unmount", mountpoint()}).ok());
    EXPECT_EQ(daemon.wait().exit_code, 0) << daemon.err();
    EXPECT_THAT(daemon.err(), HasSubstr("warning: the service manager can't be reached at"));
    EXPECT_EQ(std::ranges::count(daemon.err(), '\n'), 1) << daemon.err();
  }
}

/// The mount's threads all wait for a host file system that doesn't answer, while the process itself is well: then the
/// watchdog must hear nothing.
TEST_F(Service, WatchdogHearsOfTheMountNotOfTheProcess) {
  directory_.write("pkg/wasmer.toml", "[fs]\n\"/x\" = \"data\"\n");
  fs::create_directories(directory_.path() / "pkg/data");
  const MountGuard lower_guard(directory_.path() / "pkg/data");
  ASSERT_TRUE(run({kPkgfs, "mount", "--push=off", single("many-v3"), directory_.path() / "pkg/data"}).ok());
  const std::vector<pid_t> lower = processes_with(directory_.path() / "pkg/data");
  ASSERT_EQ(lower.size(), 1U);

  const NotifySocket socket(socket_path());
  Process daemon(command(directory_.path() / "pkg"), environment(socket, "400000"));
  (void)socket.next();
  EXPECT_THAT(socket.next(), StartsWith("READY=1"));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(socket.next(seconds(1)), "WATCHDOG=1") << daemon.err();
  }

  // Files of which the kernel knows everything but the content.
  Tree files = list_tree(mountpoint() / "x", {.content = false});
  std::erase_if(files, [](const auto& file) { return file.second.type != "file" || file.second.length == 0; });
  constexpr std::size_t kReaders = 90;  // more than the daemon starts threads in the place of those that are stuck
  ASSERT_GT(files.size(), kReaders);
  ::kill(lower.front(), SIGSTOP);
  std::vector<std::unique_ptr<Process>> readers;
  for (const auto& [path, entry] : files) {
    if (readers.size() < kReaders) {
      readers.push_back(std::make_unique<Process>(Arguments{"cat", mountpoint().string() + "/x" + path}));
    }
  }
  EXPECT_TRUE(eventually([&] {
    socket.drain();  // which holds few
    return daemon.err().find("doesn't answer") != std::string::npos;
  })) << daemon.err();
  socket.drain();
  EXPECT_EQ(socket.next(seconds(1)), "") << "two and a half time-outs of the watchdog";

  ::kill(lower.front(), SIGCONT);
  EXPECT_EQ(socket.next(seconds(2)), "WATCHDOG=1") << daemon.err();
  for (const auto& reader : readers) {
    EXPECT_TRUE(reader->ends_within(seconds(5)));
  }
  daemon.signal(SIGTERM);
  EXPECT_EQ(daemon.wait().exit_code, 0) << daemon.err();
  socket.drain();  // messages hold the mapped directory, which the service manager was to keep
  EXPECT_TRUE(run({kPkgfs, "unmount", directory_.path() / "pkg/data"}).ok());
}

/// A command that passes the stored descriptors to `command`, as systemd does.
Arguments with_stored(const NotifySocket& socket, const Arguments& command) {
  std::string numbers;
  std::string names;
  for (const auto& [name, fd] : socket.stored()) {
    ::fcntl(fd.get(), F_SETFD, 0);
    numbers += std::to_string(fd.get()) + ",";
    names += (names.empty() ? "" : ":") + name;
  }
  Arguments arguments{"python3", "-c",
                      "import os, sys\n"
                      "high = [os.dup2(fd, 500 + i) for i, fd in enumerate([" +
                          numbers +
                          "])]\n"
                          "[os.dup2(fd, 3 + i) for i, fd in enumerate(high)]\n"
                          "os.closerange(500, 600)\n"
                          "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES='" +
                          names +
                          "')\n"
                          "os.execv(sys.argv[1], sys.argv[1:])"};
  arguments.insert(arguments.end(), command.begin(), command.end());
  return arguments;
}

/// Waits until the daemon that has said that it is ready has stored its descriptors.
void expect_stored(const NotifySocket& socket) {
  EXPECT_TRUE(eventually([&] {
    socket.drain();
    return std::ranges::any_of(socket.stored(), [](const auto& each) { return each.first == "pkgfs-device"; });
  }));
}

/// Starts a daemon, lets `socket` store its descriptors, and kills it.
void run_and_kill(const NotifySocket& socket, const Arguments& command, const ProcessOptions& options) {
  Process daemon(command, options);
  (void)socket.next();
  EXPECT_THAT(socket.next(), StartsWith("READY=1"));
  expect_stored(socket);
  daemon.signal(SIGKILL);
  (void)daemon.wait();
}

TEST_F(Service, TheNextProcessGoesOnWithTheMountOfAKilledOne) {
  const NotifySocket socket(socket_path());
  run_and_kill(socket, command(single("many-v3")), environment(socket));
  Process reader({"find", mountpoint(), "-type", "f", "-exec", "cat", "{}", "+"});
  EXPECT_FALSE(reader.ends_within(milliseconds(300))) << "it waits for the next daemon";

  Process daemon(with_stored(socket, command(single("many-v3"))), environment(socket));
  EXPECT_THAT(socket.next(), StartsWith("READY=1"));
  EXPECT_TRUE(reader.wait().ok()) << reader.err();
  sleep_ms(100);  // it removes what it found, and then stores it anew
  expect_stored(socket);
  const ProcessResult stats = run({kPkgfs, "stats", "--json", mountpoint()});
  EXPECT_THAT(stats.out, HasSubstr("\"generation\": 2")) << stats.describe();
  daemon.signal(SIGTERM);
  EXPECT_EQ(daemon.wait().exit_code, 0) << daemon.err();
  EXPECT_EQ(socket.next(), "STOPPING=1");
  socket.drain();
  EXPECT_TRUE(socket.stored().empty()) << "it leaves nothing with the service manager";
  EXPECT_FALSE(find_mount(mountpoint()).has_value());
}

TEST_F(Service, TheNextProcessGoesOnWithAServedDirectory) {
  const NotifySocket socket(socket_path());
  const Arguments serve{kPkgfs,         "serve",
                        "--foreground", "--offline",
                        "--cache-dir",  directory_.path() / "cache",
                        "--registry",   registry("chain-v3"),
                        mountpoint()};
  {
    Process daemon(serve, environment(socket));
    EXPECT_THAT(socket.next(), StartsWith("READY=1"));
    expect_stored(socket);
    EXPECT_TRUE(run({"find", mountpoint() / "acme/app@2.0.0"}).ok());
    daemon.signal(SIGKILL);
    (void)daemon.wait();
  }
  Process reader({"find", mountpoint() / "acme/app@2.0.0", "-type", "f", "-exec", "cat", "{}", "+"});
  EXPECT_FALSE(reader.ends_within(milliseconds(300))) << "it waits for the next daemon";
  Process daemon(with_stored(socket, serve), environment(socket));
  EXPECT_THAT(socket.next(), StartsWith("READY=1"));
  EXPECT_TRUE(reader.wait().ok()) << reader.err();
  const ProcessResult stats = run({kPkgfs, "stats", "--json", mountpoint()});
  EXPECT_THAT(stats.out, HasSubstr("\"generation\": 2")) << stats.describe();
  daemon.signal(SIGTERM);
  EXPECT_EQ(daemon.wait().exit_code, 0) << daemon.err();
  socket.drain();
  EXPECT_TRUE(socket.stored().empty()) << "it leaves nothing with the service manager";
}

/// Earlier daemons didn't tell whether PACKAGE was a path.
TEST_F(Service, TheNextProcessDoesntNeedThePackageFileOfAnOlderDaemon) {
  const NotifySocket socket(socket_path());
  const fs::path package = directory_.path() / "app.webc";
  fs::copy_file(single("basic-v3"), package);
  run_and_kill(socket, command(package), environment(socket));
  const auto stored = std::ranges::find(socket.stored(), "pkgfs-record", [](const auto& each) { return each.first; });
  ASSERT_NE(stored, socket.stored().end());
  std::string text(1U << 20U, '\0');
  text.resize(
      static_cast<std::size_t>(std::max<ssize_t>(::pread(stored->second.get(), text.data(), text.size(), 0), 0)));
  nlohmann::ordered_json record = nlohmann::ordered_json::parse(text, nullptr, false);
  ASSERT_EQ(record.value("package", ""), package.string());
  record.erase("package");
  socket.replace("pkgfs-record", sealed_file("record", record.dump(), "record"));
  fs::remove(package);

  Process daemon(with_stored(socket, command(package)), environment(socket));
  EXPECT_THAT(socket.next(), StartsWith("READY=1")) << daemon.err();
  EXPECT_FALSE(fs::is_empty(mountpoint()));
  const ProcessResult refreshed = run({kPkgfs, "refresh", mountpoint()}, {.timeout = seconds(10)});
  EXPECT_FALSE(refreshed.ok()) << refreshed.out;
  EXPECT_THAT(refreshed.err, HasSubstr("Unable to open the package \"" + package.string() + "\""));
  daemon.signal(SIGTERM);
  EXPECT_EQ(daemon.wait().exit_code, 0) << daemon.err();
}

TEST_F(Service, AProcessWithOtherOptionsEndsTheOldMountAndMakesAnother) {
  const NotifySocket socket(socket_path());
  run_and_kill(socket, command(single("many-v3")), environment(socket));
  Process daemon(with_stored(socket, command(single("basic-v3"))), environment(socket));
  EXPECT_THAT(socket.next(), StartsWith("STATUS=loading "));
  EXPECT_THAT(socket.next(), StartsWith("READY=1"));
  const ProcessResult stats = run({kPkgfs, "stats", "--json", mountpoint()});
  EXPECT_THAT(stats.out, HasSubstr("\"generation\": 1")) << stats.describe();
  daemon.signal(SIGTERM);
  EXPECT_EQ(daemon.wait().exit_code, 0) << daemon.err();
}

}  // namespace
}  // namespace pkgfs::test
