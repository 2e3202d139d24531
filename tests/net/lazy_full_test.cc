// SPDX-License-Identifier: MIT
// Risk: with a full disk, a lazy mount gives wrong bytes or none, takes ever more memory, or doesn't go on when there
// is room again.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "tests/net/lazy_status.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using namespace std::chrono_literals;

/// A file system of its own, of `size`, as long as it lives.
class SmallDisk {
 public:
  SmallDisk(fs::path where, const std::string& size) : where_(std::move(where)) {
    fs::create_directories(where_);
    is_mounted_ = ::mount("pkgfs-test", where_.c_str(), "tmpfs", 0, ("mode=755,size=" + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (is_mounted_) {
      ::umount2(where_.c_str(), MNT_DETACH);
    }
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  [[nodiscard]] bool is_mounted() const { return is_mounted_; }
  void resize(const std::string& size) const {
    EXPECT_EQ(::mount("pkgfs-test", where_.c_str(), "tmpfs", MS_REMOUNT, ("size=" + size).c_str()), 0);
  }

 private:
  fs::path where_;
  bool is_mounted_ = false;
};

/// Makes the kernel forget what it has of the files in a mount.
void forget_pages(const fs::path& mountpoint) {
  for (const auto& each : fs::directory_iterator(mountpoint)) {
    const UniqueFd fd(::open(each.path().c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_TRUE(fd && ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED) == 0);
  }
}

class LazyFull : public LazyStatus {
 protected:
  void SetUp() override {
    LazyStatus::SetUp();
    if (IsSkipped()) {
      return;
    }
    disk_ = std::make_unique<SmallDisk>(cache(), "2m");
    if (!disk_->is_mounted()) {
      GTEST_SKIP() << "no tmpfs can be mounted here";
    }
  }
  void TearDown() override {
    disk_.reset();
    LazyStatus::TearDown();
  }
  void expect_all_right(const MountedPackage& mounted) const {
    for (unsigned i = 0; i < 10; ++i) {
      EXPECT_TRUE(read_text(mounted / ("small" + std::to_string(i))) == random_text(20 * 1024, i)) << i;
    }
    EXPECT_TRUE(read_text(mounted / "t-large") == random_text(6 * kMiB, 100));
    EXPECT_TRUE(read_text(mounted / "u-rest") == random_text(3 * kMiB, 101));
  }
  [[nodiscard]] std::string problem_of(const MountedPackage& mounted) const {
    const json problem = object_of(mounted).at("lazy").at("problem");
    return problem.is_null() ? "" : problem.get<std::string>();
  }

  std::unique_ptr<SmallDisk> disk_;
};

TEST_F(LazyFull, FilesAreServedAndTheRestComesOnceThereIsRoom) {
  const auto mounted = mount();
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  expect_all_right(*mounted);
  EXPECT_TRUE(eventually([&] { return problem_of(*mounted).find("No space left on device") != std::string::npos; }))
      << problem_of(*mounted);
  EXPECT_TRUE(has(line_of(*mounted), R"(lazy \d+ %: .*No space left)")) << line_of(*mounted);
  forget_pages(mounted->path());
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] { expect_all_right(*mounted); });
  }
  for (std::thread& reader : readers) {
    reader.join();
  }
  disk_->resize("64m");
  const ProcessResult waited = wait_for(*mounted, {"--timeout=20"});
  EXPECT_TRUE(waited.ok()) << waited.describe();
  EXPECT_EQ(problem_of(*mounted), "");
  expect_right_entry();
  server_->stop();
  forget_pages(mounted->path());
  expect_all_right(*mounted);
}

TEST_F(LazyFull, OneWarningTellsThatNothingIsKeptAndOneThatItIs) {
  const fs::path where = home_.path() / "mounted";
  fs::create_directory(where);
  const MountGuard guard(where);
  const Process daemon({kPkgfs, "mount", "--foreground", "--registry", server_->endpoint(), "--lazy=auto",
                        "--background=off", kPackage, where},
                       {.environment = environment()});
  ASSERT_TRUE(eventually([&] { return find_mount(where).has_value(); }, 10s)) << daemon.err();
  for (int i = 0; i < 3; ++i) {
    for (unsigned small = 0; small < 10; ++small) {
      EXPECT_TRUE(read_text(where / ("small" + std::to_string(small))) == random_text(20 * 1024, small));
    }
    EXPECT_TRUE(read_text(where / "t-large") == random_text(6 * kMiB, 100));
    EXPECT_TRUE(read_text(where / "u-rest") == random_text(3 * kMiB, 101));
    forget_pages(where);
  }
  const auto lines_with = [&](const std::string& text) { return find_all_groups(daemon.err(), text).size(); };
  EXPECT_EQ(lines_with("the cache has no room: .*No space left on device"), 1U) << daemon.err();
  disk_->resize("64m");
  EXPECT_TRUE(eventually([&] { return lines_with("the cache has room again") == 1; }, 10s)) << daemon.err();
  EXPECT_TRUE(read_text(where / "t-large") == random_text(6 * kMiB, 100));
  EXPECT_TRUE(read_text(where / "u-rest") == random_text(3 * kMiB, 101));
  EXPECT_TRUE(eventually([&] { return fs::exists(entry_path()); }, 10s)) << "all blocks were read";
  EXPECT_EQ(lines_with("warning|WARN"), 2U) << daemon.err();
}

TEST_F(LazyFull, WrongBytesAreNotGivenFromMemoryEither) {
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_TRUE(read_text(*mounted / "u-rest") == random_text(3 * kMiB, 101)) << "the disk is full now";
  EXPECT_NE(problem_of(*mounted), "");
  // The middle of the container is in this file.
  server_->set_fault({.kind = Fault::Kind::kWrongBytes, .where = Fault::Where::kFiles});
  EXPECT_FALSE(shell("cat '" + (*mounted / "t-large") + "' > /dev/null").ok());
  EXPECT_GE(statistics(*mounted).at("lazy").at("mismatches"), 1);
  server_->clear_faults();
  EXPECT_TRUE(eventually([&] { return read_text(*mounted / "t-large") == random_text(6 * kMiB, 100); }, 10s));
}

TEST_F(LazyFull, PackagesThatNoMountUsesGoIfTheUserAllowsIt) {
  for (const char* name : {"used", "unused"}) {
    PackageBuilder builder("acme/" + std::string(name) + "@1.0.0");
    builder.file("data", "file", random_text(3 * kMiB, 200)).mount("/", "data");
    const fs::path path = home_.path() / (std::string(name) + ".webc");
    builder.write(path);
    server_->add_package(path);
  }
  disk_->resize("8m");
  const Arguments at{"--registry", server_->endpoint()};
  for (const char* name : {"acme/used", "acme/unused"}) {
    ASSERT_TRUE(pkgfs({"pull", name, "--registry", server_->endpoint()}).ok());
  }
  const MountedPackage used(kPkgfs, "acme/used", at, ProcessOptions{.environment = environment()});
  ASSERT_TRUE(used.ok()) << used.result().describe();
  const auto mounted = mount({"--cache-limit=0"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_TRUE(eventually([&] { return !fs::exists(entry(server_->sha256("acme/unused"))); }, 10s));
  EXPECT_TRUE(eventually([&] { return problem_of(*mounted) != ""; }, 10s)) << "5 MiB don't suffice";
  EXPECT_TRUE(fs::exists(entry(server_->sha256("acme/used"))));
  EXPECT_TRUE(read_text(used / "file") == random_text(3 * kMiB, 200));
  expect_all_right(*mounted);
}

TEST_F(LazyFull, AMountThatHasNoRoomForItsHeadersFailsWithOneError) {
  // The directory data come behind the atom.
  PackageBuilder builder("acme/late@1.0.0");
  builder.command("run", random_text(5 * kMiB, 400)).mount("/", "data");
  for (int i = 0; i < 3000; ++i) {
    builder.file("data", std::string(100, 'n') + std::to_string(i), "x");
  }
  const fs::path path = home_.path() / "late.webc";
  builder.write(path);
  server_->add_package(path);
  for (const auto& [package, room] : {std::pair{kPackage, "40k"}, std::pair{"acme/late", "300k"}}) {
    SCOPED_TRACE(package);
    fs::remove_all(checkouts());
    disk_->resize(room);
    const MountedPackage mounted(kPkgfs, package, {"--registry", server_->endpoint(), "--lazy=auto"},
                                 ProcessOptions{.environment = environment()});
    EXPECT_FALSE(mounted.ok());
    const ProcessResult& result = mounted.result();
    EXPECT_EQ(result.exit_code, 1) << result.describe();
    EXPECT_NE(result.err.find("No space left on device"), std::string::npos) << result.describe();
    EXPECT_EQ(result.err.find("No space left"), result.err.rfind("No space left")) << "once\n" << result.describe();
    EXPECT_NE(result.err.find(cache().string()), std::string::npos) << result.describe();
    EXPECT_EQ(result.err.find("warning"), std::string::npos) << result.describe();
  }
}

TEST_F(LazyFull, PullOfAPartFailsWithAnErrorOfTheDisk) {
  {
    const auto mounted = mount({"--background=off"});
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    EXPECT_EQ(read_text(*mounted / "small1"), random_text(20 * 1024, 1));
  }
  const ProcessResult result = pull();
  EXPECT_EQ(result.exit_code, 1) << result.describe();
  EXPECT_NE(result.err.find("No space left on device"), std::string::npos) << result.describe();
  EXPECT_TRUE(fs::exists(partial())) << "what is here is of use once there is room";
  disk_->resize("64m");
  EXPECT_TRUE(pull().ok());
  expect_right_entry();
}

/// A package with a file that is larger than the memory for blocks, and many smaller ones.
TEST_F(LazyFull, MemoryHasABound) {
  constexpr std::size_t kFiles = 30;
  constexpr std::size_t kLarge = 72;  // MiB
  const std::string noise = random_text(kMiB, 300);
  const auto mebibyte = [&](std::size_t number) {
    const std::size_t turn = (number * 7919) % kMiB;
    return noise.substr(turn) + noise.substr(0, turn);
  };
  const auto content = [&](std::size_t first, std::size_t count) {
    std::string text;
    text.reserve(count * kMiB);
    for (std::size_t i = first; i < first + count; ++i) {
      text += mebibyte(i);
    }
    return text;
  };
  PackageBuilder builder("acme/huge@1.0.0");
  for (std::size_t i = 0; i < kFiles; ++i) {
    builder.file("data", "file" + std::to_string(i), content(i * 2, 2));
  }
  builder.file("data", "zz-large", content(1000, kLarge)).mount("/", "data");
  const fs::path path = home_.path() / "huge.webc";
  builder.write(path);
  server_->add_package(path);
  const MountedPackage mounted(kPkgfs, "acme/huge",
                               {"--registry", server_->endpoint(), "--lazy=auto", "--background=off"},
                               ProcessOptions{.environment = environment()});
  ASSERT_TRUE(mounted.ok()) << mounted.result().describe();
  const fs::path status = "/proc/" + std::to_string(mounted.daemon()) + "/status";
  std::atomic<long> most{0};  // KiB
  std::atomic<bool> done{false};
  std::thread watch([&] {
    while (!done) {
      if (const Groups found = find_groups(read_text(status), R"(RssAnon:\s+(\d+) kB)"); !found.empty()) {
        most = std::max<long>(most, std::stol(found.at(1)));
      }
      std::this_thread::sleep_for(5ms);
    }
  });
  std::vector<std::thread> readers;
  std::atomic<int> wrong{0};
  for (std::size_t reader = 0; reader < 4; ++reader) {
    readers.emplace_back([&, reader] {
      for (std::size_t i = reader; i < kFiles; i += 4) {
        wrong += read_text(mounted / ("file" + std::to_string(i))) == content(i * 2, 2) ? 0 : 1;
      }
    });
  }
  wrong += read_text(mounted / "zz-large") == content(1000, kLarge) ? 0 : 1;
  for (std::thread& reader : readers) {
    reader.join();
  }
  done = true;
  watch.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(most, 0);
  RecordProperty("most_kib", static_cast<int>(most));
  EXPECT_LT(most, (64 + 24) * 1024);
}

}  // namespace
}  // namespace pkgfs::test
