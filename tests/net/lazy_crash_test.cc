// SPDX-License-Identifier: MIT
// Risk: a daemon that is killed leaves wrong bytes or blocks other mounts, or many mounts of a dead server hang.
//
// Each of these environment variables makes a test longer: PKGFS_LAZY_KILLS (12), PKGFS_LAZY_MOUNTS (12).
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "core/base/private_directory.h"
#include "core/lazy/sparse_file.h"
#include "tests/net/lazy_status.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Kind = Fault::Kind;
using Where = Fault::Where;
using namespace std::chrono_literals;

unsigned number_of(const char* variable, unsigned usual) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? usual : static_cast<unsigned>(std::stoul(text));
}

class LazyCrash : public LazyStatus {
 protected:
  [[nodiscard]] std::shared_ptr<SparseFile> sparse_file() const {
    const auto directory = PrivateDirectory::find((checkouts() / "__temp__").string());
    return directory ? SparseFile::find(*directory, server_->sha256(kPackage)) : nullptr;
  }
  /// Every block that is marked has the bytes of the container. Returns how many are marked.
  std::uint64_t expect_marked_blocks_right() const {
    const auto file = sparse_file();
    const std::string right = read_text(container_);
    std::uint64_t marked = 0;
    for (std::uint64_t block = 0; file != nullptr && block < file->blocks(); ++block) {
      if (!file->has(BlockRange{block, 1})) {
        continue;
      }
      ++marked;
      std::string bytes(std::min(SparseFile::kBlock, file->size() - block * SparseFile::kBlock), '\0');
      EXPECT_EQ(::pread(file->fd(), bytes.data(), bytes.size(), static_cast<off_t>(block * SparseFile::kBlock)),
                static_cast<ssize_t>(bytes.size()));
      EXPECT_TRUE(bytes == right.substr(block * SparseFile::kBlock, bytes.size())) << "block " << block;
    }
    return marked;
  }
  void expect_all_right(const MountedPackage& mounted) const {
    for (unsigned i = 0; i < 10; ++i) {
      EXPECT_TRUE(read_text(mounted / ("small" + std::to_string(i))) == random_text(20 * 1024, i)) << i;
    }
    EXPECT_TRUE(read_text(mounted / "t-large") == random_text(6 * kMiB, 100));
    EXPECT_TRUE(read_text(mounted / "u-rest") == random_text(3 * kMiB, 101));
  }
  static void kill(const MountedPackage& mounted) {
    ::kill(mounted.daemon(), SIGKILL);
    EXPECT_TRUE(eventually([&] { return processes_with(mounted.path()).empty(); }));
    force_unmount(mounted.path());
  }
};

TEST_F(LazyCrash, ADaemonKilledAtAnyMomentLeavesOnlyRightBlocks) {
  const unsigned runs = number_of("PKGFS_LAZY_KILLS", 12);
  std::minstd_rand random(3);
  server_->set_fault({.kind = Kind::kPlain, .where = Where::kFiles, .rate = 8 * kMiB});
  std::uint64_t most = 0;
  for (unsigned run = 0; run < runs; ++run) {
    {
      const auto mounted = mount({"--keeper=off"});
      ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
      Process reader({"cat", *mounted / (run % 2 == 0 ? "t-large" : "u-rest")});
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 150));
      kill(*mounted);
    }
    if (fs::exists(entry_path())) {
      expect_right_entry();
      fs::remove(entry_path());
    }
    most = std::max(most, expect_marked_blocks_right());
  }
  EXPECT_GT(most, 2U);
  server_->clear_faults();
  const auto mounted = mount();
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  expect_all_right(*mounted);
}

TEST_F(LazyCrash, OneOfTwoDaemonsIsKilledWhileTheyShareAFile) {
  server_->set_fault({.kind = Kind::kPlain, .where = Where::kFiles, .rate = 4 * kMiB});
  const auto one = mount({"--keeper=off"});
  const auto two = mount();
  ASSERT_TRUE(one->ok() && two->ok()) << two->result().describe();
  std::thread reader([&] { EXPECT_TRUE(read_text(*two / "t-large") == random_text(6 * kMiB, 100)); });
  std::this_thread::sleep_for(200ms);
  kill(*one);
  reader.join();
  server_->clear_faults();
  expect_all_right(*two);
  EXPECT_TRUE(wait_for(*two, {"--timeout=20"}).ok());
  expect_right_entry();
}

