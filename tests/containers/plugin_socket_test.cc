// SPDX-License-Identifier: MIT
// Risk: two plugins use one state file, a socket overwrites a file, or a service manager's socket is lost.
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "tests/containers/plugin.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class PluginSocketTest : public PluginTest {
 protected:
  /// Runs `plugin`'s command line with one option set otherwise.
  ProcessResult run_with(const Plugin& plugin, const std::string& option, const std::string& value) {
    Arguments arguments = plugin.arguments();
    for (std::size_t i = 0; i + 1 < arguments.size(); ++i) {
      if (arguments[i] == option) {
        arguments[i + 1] = value;
      }
    }
    return run(arguments, {.timeout = seconds(5), .environment = environment()});
  }
};

TEST_F(PluginSocketTest, OnlyItsOwnerMayConnect) {
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  struct stat status{};
  ASSERT_EQ(::stat(plugin.socket().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, S_IFSOCK | 0600U);
  ASSERT_EQ(::stat(plugin.state().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
}

TEST_F(PluginSocketTest, ASecondPluginIsRefused) {
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  const ProcessResult same_socket = run_with(plugin, "--state-dir", plugin.directory() / "other");
  EXPECT_EQ(same_socket.exit_code, 9) << same_socket.describe();
  EXPECT_NE(same_socket.err.find(plugin.socket()), std::string::npos) << same_socket.err;
  const ProcessResult same_state = run_with(plugin, "--socket", plugin.directory() / "s2");
  EXPECT_EQ(same_state.exit_code, 9) << same_state.describe();
  EXPECT_NE(same_state.err.find("Another volume plugin uses the state directory"), std::string::npos);
  EXPECT_FALSE(fs::exists(plugin.directory() / "s2"));
  EXPECT_EQ(plugin.call("List").status, 200) << "the first one goes on";
}

TEST_F(PluginSocketTest, WhatIsInTheWayIsNamedAndKept) {
  Plugin plugin(environment());
  const fs::path file = plugin.directory() / "file";
  std::ofstream(file) << "precious";
  const ProcessResult refused = run_with(plugin, "--socket", file);
  EXPECT_EQ(refused.exit_code, 2) << refused.describe();
  EXPECT_NE(refused.err.find("is not a socket"), std::string::npos) << refused.err;
  EXPECT_EQ(read_text(file), "precious");
  const ProcessResult too_long = run_with(plugin, "--socket", plugin.directory() / std::string(100, 'x') / "s");
  EXPECT_EQ(too_long.exit_code, 2) << too_long.describe();
  const ProcessResult below_a_file = run_with(plugin, "--socket", file / "s");
  EXPECT_NE(below_a_file.err.find(file), std::string::npos) << below_a_file.describe();
  const ProcessResult state = run_with(plugin, "--state-dir", file);
  EXPECT_NE(state.err.find(file), std::string::npos) << state.describe();
  const ProcessResult mounts = run_with(plugin, "--mount-root", file);
  EXPECT_NE(mounts.err.find(file), std::string::npos) << mounts.describe();
  EXPECT_FALSE(fs::exists(plugin.socket())) << "nothing listens after a failed start";
}

TEST_F(PluginSocketTest, ASocketThatWasPassedIsUsedAndStays) {
  if (!have_program("systemd-socket-activate")) {
    GTEST_SKIP() << "there is no systemd-socket-activate (of the package systemd)";
  }
  Plugin plugin(environment());
  const std::string passed = plugin.directory() / "passed";
  Arguments arguments{"systemd-socket-activate", "-l", passed};
  for (const auto& [name, value] : environment()) {
    arguments.insert(arguments.end(), {"-E", name + "=" + value});
  }
  for (const std::string& argument : plugin.arguments()) {
    arguments.push_back(argument);
  }
  Process process(arguments, {.environment = environment()});
  ASSERT_TRUE(eventually([&] { return fs::exists(passed); })) << process.err();
  const Json body{{"Name", "x"}, {"Opts", local("acme/app")}};
  const auto ask = [&](const std::string& call, const Json& json) {
    return curl({"--unix-socket", passed, "-d", json.dump(), "http://x/VolumeDriver." + call});
  };
  const Reply created = ask("Create", body);
  EXPECT_EQ(created.body, "{\"Err\":\"\"}\n") << created.describe() << process.err();
  const Reply mounted = ask("Mount", {{"Name", "x"}, {"ID", "1"}});
  EXPECT_EQ(mounted.status, 200) << mounted.describe() << process.err();
  EXPECT_FALSE(fs::exists(plugin.socket())) << "--socket isn't used";
  process.signal(SIGTERM);
  EXPECT_TRUE(process.wait().ok()) << process.wait().describe();
  EXPECT_TRUE(fs::exists(passed)) << "the manager listens there, for the next start";
  EXPECT_TRUE(plugin.is_mounted("x"));
  // Nothing of the manager reached the process of the mount.
  EXPECT_EQ(shell("tr '\\0' '\\n' < /proc/" + std::to_string(processes_with(plugin.mountpoint("x")).at(0)) +
                  "/environ | grep -c ^LISTEN_")
                .out,
            "0\n");
}

TEST_F(PluginSocketTest, WhatIsPassedMustBeAListeningSocket) {
  Plugin plugin(environment());
  for (const char* count : {"1", "2"}) {
    Arguments arguments{"bash", "-c",
                        std::string("exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=") + count + " exec \"$@\"", "bash"};
    for (const std::string& argument : plugin.arguments()) {
      arguments.push_back(argument);
    }
    const ProcessResult refused = run(arguments, {.timeout = seconds(5), .environment = environment()});
    EXPECT_EQ(refused.exit_code, 2) << refused.describe();
    EXPECT_NE(refused.err.find("passed to pkgfs"), std::string::npos) << refused.err;
  }
}

}  // namespace
}  // namespace pkgfs::test
