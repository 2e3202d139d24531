// SPDX-License-Identifier: MIT
// Risk: a successor loses the counts of the daemon before it, or trusts a file that isn't one of pkgfs.
#include "fuse/shared_state.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "fuse/statistics.h"
#include "tests/unit/fuse/successor_fixture.h"

namespace pkgfs::fuse {
namespace {

off_t bytes_of_memory(int fd) {
  struct stat status{};
  EXPECT_EQ(::fstat(fd, &status), 0);
  return status.st_blocks * 512;
}

ErrorCode refusal_of(UniqueFd file) {
  try {
    (void)SharedState::adopt(std::move(file));
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "it was adopted";
  return ErrorCode::kInternal;
}

/// A file like that of a state, with the first bytes of `state` or of nothing.
UniqueFd imitation(off_t bytes, unsigned seals, int state = -1) {
  UniqueFd file(::memfd_create("imitation", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(file.get(), bytes), 0);
  std::array<char, 4096> page{};
  if (state >= 0) {
    EXPECT_EQ(::pread(state, page.data(), page.size(), 0), static_cast<ssize_t>(page.size()));
  }
  EXPECT_EQ(::pwrite(file.get(), page.data(), page.size(), 0), static_cast<ssize_t>(page.size()));
  EXPECT_EQ(::fcntl(file.get(), F_ADD_SEALS, seals), 0);
  return file;
}

TEST(SharedState, CountsAndTimeGoOnAfterTheDeathOfTheDaemon) {
  SharedState state = SharedState::create();
  const pid_t daemon = ::fork();
  if (daemon == 0) {
    Statistics statistics(state);
    {
      Statistics::Measure measure(statistics, Request::kRead);
      measure.bytes_read(10);
      measure.failed(EIO);
    }
    std::thread([&] { statistics.add_polled(); }).join();
    statistics.add_notice();
    statistics.taken_over(3ms);
    statistics.taken_over(2ms);
    ::raise(SIGKILL);
  }
  ASSERT_GT(daemon, 0);
  ASSERT_EQ(::waitpid(daemon, nullptr, 0), daemon);
  std::this_thread::sleep_for(20ms);
  SharedState kept = SharedState::adopt(copy_of(state.fd()));
  Statistics statistics(kept);
  {
    const Statistics::Measure measure(statistics, Request::kRead);
  }
  statistics.taken_over(1ms);
  const Snapshot counts = statistics.snapshot();
  EXPECT_EQ(counts[Request::kRead].requests, 2U);
  EXPECT_EQ(counts[Request::kRead].answered, 2U);
  EXPECT_EQ(counts[Request::kRead].failures.at(static_cast<std::size_t>(Failure::kIo)), 1U);
  EXPECT_EQ(counts.bytes_read, 10U);
  EXPECT_EQ(counts.polled, 1U);
  EXPECT_EQ(kept.notices(), 1U);
  EXPECT_EQ(counts.takeovers, 3U);
  EXPECT_EQ(counts.pause_total, 6'000'000U);
  EXPECT_EQ(counts.pause_longest, 3'000'000U);
  EXPECT_GE(counts.uptime, 0.02);
  EXPECT_LT(counts.uptime, 100);
}

TEST(SharedState, ASlotTakesMemoryOnlyWhenAThreadCountsInIt) {
  SharedState state = SharedState::create();
  const off_t empty = bytes_of_memory(state.fd());
  EXPECT_LE(empty, 8192) << "the header and the requests in flight";
  Statistics statistics(state);
  (void)statistics.snapshot();
  EXPECT_EQ(bytes_of_memory(state.fd()), empty) << "looking takes none";
  statistics.add_polled();
  const off_t one = bytes_of_memory(state.fd());
  EXPECT_GT(one, empty);
  EXPECT_LE(one, empty + 16384);
  SharedState kept = SharedState::adopt(copy_of(state.fd()));
  EXPECT_EQ(Statistics(kept).snapshot().polled, 1U);
  EXPECT_EQ(bytes_of_memory(state.fd()), one);
}

TEST(SharedState, OtherFilesAreRefused) {
  const SharedState state = SharedState::create();
  struct stat status{};
  ASSERT_EQ(::fstat(state.fd(), &status), 0);
  constexpr unsigned kSealed = F_SEAL_SHRINK | F_SEAL_GROW;
  EXPECT_NO_THROW((void)SharedState::adopt(imitation(status.st_size, kSealed, state.fd())));
  EXPECT_EQ(refusal_of(imitation(status.st_size, F_SEAL_GROW, state.fd())), ErrorCode::kCorrupt) << "it may shrink";
  EXPECT_EQ(refusal_of(imitation(status.st_size, kSealed)), ErrorCode::kCorrupt) << "zeros";
  EXPECT_EQ(refusal_of(imitation(status.st_size - 4096, kSealed, state.fd())), ErrorCode::kUnsupported);
  EXPECT_EQ(refusal_of(imitation(status.st_size + 4096, kSealed, state.fd())), ErrorCode::kUnsupported);
  EXPECT_EQ(refusal_of(UniqueFd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC))), ErrorCode::kCorrupt);
  UniqueFd newer(::memfd_create("newer", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(newer.get(), status.st_size), 0);
  std::array<std::uint32_t, 4> header{};
  ASSERT_EQ(::pread(state.fd(), header.data(), sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
  ++header[2];  // the number of the layout
  ASSERT_EQ(::pwrite(newer.get(), header.data(), sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
  ASSERT_EQ(::fcntl(newer.get(), F_ADD_SEALS, kSealed), 0);
  EXPECT_EQ(refusal_of(std::move(newer)), ErrorCode::kUnsupported);
}

TEST(SharedState, AMountThatBeganInTheFutureBeganNow) {
  SharedState state = SharedState::create();
  constexpr off_t kBegin = 24;
  const std::int64_t never = INT64_MAX;
  ASSERT_EQ(::pwrite(state.fd(), &never, sizeof(never), kBegin), static_cast<ssize_t>(sizeof(never)));
  const double uptime = Statistics(state).snapshot().uptime;
  EXPECT_GE(uptime, 0);
  EXPECT_LT(uptime, 100);
}

}  // namespace
}  // namespace pkgfs::fuse
