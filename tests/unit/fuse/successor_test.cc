// SPDX-License-Identifier: MIT
// Risk: a request that a daemon had taken when it was killed is never answered by its successor.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <chrono>
#include <map>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "fuse/request_store.h"
#include "fuse/servers.h"
#include "tests/unit/fuse/successor_fixture.h"

namespace pkgfs::fuse {
namespace {

/// Numbers that a child process notes.
class Notes {
 public:
  Notes() {
    void* const place = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED) {
      throw std::bad_alloc();
    }
    page_ = static_cast<Page*>(place);
  }
  ~Notes() { ::munmap(page_, sizeof(Page)); }
  Notes(const Notes&) = delete;
  Notes& operator=(const Notes&) = delete;

  void add(std::uint64_t number) const { page_->numbers.at(page_->count++) = number; }
  [[nodiscard]] std::vector<std::uint64_t> all() const {
    return {page_->numbers.begin(), page_->numbers.begin() + static_cast<std::ptrdiff_t>(page_->count)};
  }

 private:
  struct Page {
    std::size_t count = 0;
    std::array<std::uint64_t, 100> numbers{};
  };
  Page* page_ = nullptr;
};

/// Bytes that are still at a server, which never sends them.
class FarBytes final : public ByteSource {
 public:
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::span<const std::byte> bytes() const override { return bytes_; }
  [[nodiscard]] bool damaged() const override { return false; }
  [[nodiscard]] bool read_at_once(const ByteRun& /*run*/, std::uint64_t /*from*/,
                                  std::span<std::byte> /*out*/) const override {
    return false;
  }
  [[nodiscard]] Result<void> read(std::uint64_t /*offset*/, std::span<std::byte> /*out*/) const override {
    return fail(EIO);
  }
  [[nodiscard]] bool is_here(const ByteRun& /*run*/, std::uint64_t /*from*/, std::uint64_t /*count*/) const override {
    return false;
  }
  void when_here(const ByteRun& /*run*/, std::uint64_t /*from*/, std::uint64_t /*count*/, Arrival then) const override {
    const MutexLock lock(mutex_);
    waiting_.push_back(std::move(then));
  }
  [[nodiscard]] std::size_t waiting() const {
    const MutexLock lock(mutex_);
    return waiting_.size();
  }

 private:
  std::string name_ = "far";
  std::vector<std::byte> bytes_ = std::vector<std::byte>(4096);
  mutable Mutex mutex_;
  mutable std::vector<Arrival> waiting_ PKGFS_GUARDED_BY(mutex_);
};

class SuccessorTest : public testing::Test {
 protected:
  [[nodiscard]] static ServerOptions options(RequestStore& store) {
    return {.threads = 4, .on_duty = 1, .keep_requests = &store};
  }
  /// The replies of a successor to the requests that were noted.
  std::map<std::uint64_t, test::Reply> replies(Daemon& successor) {
    for (const std::uint64_t request : notes_.all()) {
      successor.kernel.expect(request);
    }
    std::map<std::uint64_t, test::Reply> all;
    for (std::size_t i = 0; i < notes_.all().size(); ++i) {
      auto reply = successor.kernel.receive_any(10s);
      if (!reply) {
        ADD_FAILURE() << all.size() << " of " << notes_.all().size() << " requests were answered";
        break;
      }
      all.insert(std::move(*reply));
    }
    return all;
  }
  std::unique_ptr<RequestStore> adopted() { return RequestStore::adopt(copy_of(store_->fd())); }

