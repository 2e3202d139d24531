// SPDX-License-Identifier: MIT
// Risk: a request that crashes the daemon crashes all successors, too; or requests that do no harm are refused.
#include "fuse/in_flight.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "fuse/servers.h"
#include "tests/unit/fuse/successor_fixture.h"

namespace pkgfs::fuse {
namespace {

constexpr NodeRequest kRead{.node = 7, .opcode = FUSE_READ};
constexpr NodeRequest kGetattr{.node = 7, .opcode = FUSE_GETATTR};
constexpr NodeRequest kOther{.node = 8, .opcode = FUSE_READ};

std::vector<InFlight> crash_with(const std::vector<NodeRequest>& requests) {
  std::vector<InFlight> all;
  for (const NodeRequest& request : requests) {
    all.push_back({.request = request});
  }
  return all;
}

using Requests = std::vector<NodeRequest>;

TEST(Poisoned, IsARequestThatWasInFlightAtTwoCrashesInARow) {
  SharedState state = SharedState::create();
  EXPECT_EQ(state.suspect(crash_with({kRead, kOther, kRead})), Requests()) << "one crash, however many threads";
  EXPECT_EQ(state.poisoned(), Requests());
  SharedState successor = SharedState::adopt(copy_of(state.fd()));
  EXPECT_EQ(successor.suspect(crash_with({kGetattr, kRead})), Requests{kRead});
  EXPECT_EQ(successor.suspect(crash_with({kOther, kRead})), Requests()) << "it is poisoned, and reported once";
  EXPECT_EQ(SharedState::adopt(copy_of(state.fd())).poisoned(), Requests{kRead});
}

TEST(Poisoned, ACrashWithoutTheRequestClearsTheSuspicion) {
  SharedState state = SharedState::create();
  EXPECT_EQ(state.suspect(crash_with({kRead})), Requests());
  EXPECT_EQ(state.suspect(crash_with({kOther})), Requests());
  EXPECT_EQ(state.suspect(crash_with({kRead})), Requests());
  EXPECT_EQ(state.suspect({}), Requests());
  EXPECT_EQ(state.suspect(crash_with({kRead})), Requests());
  EXPECT_EQ(state.suspect(crash_with({kRead})), Requests{kRead});
}

TEST(Poisoned, OnlyTheThreadThatCrashedIsSuspectedIfItIsKnown) {
  SharedState state = SharedState::create();
  std::vector<InFlight> crash = crash_with({kOther, kRead});
  crash[1].crashed = true;
  EXPECT_EQ(state.suspect(crash), Requests());
  EXPECT_EQ(state.suspect(crash), Requests{kRead});
}

TEST(Poisoned, TheTableIsBounded) {
  SharedState state = SharedState::create();
  Requests many;
  for (std::uint64_t node = 1; node <= SharedState::kPoisoned + 5; ++node) {
    many.push_back({.node = node, .opcode = FUSE_READ});
  }
  EXPECT_EQ(state.suspect(crash_with(many)), Requests());
  EXPECT_EQ(state.suspect(crash_with(many)).size(), SharedState::kPoisoned);
  EXPECT_EQ(state.suspect(crash_with({kGetattr})), Requests());
  EXPECT_EQ(state.suspect(crash_with({kGetattr})), Requests());
  EXPECT_EQ(state.poisoned().size(), SharedState::kPoisoned);
}

TEST(Poisoned, IsAnsweredWithAnErrorAndNothingElseIsDone) {
  SharedState state = SharedState::create();
  try {
    Daemon daemon(state);
    const std::uint64_t slow = daemon.node("slow");
    EXPECT_TRUE(daemon.kernel.servers().stop(10s));
    Daemon successor(state, {.threads = 4,
                             .poisoned = {{.node = slow, .opcode = FUSE_READ}, {.node = slow, .opcode = FUSE_FORGET}}});
    ASSERT_EQ(successor.node("slow"), slow);
    const std::uint64_t reading = successor.send_read(slow);
    const auto reply = successor.kernel.receive_any(10s);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->first, reading);
    EXPECT_EQ(reply->second.error, EIO);
    EXPECT_EQ(successor.disk->reads, 0U);
    const fuse_forget_in forget{.nlookup = 1};
    successor.kernel.send(FUSE_FORGET, slow, &forget, sizeof(forget));
    const std::uint64_t asking = successor.send_getattr(slow);
    const auto next = successor.kernel.receive_any(10s);
    ASSERT_TRUE(next);
    EXPECT_EQ(next->first, asking) << "FORGET has no reply";
    EXPECT_EQ(next->second.error, 0) << "another operation on the node";
    const std::uint64_t file = successor.node("file");
    successor.send_read(file);
    EXPECT_EQ(successor.kernel.receive_any(10s)->second.error, 0) << "another node";
  } catch (const test::Kernel::Unavailable& error) {
    GTEST_SKIP() << error.what();
  }
}

TEST(InFlight, IsKnownAfterTheDeathOfTheDaemon) {
  SharedState state = SharedState::create();
  const bool has_lived = live_and_die([&] {
    Daemon daemon(state);
    const std::uint64_t slow = daemon.node("slow");
    const std::uint64_t file = daemon.node("file");
    daemon.disk->gate.close();
    daemon.send_read(slow);
    (void)daemon.disk->gate.holds(1);
    (void)daemon.node("file");  // answered, by another thread
    daemon.tree.gate.close();
    daemon.send_getattr(file);
    (void)daemon.tree.gate.holds(1);
    ::raise(SIGKILL);
  });
  if (!has_lived) {
    GTEST_SKIP() << "no session without a device";
  }
  SharedState kept = SharedState::adopt(copy_of(state.fd()));
  std::vector<InFlight> found = kept.in_flight();
  std::ranges::sort(found, {}, &InFlight::unique);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].unique, 4U) << "after INIT and two look-ups";
  EXPECT_EQ(found[1].unique, 6U);
  EXPECT_EQ(found[0].request.opcode, static_cast<std::uint32_t>(FUSE_READ));
  EXPECT_EQ(found[1].request.opcode, static_cast<std::uint32_t>(FUSE_GETATTR));
  EXPECT_FALSE(found[0].crashed || found[1].crashed);
  Daemon successor(kept);
  EXPECT_EQ(found[0].request.node, successor.node("slow"));
  EXPECT_EQ(found[1].request.node, successor.node("file"));
  EXPECT_TRUE(successor.kernel.servers().stop(10s));
  EXPECT_TRUE(kept.in_flight().empty());
}

