// SPDX-License-Identifier: MIT
// Risk: the statistics of a mount differ from the requests that it answered, or a command hangs because a mount hangs.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <fstream>

#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr int kReadFiles = 40;
constexpr int kBytes = 1000;

class StatisticsOfMounts : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    PackageBuilder builder("acme/counted@1.0.0");
    builder.mount("/data", "data").link("data", "link", "f0");
    for (int i = 0; i < kReadFiles; ++i) {
      builder.file("data", "f" + std::to_string(i), std::string(kBytes, 'x'));
    }
    builder.write(package());
  }

  [[nodiscard]] std::string package() const { return dir_.path() / "counted.webc"; }

  static json stats(const MountedPackage& mount) {
    const ProcessResult result = run({kPkgfs, "stats", "--json", mount.path()});
    EXPECT_TRUE(result.ok()) << result.describe();
    return json::parse(result.out, nullptr, false);
  }
  static json entry_of(const MountedPackage& mount) {
    const ProcessResult result = run({kPkgfs, "mounts", "--json"}, {.timeout = seconds(10)});
    for (json& entry : json::parse(result.out)) {
      if (entry["mountpoint"] == mount.path().string()) {
        return entry;
      }
    }
    ADD_FAILURE() << "not listed: " << result.describe();
    return {};
  }

  TempDir dir_;
};

TEST_F(StatisticsOfMounts, AgreeWithWhatTheKernelCountsItself) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const json before = stats(mount);
  const std::string work = "ls -lR " + mount.path().string() + "; cat " + (mount / "data/f*") + "; stat -f " +
                           mount.path().string() + "; readlink " + (mount / "data/link") + "; ls " +
                           (mount / "absent") + "; getfattr -n user.pkgfs.package " + (mount / "data/f3") +
                           "; python3 -c 'open(\"" + (mount / "data/f4") + "\")'; true";
  const ProcessResult counted = run({"/usr/bin/python3", source_directory() / "tests/mounted/count_requests.py",
                                     mount.path(), "/bin/bash", "-c", work});
  if (counted.exit_code == 77) {
    GTEST_SKIP() << counted.err;
  }
  ASSERT_TRUE(counted.ok()) << counted.describe();
  json expected = json::parse(counted.out);
  EXPECT_GT(expected.size(), 4U) << expected;
  // Between both looks at the daemon: the second look itself.
  const auto difference = [&] {
    const json after = stats(mount);
    json asked = json::object();
    for (const auto& [name, count] : after["requests"].items()) {
      const int more = count.get<int>() - before["requests"][name].get<int>();
      if (more != 0 && name != "forget" && name != "getxattr") {  // FORGET doesn't pass the tracepoint
        asked[name] = more;
      }
    }
    return asked;
  };
  expected.erase("getxattr");
  expected.erase("flush");  // libfuse answers it: not implemented
  EXPECT_TRUE(eventually([&] { return difference() == expected; })) << difference() << " instead of " << expected;
}

