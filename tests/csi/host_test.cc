// SPDX-License-Identifier: MIT
// Risk: the mounts of a driver in a container are in its namespace, or run its files, and end with the container.
#include <unistd.h>

#include "tests/csi/driver.h"
#include "tests/support/memory_group.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// A process with a mount and a network namespace of its own, as process 1 of a host is for a container.
class Host {
 public:
  Host()
      : process_({"unshare", "-m", "-n", "--propagation", "private", "sleep", "1000"},
                 {.timeout = std::chrono::minutes(2)}) {
    EXPECT_TRUE(eventually([&] {
      return run({"readlink", "/proc/self/ns/mnt"}).out != run({"readlink", space()}).out &&
             read_text("/proc/" + pid() + "/comm") == "sleep\n";
    }));
  }
  [[nodiscard]] std::string pid() const { return std::to_string(process_.pid()); }
  [[nodiscard]] bool has_mount(const fs::path& path) const {
    return read_text("/proc/" + pid() + "/mountinfo").find(" " + path.string() + " ") != std::string::npos;
  }
  [[nodiscard]] ProcessResult run_there(Arguments arguments) const {
    arguments.insert(arguments.begin(), {"nsenter", "-t", pid(), "-m"});
    return run(arguments);
  }

 private:
  [[nodiscard]] std::string space() const { return "/proc/" + pid() + "/ns/mnt"; }

  Process process_;
};

class CsiHost : public DriverTest {};

TEST_F(CsiHost, MountsAreThoseOfTheHostAndOutliveTheDriver) {
  const Host host;
  const MemoryGroup container(long{1} << 30U);
  Arguments options = with_fixtures();
  options.push_back("--host-process=" + host.pid());
  Driver driver(environment(), options);
  ASSERT_TRUE(driver.start()) << driver.process().err();
  if (container.works()) {
    ASSERT_TRUE(container.add(driver.process().pid()));
  }
  const grpc::Status published = driver.publish("a", local("acme/app"));
  ASSERT_TRUE(published.ok()) << describe(published) << driver.process().err();
  EXPECT_FALSE(driver.is_shown("a")) << "not here";
  EXPECT_TRUE(host.has_mount(driver.target("a")));
  const ProcessResult shown = host.run_there({"ls", driver.target("a")});
  EXPECT_NE(shown.out.find("app"), std::string::npos) << shown.describe();
  const fs::path mountpoint = fs::directory_iterator(driver.mounts())->path();
  const std::vector<pid_t> daemons = processes_with(mountpoint);
  ASSERT_EQ(daemons.size(), 1U);
  const fs::path executable = fs::read_symlink("/proc/" + std::to_string(daemons.front()) + "/exe");
  EXPECT_TRUE(executable.string().starts_with((driver.state() / "bin").string())) << executable;
  EXPECT_EQ(fs::read_symlink("/proc/" + std::to_string(daemons.front()) + "/ns/net"),
            fs::read_symlink("/proc/" + host.pid() + "/ns/net"))
      << "the container's network ends with the container";
  EXPECT_EQ(fs::read_symlink("/proc/" + std::to_string(driver.process().pid()) + "/ns/net"),
            fs::read_symlink("/proc/self/ns/net"))
      << "metrics are served in the container's";
  const std::string group = read_text("/proc/" + std::to_string(daemons.front()) + "/cgroup");
  EXPECT_EQ(group.find(container.path().filename()), std::string::npos) << "the container would end it: " << group;
  driver.kill();
  EXPECT_TRUE(host.run_there({"cat", driver.target("a") / "app/main.txt"}).ok());
  ASSERT_TRUE(driver.start()) << driver.process().err();
  EXPECT_EQ(processes_with(mountpoint), daemons) << "the same daemon";
  EXPECT_TRUE(driver.unpublish("a").ok());
  EXPECT_FALSE(host.has_mount(driver.target("a")));
  EXPECT_TRUE(eventually([&] { return !host.has_mount(mountpoint) && processes_with(mountpoint).empty(); }));
}

TEST_F(CsiHost, AStateDirectoryMayBeBehindASymbolicLink) {
  const Host host;
  const TempDir work;
  fs::create_directory(work.path() / "real");
  fs::create_directory_symlink("real", work.path() / "link");
  Arguments options = with_fixtures();
  options.insert(options.end(),
                 {"--host-process=" + host.pid(), "--state-dir=" + (work.path() / "link//state").string()});
  Driver driver(environment(), options);
  for (const char* run : {"first", "second"}) {
    ASSERT_TRUE(driver.start()) << driver.process().err();
    EXPECT_EQ(shell("ls " + (work.path() / "real/state/bin").string() + "/*").out, "pkgfs\npkgfs-keeper\n") << run;
    const grpc::Status published = driver.publish("a", local("acme/app"));
    ASSERT_TRUE(published.ok()) << describe(published) << driver.process().err();
    EXPECT_TRUE(driver.unpublish("a").ok());
    const ProcessResult ended = driver.stop();
    EXPECT_TRUE(ended.ok()) << ended.describe();
  }
}

TEST_F(CsiHost, ADriverThatWouldMountInItsContainerIsRefused) {
  Arguments options = with_fixtures();
  options.push_back("--host-process=" + std::to_string(::getpid()));
  const Driver driver(environment(), options);
  const ProcessResult refused = run(driver.arguments());
  EXPECT_EQ(refused.exit_code, 2) << refused.describe();
  EXPECT_NE(refused.err.find("hostPID"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace pkgfs::test