TEST_F(LazyCrash, PruneDuringUseHarmsNothing) {
  server_->set_fault({.kind = Kind::kPlain, .where = Where::kFiles, .rate = 4 * kMiB});
  const auto mounted = mount();
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  std::atomic<bool> done{false};
  std::thread prune([&] {
    while (!done) {
      EXPECT_TRUE(pkgfs({"cache", "prune"}).ok());
    }
  });
  expect_all_right(*mounted);
  server_->clear_faults();
  EXPECT_TRUE(wait_for(*mounted, {"--timeout=20"}).ok());
  done = true;
  prune.join();
  expect_all_right(*mounted);
}

TEST_F(LazyCrash, AnotherDaemonThatForgetsBlocksIsNoticed) {
  // Two daemons have the small files, and checked them. Then one of them forgets a block, as after wrong bytes.
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_TRUE(read_text(*mounted / "t-large") == random_text(6 * kMiB, 100));
  const auto file = sparse_file();
  ASSERT_NE(file, nullptr);
  const std::uint64_t middle = file->size() / 2;
  file->mark_missing(SparseFile::blocks_of(middle, 1));
  server_->set_fault({.kind = Kind::kWrongBytes, .where = Where::kFiles});
  EXPECT_TRUE(run({"dd", "if=" + *mounted / "t-large", "of=/dev/null", "bs=64K", "iflag=direct"}).exit_code != 0)
      << "wrong bytes came in place of those that were checked";
  server_->clear_faults();
  EXPECT_TRUE(eventually([&] { return read_text(*mounted / "t-large") == random_text(6 * kMiB, 100); }, 20s));
}

TEST_F(LazyCrash, ManyMountsOfADeadServerAnswer) {
  const unsigned count = number_of("PKGFS_LAZY_MOUNTS", 12);
  std::vector<std::unique_ptr<MountedPackage>> mounts;
  for (unsigned i = 0; i < count; ++i) {
    mounts.push_back(mount({"--background=auto", "--timeout=2"}));
    ASSERT_TRUE(mounts.back()->ok()) << mounts.back()->result().describe();
    if (i == 0) {
      server_->set_fault({.kind = Kind::kPlain, .where = Where::kFiles, .rate = 64 * 1024});  // so that it stays lazy
    }
  }
  server_->stop();
  std::vector<std::unique_ptr<Process>> readers;
  for (const auto& mounted : mounts) {
    readers.push_back(std::make_unique<Process>(Arguments{"cat", *mounted / "u-rest"}));
  }
  const auto begun = std::chrono::steady_clock::now();
  for (const auto& mounted : mounts) {
    const ProcessResult listed = run({"ls", "-l", mounted->path()}, {.timeout = 10s});
    EXPECT_TRUE(listed.ok()) << listed.describe();
    EXPECT_NE(listed.out.find("u-rest"), std::string::npos);
  }
  RecordProperty("ls_ms", static_cast<int>((std::chrono::steady_clock::now() - begun) / 1ms));
  for (const auto& reader : readers) {
    EXPECT_TRUE(reader->ends_within(20s)) << "its time is over";
  }
  const auto ticks = [&] {
    long sum = 0;
    for (const auto& mounted : mounts) {
      std::istringstream fields(process_status("/proc/" + std::to_string(mounted->daemon())));
      std::string skipped;
      for (int i = 0; i < 11; ++i) {  // to the 14th field: times in user mode and in the kernel
        fields >> skipped;
      }
      long user = 0;
      long kernel = 0;
      fields >> user >> kernel;
      sum += user + kernel;
    }
    return sum;
  };
  const long before = ticks();
  std::this_thread::sleep_for(2s);
  const long used = ticks() - before;
  RecordProperty("ticks_in_two_seconds", static_cast<int>(used));
  EXPECT_LT(used, static_cast<long>(10 + 2 * count)) << "a hundredth of a CPU for each mount at rest";
}

}  // namespace
}  // namespace pkgfs::test
