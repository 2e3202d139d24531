// SPDX-License-Identifier: MIT
// Risk: a lazy mount shows wrong bytes, waits for the network where it mustn't, hangs when a server misbehaves, fetches
// too much, or doesn't become an ordinary local mount.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <thread>

#include <nlohmann/json.hpp>

#include "tests/net/net.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Kind = Fault::Kind;
using Where = Fault::Where;
using namespace std::chrono_literals;

constexpr std::size_t kMiB = std::size_t{1} << 20U;

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(text.data() + i, &word, std::min<std::size_t>(8, size - i));
  }
  return text;
}

/// A package of 24 MiB: 200 files of 20 KiB, one of 4 MiB that a checksum covers before the first byte is given, and
/// one of 16 MiB.
class LazyTest : public NetTest {
 protected:
  static constexpr std::size_t kSmallFiles = 200;

  void SetUp() override {
    NetTest::SetUp();
    if (const std::string why = fuse_missing(); !why.empty()) {
      GTEST_SKIP() << why;
    }
    PackageBuilder builder("acme/big@1.0.0");
    for (std::size_t i = 0; i < kSmallFiles; ++i) {
      builder.file("data", name_of(i), content_of(i));
    }
    builder.file("data", "middle", middle_);
    builder.file("data", "zz-large", large_);
    builder.mount("/", "data");
    const fs::path path = home_.path() / "big.webc";
    builder.write(path);
    server_ = std::make_unique<TestRegistry>(std::vector<fs::path>{path});
  }

  static std::string name_of(std::size_t i) { return "d" + std::to_string(i / 20) + "/f" + std::to_string(i % 20); }
  static std::string content_of(std::size_t i) { return noise(20 * 1024, static_cast<unsigned>(i)); }

  [[nodiscard]] std::unique_ptr<MountedPackage> mount(Arguments options = {}) const {
    options.insert(options.begin(), {"--registry", server_->endpoint(), "--lazy=auto", "--timeout", "3"});
    return std::make_unique<MountedPackage>(kPkgfs, "acme/big@1.0.0", options,
                                            ProcessOptions{.environment = environment()});
  }
  [[nodiscard]] fs::path entry_path() const { return entry(server_->sha256("acme/big@1.0.0")); }
  [[nodiscard]] bool becomes_whole(std::chrono::milliseconds limit = 15s) const {
    return eventually([&] { return fs::exists(entry_path()); }, limit);
  }
  /// Body bytes that the server sent of files.
  [[nodiscard]] std::uint64_t sent() const {
    std::uint64_t sum = 0;
    for (const auto& request : server_->requests()) {
      sum += request.is_file() ? request.sent : 0;
    }
    return sum;
  }
  /// The errno of a read of the file's first bytes; 0 if they could be read.
  static int read_error(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char byte = 0;
    return !fd || ::pread(fd.get(), &byte, 1, 0) < 0 ? errno : 0;
  }
  void expect_all_right(const MountedPackage& mount) const {
    for (std::size_t i = 0; i < kSmallFiles; ++i) {
      ASSERT_EQ(read_text(mount / name_of(i)), content_of(i)) << name_of(i);
    }
    EXPECT_TRUE(read_text(mount / "middle") == middle_);
    EXPECT_TRUE(read_text(mount / "zz-large") == large_);
  }

  std::string middle_ = noise(4 * kMiB, 1001);
  std::string large_ = noise(16 * kMiB, 1002);
  std::unique_ptr<TestRegistry> server_;
};

TEST_F(LazyTest, MountsAndListsWithoutFetchingFiles) {
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  std::size_t entries = 0;
  for (const auto& each : fs::recursive_directory_iterator(mounted->path())) {
    entries += each.is_regular_file() && each.file_size() > 0 ? 1 : 0;
  }
  EXPECT_EQ(entries, kSmallFiles + 2);
  EXPECT_LT(sent(), 256U << 10U);
  EXPECT_FALSE(fs::exists(entry_path()));

  EXPECT_EQ(read_text(*mounted / name_of(57)), content_of(57));
  EXPECT_LT(sent(), 512U << 10U);
}

TEST_F(LazyTest, BecomesAnOrdinaryLocalMount) {
  const auto mounted = mount();
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_EQ(read_text(*mounted / name_of(3)), content_of(3));
  ASSERT_TRUE(becomes_whole());
  EXPECT_EQ(fs::status(entry_path()).permissions(),
            fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read);
  EXPECT_EQ(to_hex(sha256(read_text(entry_path()))), server_->sha256("acme/big@1.0.0"));
  EXPECT_TRUE(eventually([&] { return litter().empty(); })) << ::testing::PrintToString(litter());
  EXPECT_LT(sent(), fs::file_size(entry_path()) * 21 / 20);

  server_->stop();
  expect_all_right(*mounted);
  const auto second = mount({"--offline"});
  ASSERT_TRUE(second->ok()) << second->result().describe();
  expect_all_right(*second);
}

