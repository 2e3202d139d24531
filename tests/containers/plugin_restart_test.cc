// SPDX-License-Identifier: MIT
// Risk: when the plugin ends or is killed, a container loses its mount, or a mount stays for ever.
#include <csignal>
#include <fstream>
#include <thread>

#include "tests/containers/plugin.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class PluginRestart : public PluginTest {
 protected:
  /// The one process that serves the mount of `volume`; the one that started it has ended.
  static pid_t daemon(const Plugin& plugin, const std::string& volume) {
    std::vector<pid_t> pids;
    EXPECT_TRUE(eventually([&] {
      pids = processes_with(plugin.mountpoint(volume));
      return pids.size() == 1;
    })) << pids.size()
        << " processes serve the mount";
    return pids.size() == 1 ? pids.front() : 0;
  }
  /// A volume whose mount dies with its daemon.
  static Json without_keeper(const std::string& package) {
    Json options = local(package);
    options["keeper"] = "off";
    return options;
  }
  /// What the kernel remembers of a dead mount, it still shows.
  static bool is_served(const Plugin& plugin, const std::string& volume) {
    return processes_with(plugin.mountpoint(volume)).size() == 1 && list_tree(plugin.mountpoint(volume)).size() > 1;
  }
  static void kill_daemon(const Plugin& plugin, const std::string& volume) {
    const pid_t pid = daemon(plugin, volume);
    ASSERT_GT(pid, 1);  // kill(2) takes -1 for all processes
    ::kill(pid, SIGKILL);
    ASSERT_TRUE(eventually([&] { return !fs::exists("/proc/" + std::to_string(pid) + "/exe"); }));
  }
};

TEST_F(PluginRestart, MountsOutliveAKilledPluginAndAreTakenOver) {
  Plugin plugin(environment(), {"--keep=1"});
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  ASSERT_EQ(plugin.create("used", local("acme/app")), "");
  ASSERT_EQ(plugin.create("idle", local("acme/lib")), "");
  ASSERT_EQ(plugin.mount("used", "id"), "");
  ASSERT_EQ(plugin.mount("idle", "id"), "");
  ASSERT_EQ(plugin.unmount("idle", "id"), "");
  const pid_t served_by = daemon(plugin, "used");
  std::ifstream open_file(plugin.mountpoint("used") / "app/who");
  plugin.kill();
  EXPECT_TRUE(fs::exists(plugin.socket())) << "what a killed plugin leaves";
  EXPECT_FALSE(fs::is_empty(plugin.mountpoint("used")));

  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  EXPECT_EQ(plugin.status("used")["users"], 1);
  EXPECT_EQ(plugin.status("used")["state"], "mounted");
  EXPECT_EQ(plugin.status("used")["resolved"], "acme/app@2.0.0");
  EXPECT_TRUE(eventually([&] { return !plugin.is_mounted("idle"); })) << "nobody used it";
  EXPECT_EQ(plugin.mount("used", "id"), "");
  EXPECT_EQ(daemon(plugin, "used"), served_by) << "the same mount";
  EXPECT_EQ(plugin.unmount("used", "id"), "");
  EXPECT_TRUE(eventually([&] { return !plugin.is_mounted("used"); }));
}

TEST_F(PluginRestart, AStoppedPluginLeavesWhatIsInUseOnly) {
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  for (const char* volume : {"used", "idle"}) {
    ASSERT_EQ(plugin.create(volume, local("acme/app")), "");
    ASSERT_EQ(plugin.mount(volume), "");
  }
  ASSERT_EQ(plugin.unmount("idle"), "");
  const ProcessResult ended = plugin.stop();
  EXPECT_TRUE(ended.ok()) << ended.describe();
  EXPECT_FALSE(fs::exists(plugin.socket()));
  EXPECT_TRUE(plugin.is_mounted("used"));
  EXPECT_FALSE(plugin.is_mounted("idle"));
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  EXPECT_EQ(plugin.remove("used"), "");
}

TEST_F(PluginRestart, MountsOfNoVolumeAreEnded) {
  Plugin plugin(environment());
  fs::create_directories(plugin.mountpoint("stray"));
  ASSERT_TRUE(pkgfs({"mount", "--registry", registry("chain-v3"), "acme/app", plugin.mountpoint("stray")}).ok());
  fs::create_directories(plugin.state() / "packages");
  std::ofstream(plugin.state() / "packages/stray.lock") << "{}";
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  EXPECT_FALSE(plugin.is_mounted("stray"));
  EXPECT_TRUE(eventually([&] { return processes_with(plugin.mountpoint("stray")).empty(); }));
  EXPECT_TRUE(fs::is_empty(plugin.state() / "packages"));
  EXPECT_NE(plugin.process().err().find("belongs to no volume"), std::string::npos) << plugin.process().err();
}

