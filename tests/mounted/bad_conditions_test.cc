// SPDX-License-Identifier: MIT
// Risk: a reader that waits for a hanging disk blocks all other readers, or a killed reader leaves something behind.
// Or many readers, or little memory, cause wrong bytes, a hang, or a daemon that grows.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <random>
#include <thread>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/memory_group.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::string content(unsigned seed, std::size_t size) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (std::size_t i = 0; i + sizeof(unsigned) <= size; i += sizeof(unsigned)) {
    const auto value = static_cast<unsigned>(random());
    std::memcpy(text.data() + i, &value, sizeof(value));
  }
  return text;
}

std::string name(unsigned number) { return "data/d" + std::to_string(number % 16) + "/f" + std::to_string(number); }

void add_files(PackageBuilder& builder, unsigned count, std::size_t size) {
  builder.mount("/data", "data");
  for (unsigned i = 0; i < count; ++i) {
    builder.file("data", name(i).substr(5), content(i, size));
  }
}

/// What the daemon has taken for itself, in KiB.
long anonymous_kib(pid_t daemon) {
  std::ifstream status("/proc/" + std::to_string(daemon) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) {
      return std::atol(line.c_str() + 8);
    }
  }
  return -1;
}

class BadConditions : public MountedTest {
 protected:
  TempDir dir_;
};

TEST_F(BadConditions, ADiskThatHangsHoldsUpOnlyThoseWhoReadFromIt) {
  if (every_mount_has("--io-uring=on")) {
    GTEST_SKIP() << "with io_uring, whoever's CPU it is waits for the disk, too";
  }
  constexpr unsigned kReaders = 3;
  constexpr std::size_t kSize = 8U << 20U;
  PackageBuilder inner("acme/inner@1.0.0");
  add_files(inner, kReaders + 1, kSize);
  inner.write(dir_.path() / "inner.webc");
  PackageBuilder outer("acme/outer@1.0.0");
  outer.mount("/disk", "disk").file("disk", "inner.webc", read_text(dir_.path() / "inner.webc"));
  outer.write(dir_.path() / "outer.webc");

  const MountedPackage disk(kPkgfs, dir_.path() / "outer.webc");
  ASSERT_TRUE(disk.ok()) << disk.result().describe();
  const MountedPackage mount(kPkgfs, disk / "disk/inner.webc");
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  for (const auto& entry : fs::recursive_directory_iterator(mount.path())) {
    static_cast<void>(entry.last_write_time());
  }
  const int backing = ::open((disk / "disk/inner.webc").c_str(), O_RDONLY | O_CLOEXEC);
  ::posix_fadvise(backing, 0, 0, POSIX_FADV_DONTNEED);
  ::close(backing);

  const pid_t disk_daemon = disk.daemon();
  ::kill(disk_daemon, SIGSTOP);
  std::vector<std::unique_ptr<Process>> readers;
  for (unsigned i = 0; i < kReaders; ++i) {
    readers.push_back(std::make_unique<Process>(Arguments{"sha256sum", mount / name(i)}));
  }
  EXPECT_FALSE(readers.front()->ends_within(milliseconds(300))) << "nothing hangs: the test shows nothing";
  for (int i = 0; i < 5; ++i) {  // each is a request
    const ProcessResult other = run({"stat", mount / ("data/absent" + std::to_string(i))}, {.timeout = seconds(2)});
    EXPECT_FALSE(other.timed_out) << "others wait for the disk, too";
    EXPECT_EQ(other.exit_code, 1) << other.describe();
  }
  readers.back()->signal(SIGKILL);
  EXPECT_TRUE(readers.back()->ends_within(seconds(2))) << "a reader can't be killed";
  readers.pop_back();
  ::kill(disk_daemon, SIGCONT);

  for (unsigned i = 0; i < readers.size(); ++i) {
    const ProcessResult& result = readers[i]->wait();
    EXPECT_TRUE(result.ok()) << result.describe();
  }
  for (unsigned i = 0; i < kReaders + 1; ++i) {
    EXPECT_EQ(read_text(mount / name(i)), content(i, kSize)) << i;
  }
  EXPECT_GT(statistics(mount).at("relieved"), 0U);
}

