// SPDX-License-Identifier: MIT
// Risk: a mount by the kernel shows something else than that of a daemon, keeps a wrong image, or isn't recognised as
// a mount of pkgfs.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "core/base/unique_fd.h"
#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ImageMount : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (!IsSkipped() && ::geteuid() != 0) {
      GTEST_SKIP() << "only root can let the kernel mount an image";
    }
    if (!IsSkipped() && shell("modprobe -q erofs 2> /dev/null; grep -qw erofs /proc/filesystems").exit_code != 0) {
      GTEST_SKIP() << "the kernel has no EROFS";
    }
  }
  [[nodiscard]] Arguments options(const Arguments& more = {}) const {
    Arguments words{"--engine=erofs", "--offline", "--cache-dir", cache().string()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  [[nodiscard]] fs::path cache() const { return dir_.path() / "cache"; }
  [[nodiscard]] std::vector<fs::path> images() const {
    std::vector<fs::path> found;
    if (fs::exists(cache() / "images")) {
      for (const auto& entry : fs::directory_iterator(cache() / "images")) {
        found.push_back(entry.path());
      }
    }
    return found;
  }
  [[nodiscard]] ProcessResult pkgfs(Arguments words) const {
    words.insert(words.begin(), kPkgfs);
    return run(words);
  }
  static void flip_byte(const fs::path& file) {
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekg(-1, std::ios::end);
    const char last = static_cast<char>(bytes.get());
    bytes.seekp(-1, std::ios::end);
    bytes.put(static_cast<char>(last ^ 1));
  }

  TempDir dir_;
};

TEST_F(ImageMount, ShowsWhatADaemonShowsWithoutAProcess) {
  for (const char* name : {"basic-v2", "names-v3", "symlinks-v3"}) {
    SCOPED_TRACE(name);
    MountedPackage fuse(kPkgfs, single(name), {"--offline"});
    ASSERT_TRUE(fuse.ok()) << fuse.result().describe();
    for (int time = 0; time < 2; ++time) {
      MountedPackage kernel(kPkgfs, single(name), options());
      ASSERT_TRUE(kernel.ok()) << kernel.result().describe();
      const auto line = find_mount(kernel.path());
      ASSERT_TRUE(line);
      EXPECT_EQ(line->type, "erofs");
      for (const char* word : {"ro", "nosuid", "nodev"}) {
        EXPECT_TRUE(line->has(word)) << word;
      }
      EXPECT_EQ(difference(list_tree(fuse.path()), list_tree(kernel.path())), "");
      EXPECT_TRUE(processes_with(kernel.path()).empty());
    }
  }
  EXPECT_EQ(images().size(), 3U) << "the second mount took the image of the first";
}

TEST_F(ImageMount, TheCommandsForMountsAndCacheKnowIt) {
  PackageBuilder("acme/app@1.2.3").file("data", "etc/app", "x").mount("/", "data").write(dir_.path() / "app.webc");
  MountedPackage kernel(kPkgfs, dir_.path() / "app.webc", options());
  ASSERT_TRUE(kernel.ok()) << kernel.result().describe();
  const std::string line = "acme/app@1.2.3 on " + kernel.path().string() + " (live, served by the kernel: erofs)\n";
  EXPECT_NE(pkgfs({"mounts"}).out.find(line), std::string::npos);
  const json mounts = json::parse(pkgfs({"mounts", "--json"}).out);
  EXPECT_TRUE(std::any_of(mounts.begin(), mounts.end(), [&](const json& mount) {
    return mount["mountpoint"] == kernel.path().string() && mount["engine"] == "erofs" &&
           mount["package"] == "acme/app@1.2.3";
  })) << mounts;
  const ProcessResult again = pkgfs({"mount", "--engine=erofs", "--offline", "--cache-dir", cache().string(),
                                     (dir_.path() / "app.webc").string(), kernel.path().string()});
  EXPECT_EQ(again.exit_code, 9) << again.describe();
  const ProcessResult daemon =
      pkgfs({"mount", "--offline", (dir_.path() / "app.webc").string(), kernel.path().string()});
  EXPECT_EQ(daemon.exit_code, 9) << "nor over it: " << daemon.describe();
  EXPECT_TRUE(pkgfs({"wait", kernel.path().string()}).ok());
  const ProcessResult stats = pkgfs({"stats", kernel.path().string()});
  EXPECT_EQ(stats.exit_code, 5) << stats.describe();
  EXPECT_NE(stats.err.find("--engine=erofs"), std::string::npos) << stats.describe();
  {
    MountedPackage fuse(kPkgfs, dir_.path() / "app.webc", {"--offline"});
    ASSERT_TRUE(fuse.ok()) << fuse.result().describe();
    const ProcessResult over = pkgfs({"mount", "--engine=erofs", "--offline", "--cache-dir", cache().string(),
                                      (dir_.path() / "app.webc").string(), fuse.path().string()});
    EXPECT_EQ(over.exit_code, 9) << over.describe();
  }

  const ProcessResult listed = pkgfs({"cache", "list", "--cache-dir", cache().string()});
  EXPECT_NE(listed.out.find("(image)  acme/app@1.2.3\n0 packages, 1 image, "), std::string::npos) << listed.describe();
  EXPECT_TRUE(pkgfs({"cache", "verify", "--cache-dir", cache().string()}).ok());
  EXPECT_NE(pkgfs({"cache", "prune", "--cache-dir", cache().string()}).out.find("(image)"), std::string::npos);
  EXPECT_TRUE(images().empty());
  EXPECT_EQ(read_text(kernel.path() / "etc/app"), "x") << "the mount keeps its image";
  EXPECT_TRUE(kernel.unmount().ok());
  EXPECT_FALSE(find_mount(kernel.path()));
}

TEST_F(ImageMount, ADamagedImageIsMadeAgain) {
  const std::string package = single("basic-v2");
  EXPECT_TRUE(MountedPackage(kPkgfs, package, options()).ok());
  ASSERT_EQ(images().size(), 1U);
  const fs::path image = images().front();
  const std::string whole = file_sha256(image);
  EXPECT_EQ(fs::status(image).permissions(), fs::perms(0444));

  fs::permissions(image, fs::perms(0644));  // any process of root might have written to it
  flip_byte(image);
  {
    MountedPackage again(kPkgfs, package, options());
    ASSERT_TRUE(again.ok()) << again.result().describe();
    EXPECT_NE(again.result().err.find("doesn't have the hash in its name"), std::string::npos);
    EXPECT_EQ(file_sha256(image), whole);
  }
  flip_byte(image);  // as a fault of the disk would
  {
    MountedPackage checked(kPkgfs, package, options({"--verify=open"}));
    ASSERT_TRUE(checked.ok()) << checked.result().describe();
    EXPECT_EQ(file_sha256(image), whole);
  }
  flip_byte(image);
  EXPECT_EQ(pkgfs({"cache", "verify", "--cache-dir", cache().string()}).exit_code, 4);
  EXPECT_TRUE(images().empty());
}

TEST_F(ImageMount, ACachedImageNeedsNoLargeLibrary) {
  const std::string package = single("basic-v3");
  EXPECT_TRUE(MountedPackage(kPkgfs, package, options()).ok());
  const TempDir place;
  const ProcessResult result =
      run({"unshare", "-m", "sh", "-ec",
           std::string(kHideLibcrypto) +
               "\nunset WASMER_REGISTRY\n\"$1\" mount --engine=erofs --offline --cache-dir \"$2\" \"$3\" \"$4\"",
           "-", kPkgfs, cache(), package, place.path()});
  EXPECT_TRUE(result.ok()) << "libcrypto takes longer to load than the mount takes: " << result.describe();
}

/// Which share of a file's bytes from `offset` on is in the page cache.
double share_in_memory(const fs::path& file, std::size_t offset) {
  constexpr std::size_t kPage = 4096;
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  const std::size_t size = fs::file_size(file);
  void* const mapping = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  std::vector<unsigned char> pages((size + kPage - 1) / kPage);
  const int known = ::mincore(mapping, size, pages.data());
  ::munmap(mapping, size);
  const auto first = pages.begin() + static_cast<std::ptrdiff_t>(offset / kPage);
  const auto there = std::count_if(first, pages.end(), [](unsigned char page) { return (page & 1U) != 0; });
  return known == 0 ? static_cast<double>(there) / static_cast<double>(pages.end() - first) : -1;
}

TEST_F(ImageMount, TheFirstWalkDoesntWaitForTheDiskAtEachBlock) {
  PackageBuilder builder("acme/app@1.0.0");
  for (int i = 0; i < 2000; ++i) {
    builder.file("data", "dir" + std::to_string(i % 50) + "/a-file-" + std::to_string(i), std::string(1000, 'x'));
  }
  builder.mount("/", "data").write(dir_.path() / "app.webc");
  EXPECT_TRUE(MountedPackage(kPkgfs, dir_.path() / "app.webc", options()).ok());
  ASSERT_EQ(images().size(), 1U);
  std::uint32_t metadata = 0;  // in blocks
  const UniqueFd image(::open(images().front().c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::pread(image.get(), &metadata, sizeof(metadata), 1024 + 40), 4);
  ASSERT_EQ(::posix_fadvise(image.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  if (share_in_memory(images().front(), metadata * 4096UL) > 0.1) {
    GTEST_SKIP() << "this file system keeps its files in memory";
  }
  MountedPackage kernel(kPkgfs, dir_.path() / "app.webc", options());
  ASSERT_TRUE(kernel.ok()) << kernel.result().describe();
  EXPECT_TRUE(eventually([&] { return share_in_memory(images().front(), metadata * 4096UL) > 0.9; }))
      << share_in_memory(images().front(), metadata * 4096UL);
}

TEST_F(ImageMount, AnotherPackageOrOptionGetsAnotherImage) {
  const fs::path package = dir_.path() / "app.webc";
  PackageBuilder("acme/app@1.0.0").file("data", "a", "old").mount("/", "data").write(package);
  EXPECT_TRUE(MountedPackage(kPkgfs, package, options()).ok());
  PackageBuilder("acme/app@1.0.0").file("data", "a", "new").mount("/", "data").write(package);
  MountedPackage changed(kPkgfs, package, options());
  ASSERT_TRUE(changed.ok()) << changed.result().describe();
  EXPECT_EQ(read_text(changed.path() / "a"), "new");
  EXPECT_TRUE(MountedPackage(kPkgfs, package, options({"--mtime=stored"})).ok());
  EXPECT_EQ(images().size(), 3U);
}

TEST_F(ImageMount, WhereAFileCantBeMountedALoopDeviceIs) {
  if (!fs::exists("/dev/loop-control")) {
    GTEST_SKIP() << "there are no loop devices";
  }
  fs::create_directory(cache());
  ASSERT_EQ(::mount("tmpfs", cache().c_str(), "tmpfs", 0, "size=8m,mode=0700"), 0);
  {
    MountedPackage kernel(kPkgfs, single("basic-v2"), options());
    EXPECT_TRUE(kernel.ok()) << kernel.result().describe();
    if (kernel.ok()) {
      EXPECT_TRUE(find_mount(kernel.path())->source.starts_with("/dev/loop"));
      EXPECT_NE(pkgfs({"mounts"}).out.find(" on " + kernel.path().string() + " (live, served by the kernel"),
                std::string::npos);
    }
  }
  EXPECT_TRUE(eventually([&] { return ::umount2(cache().c_str(), 0) == 0; })) << "the loop device stays";
}

TEST_F(ImageMount, WhatNeedsADaemonIsRefused) {
  dir_.write("live/wasmer.toml", "[fs]\n\"/x\" = \"data\"\n");
  dir_.write("live/data/file", "x");
  const MountedPackage live(kPkgfs, dir_.path() / "live", options());
  expect_refused(live);
  EXPECT_EQ(live.result().exit_code, 2);
  EXPECT_NE(live.result().err.find("live directory"), std::string::npos) << live.result().describe();
  for (const char* option : {"--uid=1", "--fmask=022", "--foreground", "--verify=read", "--mtime=container"}) {
    const MountedPackage refused(kPkgfs, single("basic-v2"), options({option}));
    expect_refused(refused);
    EXPECT_EQ(refused.result().exit_code, 2) << refused.result().describe();
  }
  EXPECT_TRUE(images().empty());
  fs::permissions(dir_.path(), fs::perms(0755));
  fs::create_directory(dir_.path() / "mine");
  const ProcessResult user = run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", kPkgfs, "mount",
                                  "--engine=erofs", "--offline", single("basic-v2"), (dir_.path() / "mine").string()});
  EXPECT_EQ(user.exit_code, 8) << user.describe();
}

}  // namespace
}  // namespace pkgfs::test
