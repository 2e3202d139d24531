// SPDX-License-Identifier: MIT
// Risk: programs that wait for a disk that doesn't answer can't be ended, keep others waiting, or keep the mount busy.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include "tests/mounted/lifecycle.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr unsigned kFiles = 40;
constexpr std::size_t kSize = 100'000;
/// The threads of a mount that aren't stuck, by default on the largest machine; and readers for those and ten more.
constexpr unsigned kMostThreads = 16;
constexpr unsigned kManyReaders = kMostThreads + 14;

std::string stalled_content(std::size_t number) {
  std::string text;
  while (text.size() < kSize) {
    text += "file " + std::to_string(number) + " at " + std::to_string(text.size()) + "\n";
  }
  return text;
}

std::string stalled_name(std::size_t number) { return "data/f" + std::to_string(100 + number); }

std::size_t threads_of(pid_t process) {
  const fs::directory_iterator tasks("/proc/" + std::to_string(process) + "/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

/// A package on a mount whose daemon can be stopped: a disk that doesn't answer.
class Stalled : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (every_mount_has("--io-uring=on")) {
      GTEST_SKIP() << "with io_uring, requests can't be interrupted";
    }
  }
  ~Stalled() override { go_on(); }

  void mount(const Arguments& options = {}, unsigned empty_files = 0) {
    PackageBuilder inner("acme/inner@1.0.0");
    inner.mount("/data", "data");
    for (unsigned i = 0; i < kFiles; ++i) {
      inner.file("data", stalled_name(i).substr(5), stalled_content(i));
    }
    for (unsigned i = 0; i < empty_files; ++i) {
      const std::string directory = std::to_string(1000 + i / 100);
      inner.file("data",
                 "d" + directory + "/a file with a long name in directory " + directory + " " + std::to_string(i), "");
    }
    inner.write(dir_.path() / "inner.webc");
    bytes_ = read_text(dir_.path() / "inner.webc");
    PackageBuilder outer("acme/outer@1.0.0");
    outer.mount("/disk", "disk").file("disk", "inner.webc", bytes_);
    outer.write(dir_.path() / "outer.webc");
    disk_.emplace(kPkgfs, dir_.path() / "outer.webc");
    ASSERT_TRUE(disk_->ok()) << disk_->result().describe();
    mount_.emplace(kPkgfs, *disk_ / "disk/inner.webc", options);
    ASSERT_TRUE(mount_->ok()) << mount_->result().describe();
    for (const auto& entry : fs::directory_iterator(*mount_ / "data")) {
      static_cast<void>(entry.last_write_time());
    }
    daemon_ = mount_->daemon();
  }
  /// From now on, only file `in_memory` can be read.
  void stall(unsigned in_memory = kFiles - 1) {
    sleep_ms(100);  // what was prefetched, if anything, is in the kernel
    const UniqueFd backing(::open((*disk_ / "disk/inner.webc").c_str(), O_RDONLY | O_CLOEXEC));
    ::posix_fadvise(backing.get(), 0, 0, POSIX_FADV_DONTNEED);
    ::posix_fadvise(backing.get(), 0, 0, POSIX_FADV_RANDOM);
    std::string text = stalled_content(in_memory);
    const std::size_t at = bytes_.find(text);
    ASSERT_NE(at, std::string::npos);
    ASSERT_EQ(::pread(backing.get(), text.data(), text.size(), static_cast<off_t>(at)),
              static_cast<ssize_t>(text.size()));
    stopped_ = disk_->daemon();
    ::kill(stopped_, SIGSTOP);
  }
  void go_on() {
    if (stopped_ > 0) {
      ::kill(stopped_, SIGCONT);
    }
  }
  void start_readers(unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
      readers_.push_back(std::make_unique<Process>(Arguments{"sha256sum", *mount_ / stalled_name(readers_.size())}));
    }
    EXPECT_FALSE(readers_.back()->ends_within(milliseconds(500))) << "nothing hangs: the test shows nothing";
  }
  /// Each of them is a request.
  void expect_that_others_go_on() {
    for (int i = 0; i < 5; ++i) {
      const auto begin = steady_clock::now();
      const std::string absent = *mount_ / ("data/absent" + std::to_string(asked_++));
      const ProcessResult other = run({"stat", absent}, {.timeout = seconds(5)});
      EXPECT_EQ(other.exit_code, 1) << other.describe();
      EXPECT_LT(steady_clock::now() - begin, seconds(1));
    }
  }
  [[nodiscard]] Process read_in_background(unsigned number) const {
    return Process({"cat", *mount_ / stalled_name(number)});
  }
  void expect_ended(pid_t daemon) {
    EXPECT_FALSE(find_mount(mount_->path()).has_value());
    EXPECT_TRUE(eventually([&] { return !is_running(daemon); }, milliseconds(200))) << "the daemon still runs";
    for (const auto& reader : readers_) {
      EXPECT_TRUE(reader->ends_within(milliseconds(500))) << "a reader hangs";
    }
  }

  TempDir dir_;
  std::string bytes_;
  std::optional<MountedPackage> disk_;
  std::optional<MountedPackage> mount_;
  pid_t daemon_ = -1;
  pid_t stopped_ = -1;
  int asked_ = 0;
  std::vector<std::unique_ptr<Process>> readers_;
};

