// SPDX-License-Identifier: MIT
// Risk: after a takeover, a thread that searches for packages answers requests in the place of server threads.
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/vfs/served_file_system.h"
#include "fuse/shared_state.h"
#include "tests/unit/fuse/servers_fixture.h"

namespace pkgfs::fuse {
namespace {

constexpr vfs::Inode kTreeRoot = 1;
constexpr vfs::Inode kTreeDirectory = vfs::Inode{1} << 31U;
constexpr vfs::Inode kTreeFile = kTreeDirectory | 1U;
// As a ServedFileSystem numbers them in its first slot.
constexpr std::uint64_t kDirectory = std::uint64_t{1} << 63U | std::uint64_t{1} << 25U;
constexpr std::uint64_t kFile = kDirectory | 1U;
constexpr std::uint64_t kRoot = 3;

/// What was asked of a tree: by which thread, and whether that noted a request in flight.
struct Asked {
  explicit Asked(Statistics& all) : statistics(all) {}
  void note() {
    const MutexLock lock(mutex);
    ++count;
    by_searcher = by_searcher || std::this_thread::get_id() == searcher;
    noted = noted && !statistics.state().in_flight().empty();
  }

  Statistics& statistics;
  std::thread::id searcher = std::this_thread::get_id();
  Mutex mutex;
  int count PKGFS_GUARDED_BY(mutex) = 0;
  bool by_searcher PKGFS_GUARDED_BY(mutex) = false;
  bool noted PKGFS_GUARDED_BY(mutex) = true;
};

/// A root with a directory "dir" that has a file "file".
class AskedTree final : public vfs::FileSystem {
 public:
  explicit AskedTree(Asked& asked) : asked_(asked) {}
  [[nodiscard]] vfs::Inode root() const override { return kTreeRoot; }
  [[nodiscard]] Result<vfs::Entry> lookup(vfs::Inode dir, std::string_view name) override {
    asked_.note();
    const vfs::Inode found = dir == kTreeRoot && name == "dir"         ? kTreeDirectory
                             : dir == kTreeDirectory && name == "file" ? kTreeFile
                                                                       : 0;
    return found == 0 ? Result<vfs::Entry>(fail(ENOENT)) : vfs::Entry{found, attributes_of(found)};
  }
  [[nodiscard]] Result<vfs::Attributes> metadata(vfs::Inode inode) override {
    if (inode != kTreeRoot) {  // that is asked for when it is opened
      asked_.note();
    }
    return attributes_of(inode);
  }
  [[nodiscard]] Result<void> read_dir(vfs::Inode, std::uint64_t, FunctionRef<bool(const vfs::DirEntry&)>) override {
    asked_.note();
    return {};
  }
  [[nodiscard]] Result<std::string_view> read_link(vfs::Inode) override { return fail(EINVAL); }
  [[nodiscard]] Result<std::unique_ptr<vfs::OpenFile>> open(vfs::Inode) override { return fail(EIO); }
  [[nodiscard]] Result<vfs::Extent> extent(vfs::Inode) override {
    asked_.note();
    return vfs::Extent{bytes_.get(), {0, 1}};
  }
  [[nodiscard]] bool is_immutable() const override { return true; }
  [[nodiscard]] std::uint64_t fingerprint() const override { return 7; }

 private:
  static vfs::Attributes attributes_of(vfs::Inode inode) {
    return {.type = inode == kTreeFile ? vfs::FileType::kFile : vfs::FileType::kDirectory, .size = 1, .number = inode};
  }

  Asked& asked_;
  std::shared_ptr<const ByteSource> bytes_ = std::make_shared<MemoryBytes>("x", std::vector<std::byte>(1));
};

class HeldAskedTree final : public vfs::HeldTree {
 public:
  explicit HeldAskedTree(Asked& asked) : tree_(asked) {}
  [[nodiscard]] vfs::FileSystem& tree() override { return tree_; }
  [[nodiscard]] std::shared_ptr<const void> recipe() const override { return nullptr; }

 private:
  AskedTree tree_;
};

class CountingJournal final : public vfs::ServedJournal {
 public:
  [[nodiscard]] vfs::Inode next_inode() override { return ++last_; }
  void put(const vfs::ServedNote& /*note*/) noexcept override {}
  void count(vfs::Inode /*inode*/, std::uint64_t /*references*/) noexcept override {}
  void erase(vfs::Inode /*inode*/) noexcept override {}
  [[nodiscard]] std::atomic<std::uint64_t>& references(std::size_t slot) override { return counts_.at(slot); }

