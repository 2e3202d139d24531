// SPDX-License-Identifier: MIT
// Risk: the kernel requests data again that it should have cached, prefetched files have wrong bytes, or the daemon
// prefetches whole packages that no process reads. The daemon's own counts show it.
#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <thread>

#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

constexpr int kDirectories = 30;
constexpr int kFilesOfOne = 20;  // directory

std::string content(int directory, int file) {
  std::mt19937 random(static_cast<unsigned>(directory * 1000 + file));
  std::string text(1 + random() % 9000, '\0');
  for (char& c : text) {
    c = static_cast<char>(random());
  }
  return text;
}

class Requests : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    PackageBuilder builder("acme/many@1.0.0");
    builder.mount("/data", "data");
    for (int directory = 0; directory < kDirectories; ++directory) {
      for (int file = 0; file < kFilesOfOne; ++file) {
        builder.file("data", name(directory, file), content(directory, file));
      }
    }
    for (int file = 0; file < 400; ++file) {
      builder.file("data", "wide/" + std::to_string(file), std::string(16384, static_cast<char>(file)));
    }
    builder.write(package());
  }

  [[nodiscard]] std::string package() const { return dir_.path() / "many.webc"; }
  static std::string name(int directory, int file) {
    return "d" + std::to_string(directory) + "/f" + std::to_string(file);
  }

  /// The statistics without the values that change at each call.
  static nlohmann::json statistics(const MountedPackage& mount) {
    nlohmann::json counted = test::statistics(mount);
    counted["requests"].erase("getxattr");  // this one
    for (const char* always_changing : {"uptime_seconds", "latency_ns"}) {
      counted.erase(always_changing);
    }
    return counted;
  }
  static int requests(const MountedPackage& mount, const std::string& kind) {
    return statistics(mount).at("requests").at(kind).get<int>();
  }

  /// Lists and reads everything in the order of the listings, as most programs do, and compares it.
  static void read_everything(const MountedPackage& mount) {
    for (int directory = 0; directory < kDirectories; ++directory) {
      const fs::path path = mount.path() / "data" / ("d" + std::to_string(directory));
      int seen = 0;
      for (const auto& entry : fs::directory_iterator(path)) {
        const int file = std::stoi(entry.path().filename().string().substr(1));
        ASSERT_EQ(read_text(entry.path()), content(directory, file)) << entry.path();
        ++seen;
      }
      ASSERT_EQ(seen, kFilesOfOne);
    }
  }

  TempDir dir_;
};

TEST_F(Requests, NothingIsAskedOnceSeen) {
  if (every_mount_has("--skip-open=off")) {
    GTEST_SKIP() << "every open is asked for";
  }
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  read_everything(mount);
  EXPECT_FALSE(fs::exists(mount / "data/absent"));
  // A kernel that is short of memory may drop a page in between: one quiet pass is enough.
  EXPECT_TRUE(eventually([&] {
    const auto before = statistics(mount);
    read_everything(mount);
    EXPECT_FALSE(fs::exists(mount / "data/absent"));
    return statistics(mount) == before;
  })) << statistics(mount);
}

TEST_F(Requests, SmallFilesAreBroughtBeforeTheyAreAskedFor) {
  if (nothing_is_pushed()) {
    GTEST_SKIP() << "nothing is pushed";
  }
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  // Seen before they are read, so that the kernel knows the files; the pusher may be late now and then.
  for (const auto& entry : fs::recursive_directory_iterator(mount.path())) {
    static_cast<void>(entry.last_write_time());
  }
  EXPECT_EQ(statistics(mount).at("files_pushed"), 0) << "a listing alone brings nothing";
  for (int directory = 0; directory < kDirectories; ++directory) {
    ASSERT_EQ(read_text(mount / ("data/" + name(directory, 0))), content(directory, 0));
  }
  EXPECT_TRUE(eventually([&] { return statistics(mount).at("files_pushed") >= kDirectories * kFilesOfOne / 2; }))
      << statistics(mount);
  read_everything(mount);
  EXPECT_LT(requests(mount, "read"), kDirectories * kFilesOfOne / 2) << statistics(mount);
}