  Notes notes_;
  SharedState state_ = SharedState::create();
  std::unique_ptr<RequestStore> store_ = RequestStore::create();
};

TEST_F(SuccessorTest, AnswersWhatThreadsWereAnswering) {
  const bool has_lived = live_and_die([&] {
    Daemon daemon(state_, options(*store_));
    const std::uint64_t slow = daemon.node("slow");
    const std::uint64_t file = daemon.node("file");
    daemon.disk->gate.close();
    notes_.add(daemon.send_read(slow));
    notes_.add(daemon.send_read(slow));
    (void)daemon.disk->gate.holds(2);
    daemon.tree.gate.close();
    notes_.add(daemon.send_getattr(file));
    (void)daemon.tree.gate.holds(1);
    ::raise(SIGKILL);
  });
  if (!has_lived) {
    GTEST_SKIP() << "no session without a device";
  }
  const auto store = adopted();
  EXPECT_EQ(store->lost(), 0U);
  Daemon successor(state_, options(*store));
  const auto all = replies(successor);
  ASSERT_EQ(all.size(), 3U);
  const std::vector<std::uint64_t> sent = notes_.all();
  EXPECT_EQ(all.at(sent[0]).body, std::string(100, '\0'));
  EXPECT_EQ(all.at(sent[1]).body, std::string(100, '\0'));
  EXPECT_EQ(all.at(sent[2]).error, 0);
  EXPECT_EQ(all.at(sent[2]).as<fuse_attr_out>().attr.size, 1U);
  EXPECT_NE(successor.node("file"), 0U) << "and then new requests";
  EXPECT_TRUE(successor.kernel.servers().stop(10s));
  EXPECT_TRUE(adopted()->recover().empty());
}

TEST_F(SuccessorTest, DoesNotAnswerAgain) {
  const bool has_lived = live_and_die([&] {
    Daemon daemon(state_, options(*store_));
    const std::uint64_t file = daemon.node("file");
    daemon.send_read(file);
    (void)daemon.kernel.receive_any(10s);
    std::this_thread::sleep_for(100ms);  // the thread has gone on to the next request
    ::raise(SIGKILL);
  });
  if (!has_lived) {
    GTEST_SKIP() << "no session without a device";
  }
  EXPECT_TRUE(adopted()->recover().empty());
}

TEST_F(SuccessorTest, AnswersWhatTheWatchThreadHeld) {
  const bool has_lived = live_and_die([&] {
    ServerOptions few = options(*store_);
    few.threads = few.most_threads = 1;
    Daemon daemon(state_, few);
    const std::uint64_t slow = daemon.node("slow");
    const std::uint64_t file = daemon.node("file");
    daemon.disk->gate.close();
    notes_.add(daemon.send_read(slow));
    (void)daemon.disk->gate.holds(1);
    std::this_thread::sleep_for(200ms);  // now it is stuck
    for (int i = 0; i < 5; ++i) {
      notes_.add(daemon.send_getattr(file));
    }
    std::this_thread::sleep_for(200ms);
    ::raise(SIGKILL);
  });
  if (!has_lived) {
    GTEST_SKIP() << "no session without a device";
  }
  const auto store = adopted();
  Daemon successor(state_, options(*store));
  EXPECT_EQ(replies(successor).size(), 6U);
}

TEST_F(SuccessorTest, AnswersReadsThatWaitedForAServer) {
  constexpr std::size_t kReads = 3;
  const bool has_lived = live_and_die([&] {
    Statistics statistics(state_);
    const auto far = std::make_shared<FarBytes>();
    // The same nodes as those of a Daemon.
    vfs::StaticFileSystem tree(
        {{.path = "/slow", .content = {far, 0, 4096}}, {.path = "/file", .content = {far, 0, 4096}}});
    Adapter adapter(tree, statistics, {});
    const ServerOptions kept = options(*store_);
    test::Kernel kernel(adapter, FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT, &kept);
    const std::uint64_t slow = kernel.node(FUSE_ROOT_ID, "slow");
    fuse_read_in read{};
    read.size = 100;
    for (std::size_t i = 0; i < kReads; ++i) {
      notes_.add(kernel.send(FUSE_READ, slow, &read, sizeof(read)));
    }
    while (far->waiting() < kReads) {
      std::this_thread::sleep_for(1ms);
    }
    (void)kernel.node(FUSE_ROOT_ID, "file");  // their thread has taken other requests since
    ::raise(SIGKILL);
  });
  if (!has_lived) {
    GTEST_SKIP() << "no session without a device";
  }
  const auto store = adopted();
  Daemon successor(state_, options(*store));
  const auto all = replies(successor);
  ASSERT_EQ(all.size(), kReads);
  for (const auto& [number, reply] : all) {
    EXPECT_EQ(reply.body, std::string(100, '\0'));
  }
  EXPECT_EQ(successor.disk->reads, kReads);
}

TEST_F(SuccessorTest, InterruptsWhatWasToBeInterrupted) {
  const bool has_lived = live_and_die([&] {
    Daemon daemon(state_, options(*store_));
    const std::uint64_t slow = daemon.node("slow");
    daemon.disk->gate.close();
    const std::uint64_t reading = daemon.send_read(slow);
    notes_.add(reading);
    (void)daemon.disk->gate.holds(1);
    fuse_interrupt_in interrupt{.unique = reading};
    daemon.kernel.send(FUSE_INTERRUPT, 0, &interrupt, sizeof(interrupt));
    (void)daemon.node("file");  // by now, it was taken
    ::raise(SIGKILL);
  });
  if (!has_lived) {
    GTEST_SKIP() << "no session without a device";
  }
  const auto store = adopted();
  ServerOptions kept = options(*store);
  Daemon successor(state_, kept);
  successor.disk->gate.close();
  const auto all = replies(successor);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all.begin()->second.error, EINTR);
}

TEST_F(SuccessorTest, AnotherSuccessorAnswersWhatTheFirstDidNot) {
  const bool has_lived = live_and_die([&] {
    Daemon daemon(state_, options(*store_));
    const std::uint64_t slow = daemon.node("slow");
    daemon.disk->gate.close();
    for (int i = 0; i < 3; ++i) {
      notes_.add(daemon.send_read(slow));
    }
    (void)daemon.disk->gate.holds(3);
    ::raise(SIGKILL);
  });
  if (!has_lived) {
    GTEST_SKIP() << "no session without a device";
  }
  live_and_die([&] {
    const auto store = adopted();
    ServerOptions one = options(*store);
    one.threads = one.most_threads = 1;  // the others stay held
    Statistics statistics(state_);
    const auto disk = std::make_shared<SlowBytes>(statistics);
    disk->gate.close();
    Tree tree{disk};
    Adapter adapter(tree, statistics, {});
    const test::Kernel kernel(adapter, FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT, &one);
    (void)disk->gate.holds(1);
    ::raise(SIGKILL);
  });
  const auto store = adopted();
  Daemon successor(state_, options(*store));
  EXPECT_EQ(replies(successor).size(), 3U);
}

TEST_F(SuccessorTest, RefusesWhatIsOnlyKnownByItsHeader) {
  fuse_in_header header{};
  header.len = 2000;
  header.opcode = FUSE_LOOKUP;
  header.nodeid = FUSE_ROOT_ID;
  header.unique = 100;
  std::vector<char> request(2000, 'x');
  std::memcpy(request.data(), &header, sizeof(header));
  const RequestStore::Kept kept = store_->keep(request);
  notes_.add(header.unique);
  const auto store = adopted();
  try {
    Daemon successor(state_, options(*store));
    const auto all = replies(successor);
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all.begin()->second.error, EIO);
  } catch (const test::Kernel::Unavailable& error) {
    GTEST_SKIP() << error.what();
  }
}

}  // namespace
}  // namespace pkgfs::fuse