TEST_F(LazyTest, EverythingThatIsReadIsRight) {
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  expect_all_right(*mounted);
  EXPECT_LT(sent(), 25 * kMiB);
  ASSERT_TRUE(becomes_whole()) << "all blocks were read";
}

TEST_F(LazyTest, ManyReadersFetchEachBlockOnce) {
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  std::vector<std::thread> readers;
  std::atomic<int> wrong{0};
  for (unsigned reader = 0; reader < 50; ++reader) {
    readers.emplace_back([&, reader] {
      std::mt19937 random(reader);
      for (int i = 0; i < 40; ++i) {
        const std::size_t file = random() % kSmallFiles;
        wrong += read_text(*mounted / name_of(file)) == content_of(file) ? 0 : 1;
      }
    });
  }
  for (std::thread& reader : readers) {
    reader.join();
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_LT(sent(), (kSmallFiles * 20 + 1024) * 1024U + 4 * kMiB);
}

TEST_F(LazyTest, AServerThatIsGoneFailsReadsAndNothingElse) {
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_EQ(read_text(*mounted / name_of(0)), content_of(0));
  server_->stop();
  EXPECT_EQ(read_text(*mounted / name_of(0)), content_of(0));
  const auto begin = std::chrono::steady_clock::now();
  std::atomic<int> failed{0};
  std::vector<std::thread> readers;
  for (std::size_t i = 100; i < 200; ++i) {
    readers.emplace_back([&, i] { failed += read_error(*mounted / name_of(i)) == EIO ? 1 : 0; });
  }
  EXPECT_TRUE(eventually([&] { return shell("find '" + mounted->path().string() + "' -ls").ok(); }, 2s));
  for (std::thread& reader : readers) {
    reader.join();
  }
  EXPECT_EQ(failed, 100);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
  // Once it is known, no further reader waits for the whole time.
  const auto again = std::chrono::steady_clock::now();
  EXPECT_EQ(read_error(*mounted / name_of(60)), EIO);
  EXPECT_LT(std::chrono::steady_clock::now() - again, 2500ms);

  server_->start();
  EXPECT_TRUE(eventually([&] { return read_error(*mounted / name_of(60)) == 0; }, 10s));
  expect_all_right(*mounted);
}

TEST_F(LazyTest, AShortOutageCostsOnlyTime) {
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  server_->stop();
  std::thread back([&] {
    std::this_thread::sleep_for(1s);
    server_->start();
  });
  EXPECT_EQ(read_text(*mounted / name_of(150)), content_of(150));
  back.join();
}

TEST_F(LazyTest, AReaderThatWaitsCanBeKilledAndTheMountEnds) {
  const auto mounted = mount({"--background=off", "--timeout", "30"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  server_->set_fault({.kind = Kind::kStall, .where = Where::kFiles, .after = 10});
  Process reader({"cat", *mounted / name_of(120)});
  std::this_thread::sleep_for(300ms);
  reader.signal(SIGTERM);
  EXPECT_TRUE(reader.ends_within(5s));

  std::vector<std::unique_ptr<Process>> readers;
  for (std::size_t i = 0; i < 100; ++i) {
    readers.push_back(std::make_unique<Process>(Arguments{"cat", *mounted / name_of(100 + i)}));
  }
  std::this_thread::sleep_for(300ms);
  const pid_t daemon = mounted->daemon();
  const auto begun = std::chrono::steady_clock::now();
  ::kill(daemon, SIGTERM);
  EXPECT_TRUE(eventually([&] { return !is_running(daemon); }, 10s));
  const auto took = std::chrono::steady_clock::now() - begun;
  RecordProperty("end_ms", static_cast<int>(took / 1ms));
  EXPECT_LT(took, 3s) << "a second on a machine at rest";
  for (const auto& each : readers) {
    EXPECT_TRUE(each->ends_within(5s));
  }
}

TEST_F(LazyTest, WrongBytesInAFileFailThatFileOnly) {
  // The middle of the container is in the large file.
  server_->set_fault({.kind = Kind::kWrongBytes, .where = Where::kFiles});
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  for (std::size_t i = 0; i < kSmallFiles; ++i) {
    ASSERT_EQ(read_text(*mounted / name_of(i)), content_of(i)) << name_of(i);
  }
  EXPECT_FALSE(shell("cat '" + (*mounted / "zz-large") + "' > /dev/null").ok());
  server_->clear_faults();
  EXPECT_TRUE(eventually([&] { return read_text(*mounted / "zz-large") == large_; }, 10s));
  expect_all_right(*mounted);
}

TEST_F(LazyTest, WrongBytesOfASmallFileAreNeverGiven) {
  PackageBuilder builder("acme/small@1.0.0");
  builder.file("data", "file", middle_).mount("/", "data");
  const fs::path path = home_.path() / "small.webc";
  builder.write(path);
  server_->add_package(path);
  server_->set_fault({.kind = Kind::kWrongBytes, .where = Where::kFiles});
  const MountedPackage mounted(kPkgfs, "acme/small@1.0.0",
                               {"--registry", server_->endpoint(), "--lazy=on", "--background=off"},
                               ProcessOptions{.environment = environment()});
  ASSERT_TRUE(mounted.ok()) << mounted.result().describe();
  EXPECT_EQ(read_error(mounted / "file"), EIO);
}

TEST_F(LazyTest, ServersThatCannotSendPartsAreDownloadedFrom) {
  expect_download_without_parts(
      *server_, entry_path(), [&] { return mount(); },
      [&](const MountedPackage& mounted) { expect_all_right(mounted); });
}

TEST_F(LazyTest, LiesAboutRangesNeverGiveWrongBytes) {
  const std::vector<Fault> faults{{.kind = Kind::kWrongSlice, .where = Where::kFiles},
                                  {.kind = Kind::kLyingRange, .where = Where::kFiles},
                                  {.kind = Kind::kTruncate, .where = Where::kFiles, .after = 30'000},
                                  {.kind = Kind::kHtml, .where = Where::kFiles},
                                  {.kind = Kind::kStatus, .where = Where::kFiles, .status = 403},
                                  {.kind = Kind::kStatus, .where = Where::kFiles, .status = 503},
                                  {.kind = Kind::kGzip, .where = Where::kFiles},
                                  {.where = Where::kFiles, .etag = Fault::Etag::kChanges}};
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  std::size_t file = 0;
  for (const Fault& fault : faults) {
    server_->set_fault(fault);
    for (int i = 0; i < 3; ++i, file += 4) {
      const std::string path = *mounted / name_of(file);
      const ProcessResult got = shell("cat '" + path + "'");
      EXPECT_TRUE(!got.ok() || got.out == content_of(file)) << static_cast<int>(fault.kind) << " " << name_of(file);
    }
  }
  server_->clear_faults();
  EXPECT_TRUE(eventually([&] { return read_error(*mounted / name_of(199)) == 0; }, 10s));
  expect_all_right(*mounted);
}

TEST_F(LazyTest, AKilledDaemonLeavesWhatItFetched) {
  {
    const auto mounted = mount({"--background=off", "--keeper=off"});
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    EXPECT_TRUE(read_text(*mounted / "zz-large") == large_);
    ::kill(mounted->daemon(), SIGKILL);
    ASSERT_TRUE(eventually([&] { return processes_with(mounted->path()).empty(); }));
    force_unmount(mounted->path());
  }
  server_->clear_requests();
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  expect_all_right(*mounted);
  EXPECT_LT(sent(), 10 * kMiB);
}

TEST_F(LazyTest, TwoMountsShareWhatTheyFetch) {
  const auto one = mount({"--background=off"});
  const auto two = mount({"--background=off"});
  ASSERT_TRUE(one->ok() && two->ok()) << two->result().describe();
  std::thread other([&] { expect_all_right(*two); });
  expect_all_right(*one);
  other.join();
  EXPECT_LT(sent(), 26 * kMiB);
  ASSERT_TRUE(becomes_whole());
  EXPECT_TRUE(eventually([&] { return litter().empty(); })) << ::testing::PrintToString(litter());
}

TEST_F(LazyTest, AFileWithAnotherHashIsNeverKept) {
  server_->set_fault({.kind = Kind::kWrongHash, .where = Where::kGraphql});
  const auto mounted = mount();
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_TRUE(eventually([&] { return fs::is_empty(checkouts() / "__temp__"); }, 15s));
  EXPECT_EQ(read_error(*mounted / "middle"), EIO);
  EXPECT_EQ(read_error(*mounted / name_of(0)), EIO);
  EXPECT_FALSE(fs::exists(entry_path()));
}

TEST_F(LazyTest, PruneLeavesWhatAMountUses) {
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_TRUE(pkgfs({"cache", "prune", "--older-than", "0s"}).ok());
  expect_all_right(*mounted);
}

TEST_F(LazyTest, CommandsReadOnlyWhatTheyNeed) {
  const Arguments at{"--registry", server_->endpoint(), "--lazy=on"};
  const auto with = [&](Arguments words) {
    words.insert(words.end(), at.begin(), at.end());
    return pkgfs(words);
  };
  EXPECT_TRUE(with({"tree", "acme/big@1.0.0"}).ok());
  EXPECT_TRUE(with({"ls", "acme/big@1.0.0", "/d3"}).ok());
  const ProcessResult cat = with({"cat", "acme/big@1.0.0", "/" + name_of(5)});
  EXPECT_EQ(cat.out, content_of(5)) << cat.describe();
  EXPECT_LT(sent(), 1 * kMiB);
}

}  // namespace
}  // namespace pkgfs::test