/// Crashes the thread that reads it.
class CrashingBytes final : public ByteSource {
 public:
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::span<const std::byte> bytes() const override { return bytes_; }
  [[nodiscard]] bool damaged() const override { return false; }
  [[nodiscard]] bool read_at_once(const ByteRun& /*run*/, std::uint64_t /*from*/,
                                  std::span<std::byte> /*out*/) const override {
    Servers::note_crash();
    ::raise(SIGKILL);
    return false;
  }
  [[nodiscard]] Result<void> read(std::uint64_t /*offset*/, std::span<std::byte> /*out*/) const override {
    return fail(EIO);
  }

 private:
  std::string name_ = "bad";
  std::vector<std::byte> bytes_ = std::vector<std::byte>(4096);
};

TEST(InFlight, TheThreadThatCrashedIsKnown) {
  SharedState state = SharedState::create();
  const bool has_lived = live_and_die([&] {
    Statistics statistics(state);
    const auto disk = std::make_shared<SlowBytes>(statistics);
    vfs::StaticFileSystem tree({{.path = "/bad", .content = {std::make_shared<CrashingBytes>(), 0, 4096}},
                                {.path = "/slow", .content = {disk, 0, 4096}}});
    Adapter adapter(tree, statistics, {});
    const ServerOptions options{.threads = 4, .on_duty = 1};
    test::Kernel kernel(adapter, FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT, &options);
    const std::uint64_t slow = kernel.node(FUSE_ROOT_ID, "slow");
    const std::uint64_t bad = kernel.node(FUSE_ROOT_ID, "bad");
    disk->gate.close();
    fuse_read_in read{};
    read.size = 100;
    kernel.send(FUSE_READ, slow, &read, sizeof(read));
    (void)disk->gate.holds(1);
    kernel.send(FUSE_READ, bad, &read, sizeof(read));
    std::this_thread::sleep_for(10s);
    ::_exit(EXIT_FAILURE);
  });
  if (!has_lived) {
    GTEST_SKIP() << "no session without a device";
  }
  std::vector<InFlight> found = SharedState::adopt(copy_of(state.fd())).in_flight();
  std::ranges::sort(found, {}, &InFlight::unique);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_FALSE(found[0].crashed) << "it only waited";
  EXPECT_TRUE(found[1].crashed);
}

}  // namespace
}  // namespace pkgfs::fuse