TEST_F(Requests, PushingCanBeTurnedOff) {
  if (every_mount_has("--skip-open=off")) {
    GTEST_SKIP() << "every open is asked for";
  }
  const MountedPackage mount(kPkgfs, package(), {"--push=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  read_everything(mount);
  EXPECT_EQ(statistics(mount).at("files_pushed"), 0);
  EXPECT_GE(requests(mount, "read"), kDirectories * kFilesOfOne);
  EXPECT_LE(requests(mount, "open"), 1) << "the kernel was told not to ask";
}

TEST_F(Requests, OpenCanBeAskedFor) {
  const MountedPackage mount(kPkgfs, package(), {"--skip-open=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  read_everything(mount);
  EXPECT_EQ(requests(mount, "open"), kDirectories * kFilesOfOne);
  EXPECT_GE(requests(mount, "opendir"), kDirectories);
}

TEST_F(Requests, ReadingAtRandomBringsLittle) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ASSERT_EQ(std::distance(fs::directory_iterator(mount / "data/wide"), fs::directory_iterator()), 400);
  for (int i = 0; i < 40; ++i) {
    const int file = (i * 149) % 400;
    ASSERT_EQ(read_text(mount / ("data/wide/" + std::to_string(file))), std::string(16384, static_cast<char>(file)));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_LE(statistics(mount).at("bytes_pushed").get<int>(), 1 << 20) << statistics(mount);
}

TEST_F(Requests, WhatTheKernelDroppedIsReadAgain) {
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  read_everything(mount);
  const int before = requests(mount, "read");
  for (int directory = 0; directory < kDirectories; ++directory) {
    for (int file = 0; file < kFilesOfOne; ++file) {
      const UniqueFd fd(::open((mount / ("data/" + name(directory, file))).c_str(), O_RDONLY | O_CLOEXEC));
      ASSERT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
    }
  }
  read_everything(mount);
  EXPECT_GT(requests(mount, "read"), before);
}

TEST_F(Requests, LargeFilesAreReadFurtherAheadWhereThatIsAllowed) {
  if (::access("/sys/class/bdi", W_OK) != 0) {
    GTEST_SKIP() << "only root may change how far the kernel reads ahead";
  }
  const std::string large = content(0, 0) + std::string(16U << 20U, 'x');
  PackageBuilder("acme/large@1.0.0").mount("/data", "data").file("data", "large", large).write(dir_.path() / "l.webc");
  const auto reads_with = [&](const std::string& option) {
    const MountedPackage mount(kPkgfs, dir_.path() / "l.webc", {option});
    EXPECT_TRUE(mount.ok()) << mount.result().describe();
    // It's set right after the mount answers.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    EXPECT_EQ(read_text(mount / "data/large"), large);
    return requests(mount, "read");
  };
  const int by_itself = reads_with("--read-ahead=0");
  EXPECT_LT(reads_with("--read-ahead=512"), by_itself / 2);
}

TEST_F(Requests, LiveFilesAreAskedForAtEveryOpen) {
  dir_.write("own/wasmer.toml", "[package]\nname = \"acme/own\"\nversion = \"1.0.0\"\n[fs]\n\"/pub\" = \"pub\"\n");
  dir_.write("own/pub/f", "one");
  const MountedPackage mount(kPkgfs, dir_.path() / "own", {"--live-timeout=0"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount / "pub/f"), "one");
  dir_.write("own/pub/f", "two, longer");
  EXPECT_EQ(read_text(mount / "pub/f"), "two, longer");
  EXPECT_EQ(requests(mount, "open"), 2);
  EXPECT_EQ(statistics(mount).at("files_pushed"), 0);
}

}  // namespace
}  // namespace pkgfs::test
