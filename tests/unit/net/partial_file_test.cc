// SPDX-License-Identifier: MIT
// Risk: bytes of two files are mixed, or a download that could be continued starts anew.
#include "core/net/partial_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class PartialFileTest : public ::testing::Test {
 protected:
  TempDir dir_;
  const std::string path_ = dir_.path() / "x.part";
  const std::string from_ = path_ + ".from";
  const std::string url_ = "http://example.com/x";

  static std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
};

TEST_F(PartialFileTest, IsContinuedByAnotherProcess) {
  {
    PartialFile file(path_, url_);
    EXPECT_EQ(file.size(), 0U);
    EXPECT_FALSE(file.origin());
    file.set_origin({url_, "\"v1\""});
    file.append(bytes("hello, "));
  }
  PartialFile file(path_, url_);
  EXPECT_EQ(file.size(), 7U);
  ASSERT_TRUE(file.origin());
  EXPECT_EQ(file.origin()->validator, "\"v1\"");
  file.append(bytes("world"));
  EXPECT_EQ(file.finish(), sha256("hello, world"));
  EXPECT_EQ(read_text(path_), "hello, world");
  EXPECT_FALSE(fs::exists(from_));
}

TEST_F(PartialFileTest, StartsAnewWithoutAnOriginOrWithAnotherUrl) {
  {
    PartialFile file(path_, url_);
    file.append(bytes("no origin"));
  }
  {
    PartialFile file(path_, url_);
    EXPECT_EQ(file.size(), 0U);
    file.set_origin({url_, "\"v1\""});
    file.append(bytes("content"));
  }
  PartialFile file(path_, "http://example.com/y");
  EXPECT_EQ(file.size(), 0U);
  EXPECT_FALSE(file.origin());
  EXPECT_EQ(read_text(path_), "");
  EXPECT_FALSE(fs::exists(from_));
}

TEST_F(PartialFileTest, StartsAnewWithAMalformedOrigin) {
  for (const char* text :
       {"", "http://example.com/x", "http://example.com/x\n\"v1\"", "http://example.com/x\na\nb\n"}) {
    dir_.write("x.part", "content");
    dir_.write("x.part.from", text);
    EXPECT_EQ(PartialFile(path_, url_).size(), 0U) << text;
  }
}

TEST_F(PartialFileTest, ClearForgetsTheHashToo) {
  PartialFile file(path_, url_);
  file.set_origin({url_, "\"v1\""});
  file.append(bytes("old and long"));
  file.clear();
  EXPECT_FALSE(file.origin());
  EXPECT_FALSE(fs::exists(from_));
  file.append(bytes("new"));
  EXPECT_EQ(file.finish(), sha256("new"));
  EXPECT_EQ(read_text(path_), "new");
}

TEST_F(PartialFileTest, AValidatorWithALineBreakIsNoOrigin) {
  PartialFile file(path_, url_);
  file.set_origin({url_, "a\nb"});
  EXPECT_FALSE(file.origin());
  EXPECT_FALSE(fs::exists(from_));
}

TEST_F(PartialFileTest, DiscardRemovesBothFilesAndIsRepeatable) {
  {
    PartialFile file(path_, url_);
    file.set_origin({url_, "\"v1\""});
  }
  PartialFile::discard(path_);
  PartialFile::discard(path_);
  EXPECT_TRUE(fs::is_empty(dir_.path()));
}

TEST_F(PartialFileTest, PlantedLinksAreReplaced) {
  const CapturedLog log;
  const fs::path target = dir_.write("target", url_ + "\n\"v1\"\n");
  const std::string content = read_text(target);
  for (const bool symbolic : {true, false}) {
    for (const std::string& path : {path_, from_}) {
      symbolic ? fs::create_symlink(target, path) : fs::create_hard_link(target, path);
    }
    PartialFile file(path_, url_);
    EXPECT_EQ(file.size(), 0U);
    file.set_origin({url_, "\"v2\""});
    file.append(bytes("new"));
    EXPECT_EQ(read_text(path_), "new");
    EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(from_)));
    EXPECT_EQ(read_text(target), content);
    PartialFile::discard(path_);
  }
}

TEST_F(PartialFileTest, AnOriginOfAnotherUserIsNone) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  {
    PartialFile file(path_, url_);
    file.set_origin({url_, "\"v1\""});
    file.append(bytes("content"));
  }
  EXPECT_EQ(PartialFile(path_, url_).size(), 7U);
  ASSERT_EQ(::chown(from_.c_str(), 65534, 65534), 0);
  EXPECT_EQ(PartialFile(path_, url_).size(), 0U);
  EXPECT_FALSE(fs::exists(from_));
}

TEST_F(PartialFileTest, TheDirectoryIsNotOfAnotherUser) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  ASSERT_EQ(::chown(dir_.path().c_str(), 65534, 65534), 0);
  EXPECT_THROW(PartialFile(path_, url_), Error);
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(PartialFileTest, TheDirectoryIsNoLink) {
  fs::permissions(dir_.path(), fs::perms::all);
  fs::create_directory(dir_.path() / "real");
  fs::create_directory_symlink(dir_.path() / "real", dir_.path() / "link");
  const fs::path other = dir_.write("real/x.part", "precious");
  EXPECT_THROW(PartialFile(dir_.path() / "link/x.part", url_), Error);
  PartialFile::discard(dir_.path() / "link/x.part");
  EXPECT_EQ(read_text(other), "precious");
}

}  // namespace
}  // namespace pkgfs::test
