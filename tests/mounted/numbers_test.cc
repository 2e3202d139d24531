// SPDX-License-Identifier: MIT
// Risk: programs and file systems above a mount can't hold its inode numbers (docs/rules/filesystem.md, 9.6).
#include <sys/stat.h>

#include "tests/mounted/mounted.h"
#include "tests/support/patterns.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class InodeNumbers : public MountedTest {
 protected:
  static std::string overlay_complaints() { return shell("dmesg | grep -c 'inode number too big'").out; }

  TempDir temp_;
};

TEST_F(InodeNumbers, AProgramWith32BitsSeesEveryEntry) {
  const std::string program = temp_.path() / "rd32";
  const std::string source = fixtures() / "programs/rd32.c";
  if (!run({"gcc", "-m32", "-w", "-o", program, source}).ok() ||
      run({program, "/proc", "/dev/null"}).exit_code == 126) {
    GTEST_SKIP() << "no 32-bit programs here (gcc-multilib)";
  }
  const Arguments plain{"--no-commands"};
  for (const std::string& package : {single("many-v1"), single("many-v2"), single("many-v3")}) {
    SCOPED_TRACE(package);
    const MountedPackage mount(kPkgfs, package, plain);
    if (!mount.ok()) {
      ADD_FAILURE() << mount.result().describe();
      continue;
    }
    fs::path file;
    std::set<fs::path> directories{mount.path()};
    for (const auto& entry : fs::recursive_directory_iterator(mount.path())) {
      if (entry.is_directory() && !entry.is_symlink()) {
        directories.insert(entry.path());
      } else if (entry.is_regular_file() && !entry.is_symlink()) {
        file = entry.path();
      }
    }
    ASSERT_FALSE(file.empty());
    int tried = 0;
    for (const fs::path& directory : directories) {
      const auto entries = std::distance(fs::directory_iterator(directory), fs::directory_iterator()) + 2;
      const ProcessResult result = run({program, directory, file});
      ASSERT_TRUE(matches(result.out, "readdir " + std::to_string(entries) +
                                          " entries, errno 0 Success\nstat 0 Success\n"
                                          "open [0-9]+ Success\nfstat 0 Success\n"))
          << directory << "\n"
          << result.out;
      if (++tried == 200) {
        break;
      }
    }
  }
}

TEST_F(InodeNumbers, OverlayfsAboveTheMountShowsThem) {
  const MountedPackage mount(kPkgfs, single("many-v3"), {"--no-commands"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string before = overlay_complaints();
  const fs::path place = temp_.path() / "overlay";
  fs::create_directories(place / "merged");
  // On a file system of its own: not every one can be an upper one.
  const ProcessResult made = shell("mount -t tmpfs pkgfs-test '" + place.string() + "' && cd '" + place.string() +
                                   "' && mkdir merged upper work && mount -t overlay pkgfs-test -o xino=on,lowerdir='" +
                                   mount.path().string() + "',upperdir=upper,workdir=work merged");
  const auto unmount = [&] {
    return shell("umount '" + (place / "merged").string() + "'; umount '" + place.string() + "'");
  };
  if (!made.ok()) {
    (void)unmount();
    GTEST_SKIP() << "no overlayfs above the mount: " << made.describe();
  }
  std::map<std::string, std::uint64_t> above;
  EXPECT_NO_THROW(above = inode_numbers(place / "merged"));  // d_ino and st_ino of every entry are compared
  std::map<std::uint64_t, std::string> owners;
  for (const auto& [path, number] : above) {
    EXPECT_TRUE(owners.emplace(number, path).second) << path << " and " << owners[number];
  }
  EXPECT_EQ(above.size(), inode_numbers(mount.path()).size());
  EXPECT_EQ(overlay_complaints(), before);
  EXPECT_TRUE(unmount().ok());
}

}  // namespace
}  // namespace pkgfs::test
