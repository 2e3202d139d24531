// SPDX-License-Identifier: MIT
// Risk: with --exec=auto, a program can't be started, a walk over the tree reads the files, or a file has one mode now
// and another one later.
#include <sys/stat.h>

#include <cerrno>
#include <map>
#include <thread>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/disk/faulty_disk.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

const std::string kProgramText = "#!/bin/sh\necho it ran\n";

class Executables : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    PackageBuilder builder("acme/programs@1.0.0");
    builder.mount("/", "data");
    for (const char* path : {"run", "app/start.sh", "app/tool-1.2", "bin/tool.py", "lib/app/helper"}) {
      builder.file("data", path, kProgramText);
      modes_[path] = 0755;
    }
    builder.file("data", "app/module.wasm", std::string("\0asm\1\0\0\0", 8));
    modes_["app/module.wasm"] = 0755;
    // Each body is larger than what one read of the directory data can bring along.
    for (int i = 0; i < 40; ++i) {
      for (const std::string name : {"lib/python3/module", "app/text"}) {
        const std::string path = name + std::to_string(i) + (name.starts_with("lib") ? ".py" : ".txt");
        builder.file("data", path, kProgramText + std::string(200'000, '\n'));
        modes_[path] = 0644;
      }
    }
    builder.file("data", "app/a.txt", std::string(200'000, 'a'));  // between the directory data and the other bodies
    builder.file("data", "app/text", std::string(200'000, 'x'));
    modes_["app/a.txt"] = modes_["app/text"] = 0644;
    builder.write(package_);
  }

  [[nodiscard]] std::map<std::string, unsigned> modes_in(const fs::path& mount) const {
    std::map<std::string, unsigned> modes;
    for (const auto& [path, mode] : modes_) {
      struct stat status{};
      modes[path] = ::stat((mount / path).c_str(), &status) == 0 ? status.st_mode & 0777U : 0;
    }
    return modes;
  }

  TempDir dir_;
  const fs::path package_ = dir_.path() / "programs.webc";
  std::map<std::string, unsigned> modes_;
};

TEST_F(Executables, StartAndKeepTheirModesInWhateverOrderTheyAreSeen) {
  for (const bool listed_first : {false, true}) {
    const MountedPackage mount(kPkgfs, package_, {"--exec=auto"});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    const Arguments list = {"find", mount.path(), "-type", "f", "-printf", "%P %m\n"};
    const std::string before = listed_first ? run(list).out : "";
    for (const auto& [path, mode] : modes_) {
      if (mode == 0755 && !path.ends_with(".wasm")) {
        EXPECT_EQ(run({mount / path}).out, "it ran\n") << path;
      }
    }
    EXPECT_EQ(modes_in(mount.path()), modes_);
    const std::string after = run(list).out;
    EXPECT_NE(after.find("run 755\n"), std::string::npos) << after;
    EXPECT_TRUE(!listed_first || before == after) << before << after;
  }
}

TEST_F(Executables, CommandsWithoutAMountShowTheSameModes) {
  const ProcessResult listed = run({kPkgfs, "ls", "-l", "--exec=auto", package_, "/app"});
  EXPECT_NE(listed.out.find("-rwxr-xr-x"), std::string::npos) << listed.describe();
  EXPECT_NE(listed.out.find("-rw-r--r--"), std::string::npos) << listed.describe();
  const fs::path out = dir_.path() / "out";
  const ProcessResult extracted = run({kPkgfs, "extract", "--exec=auto", package_, out});
  ASSERT_TRUE(extracted.ok()) << extracted.describe();
  EXPECT_EQ(modes_in(out), modes_);
}

TEST_F(Executables, AWalkOverTheTreeReadsNoMoreThanWithoutTheOption) {
  const FaultyDisk disk(package_);
  ASSERT_TRUE(disk.ok());
  std::map<std::string, long> reads;
  for (const std::string how : {"none", "auto"}) {
    disk.command("drop");
    const long before = disk.reads();
    const MountedPackage mount(kPkgfs, disk.disk(), {"--push=off", "--exec=" + how});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    EXPECT_TRUE(run({"find", mount.path(), "-ls"}).ok());
    reads[how] = disk.reads() - before;
  }
  // The names of seven files don't tell what they are.
  EXPECT_LE(reads["auto"], reads["none"] + 7) << reads["none"];
}

TEST_F(Executables, AFailedReadIsAnErrorUntilItSucceeds) {
  const std::string bytes = read_text(package_);
  const std::size_t body = bytes.find(std::string(200'000, 'x'));
  ASSERT_NE(body, std::string::npos);
  const FaultyDisk disk(package_);
  ASSERT_TRUE(disk.ok());
  const MountedPackage mount(kPkgfs, disk.disk(), {"--push=off", "--exec=auto"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  disk.command("drop");
  disk.command("fail " + std::to_string(body) + " 100000");
  struct stat status{};
  EXPECT_NE(::stat((mount / "app/text").c_str(), &status), 0);
  EXPECT_EQ(errno, EIO);
  EXPECT_NE(run({"ls", mount / "app"}).out.find("text\n"), std::string::npos) << "a listing needs no file";
  EXPECT_EQ(::stat((mount / "app/text7.txt").c_str(), &status), 0);
  disk.command("heal");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  EXPECT_EQ(modes_in(mount.path()), modes_);
}

}  // namespace
}  // namespace pkgfs::test
