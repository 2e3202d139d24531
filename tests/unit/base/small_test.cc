// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "core/base/function_ref.h"
#include "core/base/unique_fd.h"

namespace pkgfs {
namespace {

bool open_descriptor(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

TEST(UniqueFd, ClosesOnceAndOnlyWhatItOwns) {
  const int raw = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  {
    UniqueFd first(raw);
    UniqueFd second(std::move(first));
    EXPECT_EQ(second.get(), raw);
    EXPECT_TRUE(open_descriptor(raw));
  }
  EXPECT_FALSE(open_descriptor(raw));
}

TEST(UniqueFd, ReleaseGivesTheDescriptorAway) {
  UniqueFd owner(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int raw = owner.release();
  EXPECT_FALSE(static_cast<bool>(owner));
  owner.reset();
  EXPECT_TRUE(open_descriptor(raw));
  ::close(raw);
}

TEST(UniqueFd, AssigningClosesTheOldOne) {
  UniqueFd owner(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int raw = owner.get();
  owner = UniqueFd(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  EXPECT_NE(owner.get(), -1);
  EXPECT_FALSE(open_descriptor(raw) && raw != owner.get());
}

TEST(FunctionRef, CallsTheCallableItself) {
  int calls = 0;
  const auto count = [&calls](int by) { return calls += by; };
  const FunctionRef<int(int)> reference = count;
  EXPECT_EQ(reference(2), 2);
  EXPECT_EQ(reference(3), 5);
  EXPECT_EQ(calls, 5);
}

}  // namespace
}  // namespace pkgfs