 private:
  vfs::Inode last_ = 100;
  std::array<std::atomic<std::uint64_t>, vfs::ServedFileSystem::kSlots> counts_{1};
};

class OneSearch final : public vfs::ServedNames {
 public:
  [[nodiscard]] Meaning meaning_of(const std::string& /*directory*/, std::string_view /*name*/) override {
    return {.kind = Meaning::Kind::kTree};
  }
  void find(std::uint64_t /*number*/, const std::string& /*path*/, std::shared_ptr<const void> /*recipe*/,
            Done done) override {
    const MutexLock lock(mutex_);
    done_ = std::move(done);
  }
  void give_up(std::uint64_t /*number*/) override {
    const MutexLock lock(mutex_);
    done_ = {};
  }
  [[nodiscard]] std::uint64_t progress(std::uint64_t /*number*/) override { return 1; }
  void end_late() override {}
  void list(const std::string& /*directory*/, ListDone done) override { done({}, 0); }
  /// False: there is no search.
  [[nodiscard]] bool finish(Asked& asked) {
    Done done;
    {
      const MutexLock lock(mutex_);
      done.swap(done_);
    }
    if (done) {
      done({.tree = std::make_shared<HeldAskedTree>(asked), .link = {}, .error = 0, .reason = {}});
      return true;
    }
    return false;
  }

 private:
  Mutex mutex_;
  Done done_ PKGFS_GUARDED_BY(mutex_);
};

/// A daemon that goes on with a directory in which the kernel knows a tree.
class AskedSuccessor {
 public:
  AskedSuccessor() {
    vfs::ServedNote known;
    known.kind = vfs::ServedNote::Kind::kTree;
    known.inode = kRoot;
    known.path = "acme/app@1";
    known.references = 1;
    known.slot = 0;
    known.base = std::uint64_t{1} << 32U;
    known.fingerprint = 7;
    served_.use_journal(notes_, {known});
    adapter_.use_served(served_);
    kernel_.emplace(adapter_, FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT, &servers_);
  }
  [[nodiscard]] test::Kernel& kernel() { return *kernel_; }
  /// Waits for the search, and ends it on this thread.
  [[nodiscard]] bool open() {
    for (int i = 0; i < 1000; ++i) {
      if (names_.finish(asked_)) {
        return true;
      }
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }
  [[nodiscard]] bool interrupt(std::uint64_t request) { return adapter_.interrupt(request); }
  Asked& asked() { return asked_; }

 private:
  OneSearch names_;
  CountingJournal notes_;
  Statistics statistics_;
  Asked asked_{statistics_};
  vfs::ServedFileSystem served_{names_, {}};
  Adapter adapter_{served_, statistics_, AdapterOptions{}};
  const ServerOptions servers_{.threads = 2, .on_duty = 1};
  std::optional<test::Kernel> kernel_;
};

std::uint64_t send_what(test::Kernel& kernel, fuse_opcode what) {
  const fuse_getattr_in getattr{};
  fuse_read_in read{};
  read.size = 4096;
  switch (what) {
    case FUSE_READ:
      return kernel.send(FUSE_READ, kFile, &read, sizeof(read));
    case FUSE_GETATTR:
      return kernel.send(FUSE_GETATTR, kFile, &getattr, sizeof(getattr));
    case FUSE_LOOKUP:
      return kernel.send(FUSE_LOOKUP, kRoot, "dir", sizeof("dir"));
    default:
      return kernel.send(FUSE_READDIR, kDirectory, &read, sizeof(read));
  }
}

class PutOff : public testing::TestWithParam<fuse_opcode> {};

/// So a crash is that of the request, and searches have their threads for themselves.
TEST_P(PutOff, ServerThreadsAnswerOnceTheTreeIsOpen) {
  try {
    AskedSuccessor successor;
    const std::uint64_t request = send_what(successor.kernel(), GetParam());
    ASSERT_TRUE(successor.open());
    const auto reply = successor.kernel().receive_any(10s);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->first, request);
    EXPECT_EQ(reply->second.error, 0);
    Asked& asked = successor.asked();
    const MutexLock lock(asked.mutex);
    EXPECT_GT(asked.count, 0);
    EXPECT_FALSE(asked.by_searcher);
    EXPECT_TRUE(asked.noted);
    EXPECT_EQ(successor.kernel().late_replies(), 0U);
  } catch (const test::Kernel::Unavailable& error) {
    GTEST_SKIP() << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Requests, PutOff, testing::Values(FUSE_READ, FUSE_GETATTR, FUSE_LOOKUP, FUSE_READDIR));

TEST(PutOffRequest, ThatIsInterruptedBeforeIsNotAnsweredAgain) {
  try {
    AskedSuccessor successor;
    const std::uint64_t request = send_what(successor.kernel(), FUSE_READ);
    bool interrupted = false;
    for (int i = 0; i < 1000 && !interrupted; ++i) {
      std::this_thread::sleep_for(10ms);
      interrupted = successor.interrupt(request);
    }
    ASSERT_TRUE(interrupted);
    const auto refused = successor.kernel().receive_any(10s);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->second.error, EINTR);
    send_what(successor.kernel(), FUSE_READ);
    ASSERT_TRUE(successor.open());
    const auto reply = successor.kernel().receive_any(10s);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->second.error, 0);
    EXPECT_FALSE(successor.kernel().receive_any(100ms));
    EXPECT_EQ(successor.kernel().late_replies(), 0U);
  } catch (const test::Kernel::Unavailable& error) {
    GTEST_SKIP() << error.what();
  }
}

}  // namespace
}  // namespace pkgfs::fuse
