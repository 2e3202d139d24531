// SPDX-License-Identifier: MIT
#include "core/load/host_path.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

TEST(HostPath, IsTakenApartByItsText) {
  const auto check = [](std::string_view text, bool absolute, std::size_t climbs, const std::string& rest) {
    const HostPath path = HostPath::parse(text);
    EXPECT_EQ(path.absolute, absolute) << text;
    EXPECT_EQ(path.climbs, climbs) << text;
    EXPECT_EQ(path.joined(), rest) << text;
  };
  check("web", false, 0, "web");
  check("./a//b/./c/", false, 0, "a/b/c");
  check("a/../b", false, 0, "b");
  check("../x/y", false, 1, "x/y");
  check("a/../../../x", false, 2, "x");
  check("/srv/../web", true, 0, "web");
  check("/../web", true, 0, "web");
  check(".", false, 0, "");
  EXPECT_THROW((void)HostPath::parse(std::string_view("a\0b", 3)), Error);
}

/// The same rules with openat2(2) and without it.
class OpenHostPath : public ::testing::TestWithParam<UniqueFd (*)(int, const HostPath&, int)> {
 protected:
  OpenHostPath() {
    dir_.write("outside/secret", "s");
    dir_.write("pkg/inside/file", "f");
    link("../outside", "out");
    link((dir_.path() / "outside").string(), "absolute");
    link("inside", "in");
    link("../../outside/secret", "inside/far");
    link("../inside/file", "inside/near");
    pkg_.reset(::open((dir_.path() / "pkg").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  void link(const std::string& target, const std::string& name) const {
    ASSERT_EQ(::symlink(target.c_str(), (dir_.path() / "pkg" / name).c_str()), 0);
  }
  /// 0, or the errno.
  [[nodiscard]] int try_open(const std::string& path) const {
    const UniqueFd fd = GetParam()(pkg_.get(), HostPath::parse(path), O_PATH);
    return fd ? 0 : errno;
  }

  TempDir dir_;
  UniqueFd pkg_;
};

TEST_P(OpenHostPath, LinksMayStayInsideButNotLeadOut) {
  EXPECT_EQ(try_open("inside"), 0);
  EXPECT_EQ(try_open("in/file"), 0);
  EXPECT_EQ(try_open("inside/near"), 0);
  EXPECT_EQ(try_open("."), 0);
  EXPECT_EQ(try_open("nothere"), ENOENT);
  EXPECT_EQ(try_open("out"), EXDEV);
  EXPECT_EQ(try_open("out/secret"), EXDEV);
  EXPECT_EQ(try_open("absolute/secret"), EXDEV);
  EXPECT_EQ(try_open("inside/far"), EXDEV);
}

TEST_P(OpenHostPath, ItsOwnTextMayLeadOut) {
  EXPECT_EQ(try_open("../outside/secret"), 0);
  EXPECT_EQ(try_open("in/../../outside/secret"), 0);
  EXPECT_EQ(try_open((dir_.path() / "outside/secret").string()), 0);
  EXPECT_EQ(try_open((dir_.path() / "pkg/absolute/secret").string()), 0) << "nothing is outside of /";
}

TEST_P(OpenHostPath, EndsWithLinksThatLeadToThemselvesAndWithFilesOnTheWay) {
  link("loop", "loop");
  EXPECT_EQ(try_open("loop"), ELOOP);
  EXPECT_EQ(try_open("inside/file/x"), ENOTDIR);
  link(std::string("../pkg/inside"), "around");
  EXPECT_EQ(try_open("around"), EXDEV) << "it leaves, even if it comes back";
}

TEST_P(OpenHostPath, OpensWhatIsThere) {
  const UniqueFd fd = GetParam()(pkg_.get(), HostPath::parse("in/near"), O_RDONLY);
  ASSERT_TRUE(fd);
  char byte = 0;
  EXPECT_EQ(::read(fd.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'f');
  EXPECT_FALSE(GetParam()(pkg_.get(), HostPath::parse("in"), O_RDONLY | O_NOFOLLOW));
  EXPECT_EQ(errno, ELOOP);
}

INSTANTIATE_TEST_SUITE_P(Both, OpenHostPath, ::testing::Values(&open_host_path, &walk_host_path));

}  // namespace
}  // namespace pkgfs::test