TEST_F(StatisticsOfMounts, KnowNoIoctl) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  for (const char* name : {"data", "data/f1"}) {
    const UniqueFd file(::open((mount / name).c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(file) << name;
    EXPECT_EQ(::isatty(file.get()), 0) << name;
    EXPECT_EQ(errno, ENOTTY) << name;
  }
  const json said = stats(mount);
  EXPECT_EQ(said["requests"]["ioctl"], 2);
  EXPECT_EQ(said["errors"], json::object());
}

TEST_F(StatisticsOfMounts, AgreeWithAKnownSetOfOperations) {
  const MountedPackage mount(kPkgfs, package(), {"--skip-open=off", "--push=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  for (int i = 0; i < kReadFiles; ++i) {
    ASSERT_EQ(read_text(mount / ("data/f" + std::to_string(i))).size(), static_cast<std::size_t>(kBytes));
  }
  ASSERT_TRUE(eventually([&] { return stats(mount)["requests"]["release"] == kReadFiles; }));
  const json said = stats(mount);
  EXPECT_EQ(said["requests"]["lookup"], kReadFiles + 1) << "each file and the directory";
  EXPECT_EQ(said["requests"]["open"], kReadFiles);
  EXPECT_EQ(said["requests"]["read"], kReadFiles);
  EXPECT_EQ(said["bytes_read"], kReadFiles * kBytes);
  EXPECT_EQ(said["files_pushed"], 0);
  EXPECT_EQ(said["errors"], json::object());
  for (const char* operation : {"lookup", "open", "read", "release"}) {
    const json& latency = said["latency_ns"][operation];
    EXPECT_EQ(latency["count"], said["requests"][operation]) << operation;
    EXPECT_GT(latency["p50"], 0) << operation;
    EXPECT_LE(latency["p50"], latency["p99"]) << operation;
    EXPECT_LE(latency["p99"], latency["max"]) << operation;
    EXPECT_LE(latency["max"], latency["sum"]) << operation;
    EXPECT_LT(latency["max"], 2'000'000'000) << operation;
  }
  EXPECT_EQ(said["package"], "acme/counted@1.0.0");
  EXPECT_EQ(said["packages"], json({"acme/counted@1.0.0"}));
  EXPECT_EQ(said["mountpoint"], mount.path().string());
  EXPECT_EQ(said["pid"], mount.daemon());
  EXPECT_GE(said["uptime_seconds"], 0);
  EXPECT_LE(std::abs(said["since"].get<std::int64_t>() - std::time(nullptr)), 60);
}

TEST_F(StatisticsOfMounts, DamageIsCountedWhereItHappens) {
  PackageBuilder builder("acme/damaged@1.0.0");
  builder.mount("/data", "data").file("data", "f", std::string(100, 'y')).write(package());
  const MountedPackage mount(kPkgfs, package(), {"--verify=read"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_TRUE(fs::exists(mount / "data/f"));
  std::string bytes = read_text(package());
  bytes.at(bytes.find(std::string(100, 'y')) + 7) = 'z';
  std::fstream(package(), std::ios::in | std::ios::out | std::ios::binary) << bytes;
  EXPECT_FALSE(run({"cat", mount / "data/f"}).ok());
  const json said = stats(mount);
  EXPECT_EQ(said["errors"].size(), 1U) << said["errors"];
  EXPECT_GE(said["errors"].value("open", json::object()).value("EIO", 0), 1) << said["errors"];
  const ProcessResult table = run({kPkgfs, "stats", mount.path()});
  EXPECT_NE(table.out.find(" EIO\n"), std::string::npos) << table.describe();
}

TEST_F(StatisticsOfMounts, AreShownAsATable) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ASSERT_EQ(read_text(mount / "data/f1").size(), static_cast<std::size_t>(kBytes));
  const ProcessResult result = run({kPkgfs, "stats", mount.path()});
  ASSERT_TRUE(result.ok()) << result.describe();
  EXPECT_TRUE(result.out.starts_with("acme/counted@1.0.0 on " + mount.path().string() + "\n")) << result.out;
  EXPECT_NE(result.out.find("\noperation       requests   errors       p50       p99       max\n"), std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("\nread "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find(", 0 errors, "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("process " + std::to_string(mount.daemon()) + ","), std::string::npos) << result.out;
}

TEST_F(StatisticsOfMounts, MountsTellEverythingOfALiveMount) {
  const MountedPackage mount(kPkgfs, package(), {"-o", "noexec"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const json entry = entry_of(mount);
  EXPECT_EQ(entry["state"], "live");
  EXPECT_EQ(entry["package"], "acme/counted@1.0.0");
  EXPECT_EQ(entry["packages"], json({"acme/counted@1.0.0"}));
  EXPECT_EQ(entry["pid"], mount.daemon());
  EXPECT_LE(std::abs(entry["since"].get<std::int64_t>() - std::time(nullptr)), 60);
  EXPECT_GE(entry["requests"], 1);
  EXPECT_TRUE(entry["version"].is_string());
  EXPECT_NE(entry["options"].get<std::string>().find("noexec"), std::string::npos);
}

TEST_F(StatisticsOfMounts, AStoppedDaemonIsNamedAndNotWaitedFor) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const pid_t daemon = mount.daemon();
  ::kill(daemon, SIGSTOP);
  const auto begin = steady_clock::now();
  const ProcessResult result = run({kPkgfs, "stats", mount.path()}, {.timeout = seconds(10)});
  const json entry = entry_of(mount);
  const auto took = steady_clock::now() - begin;
  ::kill(daemon, SIGCONT);
  EXPECT_EQ(result.exit_code, 1) << result.describe();
  EXPECT_NE(result.err.find("doesn't answer (process " + std::to_string(daemon) + ")"), std::string::npos)
      << result.describe();
  EXPECT_EQ(entry["state"], "stuck");
  EXPECT_EQ(entry["pid"], daemon);
  EXPECT_LE(std::abs(entry["since"].get<std::int64_t>() - std::time(nullptr)), 60);
  EXPECT_TRUE(entry["requests"].is_null());
  EXPECT_LT(took, seconds(4));
}

TEST_F(StatisticsOfMounts, AKilledDaemonLeavesADeadMount) {
  const MountedPackage mount(kPkgfs, package(), {"--keeper=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ::kill(mount.daemon(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return processes_with(mount.path()).empty(); }));
  const ProcessResult result = run({kPkgfs, "stats", mount.path()});
  EXPECT_EQ(result.exit_code, 1) << result.describe();
  EXPECT_NE(result.err.find("is dead"), std::string::npos) << result.describe();
  EXPECT_NE(result.err.find("pkgfs unmount " + mount.path().string()), std::string::npos) << result.describe();
  const json entry = entry_of(mount);
  EXPECT_EQ(entry["state"], "dead");
  EXPECT_TRUE(entry["pid"].is_null());
}

TEST_F(StatisticsOfMounts, WhatIsNoMountIsNotFound) {
  for (const std::string& path : {dir_.path().string(), std::string("/proc")}) {
    const ProcessResult result = run({kPkgfs, "stats", path});
    EXPECT_EQ(result.exit_code, 3) << result.describe();
    EXPECT_NE(result.err.find("No package is mounted at \"" + path + "\""), std::string::npos) << result.describe();
  }
}

TEST_F(StatisticsOfMounts, TheSizeThatIsAskedForIsEnoughLater) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const ssize_t size = ::getxattr(mount.path().c_str(), "user.pkgfs.stats", nullptr, 0);
  ASSERT_GT(size, 0);
  EXPECT_EQ(read_text(mount / "data/f1").size(), static_cast<std::size_t>(kBytes));
  std::string value(static_cast<std::size_t>(size), '\0');
  EXPECT_GT(::getxattr(mount.path().c_str(), "user.pkgfs.stats", value.data(), value.size()), 0);
}

}  // namespace
}  // namespace pkgfs::test