TEST_F(PluginRestart, ADeadMountIsMadeAnew) {
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  ASSERT_EQ(plugin.create("x", without_keeper("acme/app")), "");
  ASSERT_EQ(plugin.mount("x", "one"), "");
  kill_daemon(plugin, "x");
  EXPECT_EQ(plugin.mount("x", "two"), "") << "at once for the next one";
  EXPECT_TRUE(is_served(plugin, "x"));
  EXPECT_EQ(plugin.status("x")["users"], 2);
  kill_daemon(plugin, "x");
  EXPECT_TRUE(eventually([&] { return is_served(plugin, "x"); }, seconds(9)))
      << "by itself: podman doesn't ask for a second container; " << plugin.process().err();
  // And what died while there was no plugin.
  plugin.kill();
  kill_daemon(plugin, "x");
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  EXPECT_TRUE(eventually([&] { return is_served(plugin, "x"); }, seconds(9))) << plugin.process().err();
}

TEST_F(PluginRestart, AMountThatDiesWhileItIsAskedIsMadeAnew) {
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  ASSERT_EQ(plugin.create("x", without_keeper("acme/app")), "");
  ASSERT_EQ(plugin.mount("x", "one"), "");
  const pid_t pid = daemon(plugin, "x");
  ASSERT_GT(pid, 1);
  ::kill(pid, SIGSTOP);  // the question waits
  const std::jthread killer([pid] {
    sleep_ms(300);
    ::kill(pid, SIGKILL);
  });
  EXPECT_EQ(plugin.mount("x", "two"), "");
  EXPECT_TRUE(is_served(plugin, "x"));
}

TEST_F(PluginRestart, UsersDoNotOutliveTheMachine) {
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  ASSERT_EQ(plugin.create("x", local("acme/app")), "");
  ASSERT_EQ(plugin.mount("x"), "");
  plugin.kill();
  force_unmount(plugin.mountpoint("x"));
  Json state = read_json(plugin.state() / "state.json");
  state["boot"] = "another";
  std::ofstream(plugin.state() / "state.json") << state.dump();
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  EXPECT_EQ(plugin.status("x")["users"], 0);
  EXPECT_EQ(plugin.status("x")["state"], "ready") << "the volume does";
}

TEST_F(PluginRestart, ADamagedStateFileIsPutAside) {
  Plugin plugin(environment());
  fs::create_directories(plugin.state());
  for (const char* text :
       {"", "{\"version\":1", "[]", "{\"version\":1,\"boot\":\"\",\"volumes\":[{\"name\":\"../../x\"}]}"}) {
    std::ofstream(plugin.state() / "state.json") << text;
    ASSERT_TRUE(plugin.start()) << plugin.process().err();
    EXPECT_EQ(plugin.call("List").json()["Volumes"], Json::array());
    EXPECT_EQ(read_text(plugin.state() / "state.json.damaged"), text);
    EXPECT_NE(plugin.process().err().find("state.json.damaged"), std::string::npos) << plugin.process().err();
    ASSERT_TRUE(plugin.stop().ok());
  }
  std::ofstream(plugin.state() / "state.json") << R"({"version":2,"boot":"","volumes":[]})";
  EXPECT_FALSE(plugin.start()) << "a newer pkgfs has volumes in it";
  EXPECT_NE(plugin.process().err().find("a newer pkgfs wrote them"), std::string::npos) << plugin.process().err();
}

TEST_F(PluginRestart, WhatCannotBeWrittenDownIsNotPromised) {
  Plugin plugin(environment());
  ASSERT_TRUE(plugin.start()) << plugin.process().err();
  ASSERT_EQ(plugin.create("x", local("acme/app")), "");
  ASSERT_TRUE(plugin.reaches_state("x", "ready"));
  const fs::path state = plugin.state() / "state.json";
  fs::remove(state);
  fs::create_directories(state / "in-the-way");
  EXPECT_NE(plugin.create("y", local("acme/app")).find("Unable to write"), std::string::npos);
  EXPECT_NE(plugin.mount("x").find("Unable to write"), std::string::npos);
  EXPECT_NE(plugin.remove("x").find("Unable to write"), std::string::npos);
  EXPECT_EQ(plugin.call("List").json()["Volumes"].size(), 1U);
  EXPECT_EQ(plugin.status("x")["users"], 0);
  fs::remove_all(state);
  EXPECT_EQ(plugin.mount("x"), "");
  EXPECT_EQ(plugin.remove("x"), "");
}

}  // namespace
}  // namespace pkgfs::test
