// SPDX-License-Identifier: MIT
// Risk: a fault of the disk, or a container that changes below a mount, costs more than the bytes that it touches, or
// costs them for longer than it lasts; or a reader gets zeros, other bytes, or is told that a file isn't there.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <map>
#include <random>
#include <thread>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/disk/faulty_disk.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

constexpr auto kAfterPause = std::chrono::milliseconds(1100);

std::string content_of(const std::string& name, std::size_t size) {
  std::string text;
  while (text.size() < size) {
    text += name + " ";
  }
  text.resize(size);
  return text;
}

/// The files of the package, and their contents.
using Files = std::map<std::string, std::string>;

Files write_package(const fs::path& path, unsigned directories, unsigned files, std::size_t size) {
  Files all;
  PackageBuilder builder("acme/known@1.0.0");
  builder.mount("/data", "data");
  for (unsigned i = 0; i < directories; ++i) {
    for (unsigned j = 0; j < files; ++j) {
      const std::string name = "d" + std::to_string(i) + "/a-file-with-a-name-of-some-length-" + std::to_string(j);
      const std::string content = content_of(name, size + j);
      builder.file("data", name, content);
      all["data/" + name] = content;
    }
  }
  builder.write(path);
  return all;
}

/// 0, or the errno with which reading the file failed; `text` is what was read.
int read_file(const std::string& path, std::string& text) {
  text.clear();
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    return errno;
  }
  std::array<char, 65536> buffer{};
  for (;;) {
    const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count < 0) {
      return errno;
    }
    if (count == 0) {
      return 0;
    }
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

/// Reads all files. Returns how many failed with EIO, and expects that all others are right.
unsigned read_all(const MountedPackage& mount, const Files& files, const std::string& when) {
  unsigned failed = 0;
  std::string text;
  for (const auto& [name, content] : files) {
    const int error = read_file(mount / name, text);
    if (error == EIO) {
      ++failed;
    } else {
      EXPECT_EQ(error, 0) << name << ", " << when;
      EXPECT_TRUE(text == content) << name << " has other bytes, " << when;
    }
  }
  return failed;
}

class DiskFaults : public MountedTest {
 protected:
  TempDir dir_;
};

TEST_F(DiskFaults, AReadThatFailsCostsItsFilesForAsLongAsItFails) {
  const fs::path package = dir_.path() / "known.webc";
  const Files files = write_package(package, 8, 24, 3000);
  const FaultyDisk disk(package);
  ASSERT_TRUE(disk.ok());
  const std::string copy = disk.disk();

  disk.command("drop");
  long reads = disk.reads();
  {
    const MountedPackage mount(kPkgfs, copy, {"--push=off"});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    ASSERT_EQ(read_all(mount, files, "without a fault"), 0U);
    reads = disk.reads() - reads;
  }
  ASSERT_GT(reads, 4);
  unsigned with_failures = 0;
  for (long n = 1; n <= reads; ++n) {
    const std::string when = "read " + std::to_string(n) + " of " + std::to_string(reads);
    disk.command("heal");
    disk.command("drop");
    disk.command("fail-read " + std::to_string(n));
    const MountedPackage mount(kPkgfs, copy, {"--push=off"});
    if (!mount.ok()) {  // the container couldn't be opened
      EXPECT_EQ(mount.result().exit_code, 1) << mount.result().describe();
      EXPECT_NE(mount.result().err.find(copy), std::string::npos) << mount.result().err;
      continue;
    }
    const unsigned failed = read_all(mount, files, when);
    with_failures += failed > 0 ? 1 : 0;
    EXPECT_LT(failed, files.size()) << "all files failed, " << when;
    disk.command("heal");
    std::this_thread::sleep_for(kAfterPause);
    EXPECT_EQ(read_all(mount, files, when + ", healed"), 0U);
  }
  EXPECT_GT(with_failures, 0U);
}