TEST_F(BadConditions, WhatIsNotInMemoryIsReadByAnotherThread) {
  if (every_mount_has("--skip-open=off")) {
    GTEST_SKIP() << "files that are opened are read by their own threads";
  }
  if (every_mount_has("--io-uring=on")) {
    GTEST_SKIP() << "with io_uring, whoever's CPU it is waits for the disk, too";
  }
  PackageBuilder builder("acme/cold@1.0.0");
  constexpr unsigned kFiles = 16;
  add_files(builder, kFiles, 1U << 20U);
  const fs::path package = dir_.path() / "cold.webc";
  builder.write(package);
  const MountedPackage mount(kPkgfs, package, {"--push=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const int backing = ::open(package.c_str(), O_RDONLY | O_CLOEXEC);
  ::fsync(backing);  // only what is on the disk can be dropped
  ::posix_fadvise(backing, 0, 0, POSIX_FADV_DONTNEED);
  ::close(backing);
  for (unsigned i = kFiles; i-- > 0;) {  // not in the order that the kernel reads ahead
    EXPECT_EQ(read_text(mount / name(i)), content(i, 1U << 20U)) << i;
  }
  struct stat status{};
  ASSERT_EQ(::stat(package.c_str(), &status), 0);
  if (status.st_dev == 0 || run({"stat", "-f", "-c", "%T", package}).out.starts_with("tmpfs")) {
    GTEST_SKIP() << "the temporary files are in memory";
  }
  EXPECT_GT(statistics(mount).at("relieved"), 0U);
}

TEST_F(BadConditions, AThousandReadersGetTheRightBytes) {
  constexpr unsigned kReaders = 1000;
  constexpr unsigned kFiles = 200;
  constexpr std::size_t kSize = 20'000;
  PackageBuilder builder("acme/many@1.0.0");
  add_files(builder, kFiles, kSize);
  builder.write(dir_.path() / "many.webc");
  const MountedPackage mount(kPkgfs, dir_.path() / "many.webc");
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  std::vector<std::string> expected;
  for (unsigned i = 0; i < kFiles; ++i) {
    expected.push_back(content(i, kSize));
  }
  std::atomic<unsigned> wrong{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> readers;
  for (unsigned reader = 0; reader < kReaders; ++reader) {
    readers.emplace_back([&, reader] {
      go.wait(false);
      std::mt19937 random(reader);
      for (int i = 0; i < 5; ++i) {
        const unsigned file = static_cast<unsigned>(random()) % kFiles;
        try {
          wrong += read_text(mount / name(file)) == expected[file] ? 0 : 1;
        } catch (const std::exception&) {
          ++wrong;
        }
      }
    });
  }
  go = true;
  go.notify_all();
  for (std::thread& reader : readers) {
    reader.join();
  }
  EXPECT_EQ(wrong, 0U);
  const long memory = anonymous_kib(mount.daemon());
  EXPECT_GT(memory, 0);
  EXPECT_LT(memory, 64 * 1024);
}

TEST_F(BadConditions, LittleMemoryMakesItSlowerButNotWrong) {
  constexpr long kLimit = 64L << 20U;
  constexpr unsigned kFiles = 2400;
  constexpr std::size_t kSize = 60'000;
  PackageBuilder builder("acme/large@1.0.0");
  add_files(builder, kFiles, kSize);
  builder.write(dir_.path() / "large.webc");
  const MemoryGroup group(kLimit);
  if (!group.works()) {
    GTEST_SKIP() << "no memory control group can be made here";
  }
  MountedPackage mount(kPkgfs, dir_.path() / "large.webc");
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ASSERT_TRUE(group.add(mount.daemon()));
  for (int pass = 0; pass < 2; ++pass) {
    for (unsigned directory = 0; directory < 16; ++directory) {
      for (unsigned i = directory; i < kFiles; i += 16) {
        ASSERT_EQ(read_text(mount / name(i)), content(i, kSize)) << i;
      }
    }
  }
  EXPECT_LE(group.most(), kLimit);
  EXPECT_TRUE(mount.unmount().ok());
}

}  // namespace
}  // namespace pkgfs::test