/// Whether a file is opened by a request, which waits for the whole file, or without one, so that READ waits.
class StalledDisk : public Stalled, public testing::WithParamInterface<const char*> {
 protected:
  void mount() {
    const std::string option = GetParam();
    Stalled::mount(option.empty() ? Arguments{} : Arguments{option});
  }
};

TEST_P(StalledDisk, ReadersCanBeEnded) {
  mount();
  ASSERT_FALSE(HasFailure());
  stall();
  start_readers(3);
  int next = 0;
  for (const int signal : {SIGTERM, SIGINT, SIGKILL}) {
    readers_[static_cast<std::size_t>(next)]->signal(signal);
    EXPECT_TRUE(readers_[static_cast<std::size_t>(next)]->ends_within(seconds(1))) << "signal " << signal;
    ++next;
  }
  const ProcessResult result = mount_->unmount();
  EXPECT_TRUE(result.ok()) << result.describe();
  expect_ended(daemon_);
}

TEST_P(StalledDisk, HoldsUpNobodyElseHoweverManyWait) {
  mount();
  ASSERT_FALSE(HasFailure());
  const MountedPackage other(kPkgfs, single("basic-v3"));
  ASSERT_TRUE(other.ok()) << other.result().describe();
  const std::size_t before = threads_of(daemon_);
  stall();
  start_readers(kManyReaders);
  expect_that_others_go_on();
  EXPECT_GT(threads_of(daemon_), before + kMostThreads)
      << "not more wait than there are threads: the test shows nothing";
  Process warm({"sha256sum", *mount_ / stalled_name(kFiles - 1)});
  EXPECT_TRUE(warm.ends_within(seconds(2))) << "a file in memory can't be read";
  EXPECT_TRUE(run({"ls", "-lR", mount_->path()}, {.timeout = seconds(2)}).ok());
  EXPECT_TRUE(run({"cp", "-r", other / "data", dir_.path() / "copy"}, {.timeout = seconds(5)}).ok());
  // Killed readers leave nothing that others wait for.
  for (std::size_t i = 0; i < readers_.size() / 2; ++i) {
    readers_[i]->signal(SIGTERM);
  }
  for (std::size_t i = 0; i < readers_.size() / 2; ++i) {
    EXPECT_TRUE(readers_[i]->ends_within(seconds(1)));
  }
  expect_that_others_go_on();
  go_on();
  for (std::size_t i = readers_.size() / 2; i < readers_.size(); ++i) {
    EXPECT_TRUE(readers_[i]->wait().ok()) << readers_[i]->wait().describe();
  }
  for (unsigned i = 0; i < kFiles; ++i) {
    ASSERT_EQ(read_text(*mount_ / stalled_name(i)), stalled_content(i)) << i;
  }
  EXPECT_TRUE(eventually([&] { return threads_of(daemon_) <= before + kMostThreads; })) << threads_of(daemon_);
}

