// SPDX-License-Identifier: MIT
// Risk: systemd refuses the units, or they do something else than the program expects.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "tests/containers/plugin.h"
#include "tests/containers/sandbox.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kService = "packaging/systemd/pkgfs-volume.service.in";
constexpr const char* kSocket = "packaging/systemd/pkgfs-volume.socket";
constexpr const char* kDocker = "packaging/systemd/pkgfs-volume-docker.service";

class VolumeUnits : public PluginTest {
 protected:
  void SetUp() override {
    PluginTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    if (!have_program("systemd-analyze")) {
      GTEST_SKIP() << "there is no systemd-analyze (of the package systemd)";
    }
    // Units are checked with the program that they start.
    service_ = read_text(source_directory() / kService);
    const std::string program = "@bindir@/pkgfs";
    const std::size_t at = service_.find(program);
    ASSERT_NE(at, std::string::npos);
    service_.replace(at, program.size(), kPkgfs);
    directory_.write("pkgfs-volume.service", service_);
    directory_.write("pkgfs-volume.socket", read_text(source_directory() / kSocket));
    directory_.write("pkgfs-volume-docker.service", read_text(source_directory() / kDocker));
  }
  ProcessResult verify() const {
    return run({"systemd-analyze", "verify", "--man=no", directory_.path() / "pkgfs-volume.socket",
                directory_.path() / "pkgfs-volume.service", directory_.path() / "pkgfs-volume-docker.service"});
  }
  TempDir directory_;
  std::string service_;
};

TEST_F(VolumeUnits, SystemdAcceptsThem) {
  const ProcessResult result = verify();
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_EQ(result.err.find("pkgfs-volume"), std::string::npos) << result.err;
  // And would say what is wrong.
  std::ofstream(directory_.path() / "pkgfs-volume.service", std::ios::app) << "KillMood=process\n";
  EXPECT_NE(verify().err.find("KillMood"), std::string::npos);
}

TEST_F(VolumeUnits, TheyFitTheProgram) {
  const std::string help = run({kPkgfs, "help", "volume-plugin"}).out;
  EXPECT_NE(service_.find("\nKillMode=process\n"), std::string::npos) << "mounts would end with the plugin";
  for (const char* hides_mounts : {"\nPrivateTmp=", "\nProtectSystem=", "\nProtectHome=", "\nPrivateMounts=",
                                   "\nReadOnlyPaths=", "\nPrivateDevices=", "\nProtectKernel", "\nProtectProc="}) {
    EXPECT_EQ(service_.find(hides_mounts), std::string::npos) << hides_mounts << " makes a mount namespace";
  }
  EXPECT_NE(help.find("/run/docker/plugins/pkgfs.sock"), std::string::npos);
  EXPECT_NE(
      read_text(directory_.path() / "pkgfs-volume.socket").find("\nListenStream=/run/docker/plugins/pkgfs.sock\n"),
      std::string::npos);
  // What makes docker tell a swarm of the plugin. The block "docker-swarm" of the document runs it.
  EXPECT_NE(read_text(source_directory() / kDocker).find("\nExecStart=/usr/bin/env docker volume ls\n"),
            std::string::npos);
  EXPECT_TRUE(document_block("docs/CONTAINERS.md", "docker-swarm").starts_with("docker volume ls\n"));
  EXPECT_NE(help.find("/var/lib/pkgfs/"), std::string::npos) << "StateDirectory=pkgfs";
}

TEST_F(VolumeUnits, TheCapabilitiesSuffice) {
  const std::string key = "\nCapabilityBoundingSet=";
  std::size_t at = service_.find(key);
  ASSERT_NE(at, std::string::npos);
  at += key.size();
  std::istringstream names(service_.substr(at, service_.find('\n', at) - at));
  std::string set = "-all";
  for (std::string name; names >> name;) {
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    set += ",+" + name.substr(std::string("cap_").size());
  }
  Plugin plugin(environment());
  Arguments arguments{"setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=" + set};
  for (const std::string& argument : plugin.arguments()) {
    arguments.push_back(argument);
  }
  const Process process(arguments, {.environment = environment()});
  ASSERT_TRUE(eventually([&] { return plugin.call("Plugin.Activate").status == 200; })) << process.err();
  EXPECT_EQ(plugin.create("x", local("acme/app")), "");
  EXPECT_EQ(plugin.mount("x"), "") << process.err();
  EXPECT_FALSE(list_tree(plugin.mountpoint("x")).empty());
  EXPECT_EQ(plugin.remove("x"), "");
}

}  // namespace
}  // namespace pkgfs::test