TEST_F(DiskFaults, BytesThatMappedPagesHadComeBackAndEachIsTold) {
  const fs::path package = dir_.path() / "known.webc";
  const Files files = write_package(package, 4, 200, 10);
  const FaultyDisk disk(package);
  ASSERT_TRUE(disk.ok());
  const MountedPackage mount(kPkgfs, disk.disk(), {"--push=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  disk.command("drop");
  disk.command("fail 0 1000000000");
  std::string text;
  EXPECT_EQ(read_file(mount / "data/d0/a-file-with-a-name-of-some-length-7", text), EIO) << "never ENOENT";
  EXPECT_EQ(read_file(mount / "data/absent", text), EIO) << "it isn't known that there is none";
  EXPECT_GT(statistics(mount).at("faults").at("read"), 0);
  disk.command("heal");
  std::this_thread::sleep_for(kAfterPause);
  EXPECT_EQ(read_file(mount / "data/absent", text), ENOENT);
  EXPECT_EQ(read_all(mount, files, "healed"), 0U);
  EXPECT_FALSE(statistics(mount).contains("changed"));
}

TEST_F(DiskFaults, NamesOfAMergedDirectoryAreReadAgain) {
  const fs::path package = dir_.path() / "known.webc";
  const Files files = write_package(package, 4, 200, 10);
  const FaultyDisk disk(package);
  ASSERT_TRUE(disk.ok());
  const MountedPackage mount(kPkgfs, disk.disk(), {"--push=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string known = "data/d1/a-file-with-a-name-of-some-length-";
  struct stat status{};
  ASSERT_EQ(::stat((mount / (known + "1")).c_str(), &status), 0);  // merges the directory
  disk.command("drop");
  disk.command("fail 0 1000000000");
  EXPECT_NE(::stat((mount / (known + "2")).c_str(), &status), 0);
  EXPECT_EQ(errno, EIO) << "its name can't be compared";
  disk.command("heal");
  std::this_thread::sleep_for(kAfterPause);
  EXPECT_EQ(::stat((mount / (known + "2")).c_str(), &status), 0);
  EXPECT_NE(::stat((mount / (known + "absent")).c_str(), &status), 0);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(read_all(mount, files, "healed"), 0U);
}

/// What another program does to the file of a mounted package.
enum class Harm { kTruncate, kRegrow, kOverwrite, kReplace, kUnlink };

std::string name_of(Harm harm) {
  switch (harm) {
    case Harm::kTruncate:
      return "Truncated";
    case Harm::kRegrow:
      return "TruncatedAndGrownAgain";
    case Harm::kOverwrite:
      return "Overwritten";
    case Harm::kReplace:
      return "Replaced";
    case Harm::kUnlink:
      return "Unlinked";
  }
  return "";
}

void do_harm(Harm harm, const fs::path& package, const fs::path& other) {
  const auto size = static_cast<off_t>(fs::file_size(package));
  switch (harm) {
    case Harm::kTruncate:
    case Harm::kRegrow:
      ASSERT_EQ(::truncate(package.c_str(), 100), 0);
      if (harm == Harm::kRegrow) {
        ASSERT_EQ(::truncate(package.c_str(), size), 0);
      }
      break;
    case Harm::kOverwrite: {
      const UniqueFd fd(::open(package.c_str(), O_WRONLY | O_CLOEXEC));
      const std::string bytes(static_cast<std::size_t>(size), 'z');
      ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), 0), size);
      break;
    }
    case Harm::kReplace:
      fs::copy_file(other, package.string() + ".new");
      fs::rename(package.string() + ".new", package);
      break;
    case Harm::kUnlink:
      fs::remove(package);
      break;
  }
}

class ContainerIs : public DiskFaults, public ::testing::WithParamInterface<Harm> {};

TEST_P(ContainerIs, AtAnyMomentReadersGetItsBytesOrEio) {
  const fs::path package = dir_.path() / "known.webc";
  const fs::path original = dir_.path() / "original.webc";
  const Files files = write_package(original, 16, 60, 2000);
  write_package(dir_.path() / "other.webc", 3, 5, 100);
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  const std::uint64_t rounds = number_from_environment("PKGFS_TEST_ROUNDS", 6);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    fs::remove(package);
    fs::copy_file(original, package);
    const MountedPackage mount(kPkgfs, package);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    std::atomic<unsigned> failed{0};
    std::thread reader([&] { failed = read_all(mount, files, "round " + std::to_string(round)); });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60000));
    do_harm(GetParam(), package, dir_.path() / "other.webc");
    reader.join();
    const bool keeps_bytes = GetParam() == Harm::kReplace || GetParam() == Harm::kUnlink;
    if (keeps_bytes) {
      EXPECT_EQ(failed, 0U);
    } else {
      EXPECT_TRUE(statistics(mount).contains("changed"));
      const ProcessResult listed = run({kPkgfs, "mounts"});
      EXPECT_NE(listed.out.find(mount.path().string() + " (changed)"), std::string::npos) << listed.describe();
    }
    EXPECT_EQ(read_all(mount, files, "afterwards") > 0, failed > 0 || (!keeps_bytes && failed > 0));
    for (int i = 0; i < 20; ++i) {
      struct stat status{};
      EXPECT_NE(::stat((mount / ("data/d3/absent" + std::to_string(i))).c_str(), &status), 0);
      EXPECT_EQ(errno, keeps_bytes ? ENOENT : EIO);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, ContainerIs,
                         ::testing::Values(Harm::kTruncate, Harm::kRegrow, Harm::kOverwrite, Harm::kReplace,
                                           Harm::kUnlink),
                         [](const auto& harm) { return name_of(harm.param); });

TEST_F(DiskFaults, ACheckedFileIsCheckedAgainAfterItsContainerWasTouched) {
  const fs::path package = dir_.path() / "known.webc";
  const Files files = write_package(package, 1, 2, 50000);
  const MountedPackage mount(kPkgfs, package, {"--verify=read"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ASSERT_EQ(read_all(mount, files, "at first"), 0U);
  struct stat before{};
  ASSERT_EQ(::stat(package.c_str(), &before), 0);
  {
    std::string bytes = read_text(package);
    const std::size_t at = bytes.find(files.begin()->second);
    ASSERT_NE(at, std::string::npos);
    const UniqueFd fd(::open(package.c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::pwrite(fd.get(), "#", 1, static_cast<off_t>(at)), 1);
    const std::array<timespec, 2> times{timespec{0, UTIME_OMIT}, before.st_mtim};  // as if nothing had changed
    ASSERT_EQ(::futimens(fd.get(), times.data()), 0);
  }
  std::string text;
  EXPECT_EQ(read_file(mount / files.begin()->first, text), EIO);
  EXPECT_EQ(read_file(mount / std::next(files.begin())->first, text), 0);
  EXPECT_EQ(statistics(mount).at("faults").at("checksum"), 1);
}

}  // namespace
}  // namespace pkgfs::test
