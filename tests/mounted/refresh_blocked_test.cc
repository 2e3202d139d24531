// SPDX-License-Identifier: MIT
// Risk: a refresh waits for a read that a disk holds up, or closes the version of which it reads.
#include <filesystem>
#include <string>
#include <thread>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/disk/faulty_disk.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class RefreshBlocked : public MountedTest {
 protected:
  static constexpr int kFiles = 60;
  static std::string name(int file) { return "d/f" + std::to_string(100 + file); }

  void build(const std::string& version) const {
    PackageBuilder builder("acme/many@" + version);
    builder.mount("/", "data").file("data", "version", version);
    for (int i = 0; i < kFiles; ++i) {
      builder.file("data", name(i), std::string(50'000, static_cast<char>('a' + i % 26)));
    }
    builder.write(path(version));
  }
  [[nodiscard]] fs::path path(const std::string& version) const { return directory_.path() / (version + ".webc"); }
  void point_to(const fs::path& file) const {
    fs::create_symlink(file, directory_.path() / "new");
    fs::rename(directory_.path() / "new", package());
  }
  [[nodiscard]] fs::path package() const { return directory_.path() / "app.webc"; }
  [[nodiscard]] static ProcessResult refresh(const MountedPackage& mount) {
    return run({kPkgfs, "refresh", mount.path()});
  }

  TempDir directory_;
};

TEST_F(RefreshBlocked, AVersionOfWhichAReadIsHeldUpStays) {
  build("1.0.0");
  build("2.0.0");
  const FaultyDisk disk(path("1.0.0"));
  ASSERT_TRUE(disk.ok());
  point_to(disk.disk());
  const MountedPackage mount(kPkgfs, package(), {"--follow=1h", "--push=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_TRUE(run({"ls", "-R", mount.path()}).ok());  // the directories are in memory
  disk.command("hold");
  std::string text;
  std::jthread reader([&] { text = read_text(mount / name(50)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  point_to(path("2.0.0"));
  const ProcessResult done = refresh(mount);
  EXPECT_TRUE(done.ok()) << done.describe();
  EXPECT_EQ(read_text(mount / "version"), "2.0.0");
  const auto open = [&] { return statistics(mount).at("versions").at("open").get<int>(); };
  std::this_thread::sleep_for(std::chrono::seconds(2));
  EXPECT_EQ(open(), 2) << "a read of the old version goes on";
  disk.command("release");
  reader.join();
  EXPECT_TRUE(text == std::string(50'000, 'y'));
  EXPECT_TRUE(eventually([&] { return open() == 1; }, std::chrono::seconds(15)));
}

}  // namespace
}  // namespace pkgfs::test
