// SPDX-License-Identifier: MIT
// Risk: systemd refuses the units, or they do something else than the program expects.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class VolumeUnits : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("systemd-analyze")) {
      GTEST_SKIP() << "there is no systemd-analyze (of the package systemd)";
    }
    // Units are checked with the program that they start.
    for (const char* name : {"pkgfs-volume.socket", "pkgfs-volume.service"}) {
      std::string text = read_text(source_directory() / "packaging/systemd" / name);
      if (const std::size_t at = text.find("/usr/bin/pkgfs"); at != std::string::npos) {
        text.replace(at, std::string("/usr/bin/pkgfs").size(), kPkgfs);
      }
      directory_.write(name, text);
    }
  }
  ProcessResult verify() const {
    return run({"systemd-analyze", "verify", "--man=no", directory_.path() / "pkgfs-volume.socket",
                directory_.path() / "pkgfs-volume.service"});
  }
  TempDir directory_;
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
  const std::string service = read_text(directory_.path() / "pkgfs-volume.service");
  const std::string help = run({kPkgfs, "help", "volume-plugin"}).out;
  EXPECT_NE(service.find("\nKillMode=process\n"), std::string::npos) << "mounts would end with the plugin";
  for (const char* hides_mounts : {"\nPrivateTmp=", "\nProtectSystem=", "\nProtectHome=", "\nPrivateMounts=",
                                   "\nReadOnlyPaths=", "\nPrivateDevices=", "\nProtectKernel", "\nProtectProc="}) {
    EXPECT_EQ(service.find(hides_mounts), std::string::npos) << hides_mounts << " makes a mount namespace";
  }
  EXPECT_NE(help.find("/run/docker/plugins/pkgfs.sock"), std::string::npos);
  EXPECT_NE(
      read_text(directory_.path() / "pkgfs-volume.socket").find("\nListenStream=/run/docker/plugins/pkgfs.sock\n"),
      std::string::npos);
  EXPECT_NE(help.find("/var/lib/pkgfs/"), std::string::npos) << "StateDirectory=pkgfs";
}

}  // namespace
}  // namespace pkgfs::test