TEST_P(StalledDisk, SigtermEndsTheMountSoon) {
  mount();
  ASSERT_FALSE(HasFailure());
  stall();
  start_readers(10);
  const auto begin = steady_clock::now();
  ::kill(daemon_, SIGTERM);
  EXPECT_TRUE(eventually([&] { return !find_mount(mount_->path()) && !is_running(daemon_); }, seconds(2)));
  EXPECT_LT(steady_clock::now() - begin, seconds(2));
  expect_ended(daemon_);
}

TEST_P(StalledDisk, UnmountNeedsNoAnswerOfTheDisk) {
  mount();
  ASSERT_FALSE(HasFailure());
  stall();
  start_readers(10);
  auto begin = steady_clock::now();
  const ProcessResult busy = run({kPkgfs, "unmount", mount_->path()}, {.timeout = seconds(10)});
  EXPECT_EQ(busy.exit_code, 9) << busy.describe();
  EXPECT_LT(steady_clock::now() - begin, seconds(2));
  begin = steady_clock::now();
  const ProcessResult lazy = run({kPkgfs, "unmount", "--lazy", mount_->path()}, {.timeout = seconds(10)});
  EXPECT_TRUE(lazy.ok()) << lazy.describe();
  EXPECT_LT(steady_clock::now() - begin, seconds(2));
  EXPECT_FALSE(find_mount(mount_->path()).has_value());
  for (const auto& reader : readers_) {
    reader->signal(SIGTERM);
  }
  // A loaded machine needs longer than the two seconds that the daemon gives a request.
  EXPECT_TRUE(eventually([&] { return !is_running(daemon_); }, seconds(15))) << "it still runs after the last use";
  expect_ended(daemon_);
}

TEST_F(Stalled, ASignalHandlerRunsWhileAnOpenWaits) {
  mount({"--verify=read"});
  ASSERT_FALSE(HasFailure());
  stall();
  const std::string script =
      "import os, signal, sys\n"
      "signal.signal(signal.SIGALRM, lambda *_: os._exit(7))\n"
      "signal.alarm(1)\n"
      "open(sys.argv[1])\n";
  const ProcessResult result =
      run({"/usr/bin/python3", "-c", script, *mount_ / stalled_name(0)}, {.timeout = seconds(5)});
  EXPECT_EQ(result.exit_code, 7) << result.describe();
}

TEST_F(Stalled, AProgramThatMapsAFileCanBeEnded) {
  mount();
  ASSERT_FALSE(HasFailure());
  stall();
  const std::string script =
      "import mmap, os, sys\n"
      "file = os.open(sys.argv[1], os.O_RDONLY)\n"
      "os.write(1, mmap.mmap(file, 0, prot=mmap.PROT_READ)[:1])\n";
  const Process reader({"/usr/bin/python3", "-c", script, *mount_ / stalled_name(0)});
  ASSERT_FALSE(reader.ends_within(milliseconds(500))) << "nothing hangs: the test shows nothing";
  reader.signal(SIGTERM);
  EXPECT_TRUE(reader.ends_within(seconds(1)));
}

TEST_F(Stalled, AListingCanBeEnded) {
  mount({}, 20'000);
  ASSERT_FALSE(HasFailure());
  stall();
  std::vector<std::unique_ptr<Process>> listings;
  for (int directory = 1010; directory < 1200; directory += 9) {
    listings.push_back(std::make_unique<Process>(Arguments{"ls", *mount_ / ("data/d" + std::to_string(directory))}));
  }
  sleep_ms(1000);
  unsigned waited = 0;
  for (const auto& listing : listings) {
    if (!listing->ends_within(milliseconds(0))) {
      ++waited;
      listing->signal(SIGTERM);
      EXPECT_TRUE(listing->ends_within(seconds(1)));
    }
  }
  expect_that_others_go_on();
  if (waited == 0) {
    GTEST_SKIP() << "all that the listings need was in memory";
  }
}

INSTANTIATE_TEST_SUITE_P(Opens, StalledDisk, testing::Values("", "--verify=read"),
                         [](const auto& option) { return *option.param == '\0' ? "Read" : "Verify"; });

}  // namespace
}  // namespace pkgfs::test
