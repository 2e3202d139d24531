// SPDX-License-Identifier: MIT
// The adapter without a kernel: this test is the other end of the device.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "core/vfs/static_file_system.h"
#include "fuse/adapter.h"
#include "fuse/memory_pressure.h"
#include "tests/support/fuse/kernel.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::fuse {
namespace {

using test::blob_of;
using test::Reply;

class Protocol : public testing::Test {
 protected:
  explicit Protocol(std::uint32_t capabilities = 0)
      : tree_({{.path = "/dir/hello.txt", .content = blob_of("Hello")}, {.path = "/x", .content = blob_of("x")}}),
        adapter_(tree_, statistics_,
                 {.uid = 7,
                  .gid = 8,
                  .live_timeout = 1,
                  .usage = [] { return Usage{5000, 3}; },
                  .stats = [] { return std::string("{}"); }}) {
    try {
      kernel_.emplace(adapter_, capabilities);
    } catch (const test::Kernel::Unavailable& error) {
      missing_ = error.what();
    }
  }

  void SetUp() override {
    if (!kernel_) {
      GTEST_SKIP() << missing_;
    }
  }

  Reply ask(fuse_opcode opcode, std::uint64_t node, const void* body, std::size_t size) {
    return kernel_->ask(opcode, node, body, size);
  }
  Reply lookup(std::uint64_t dir, const std::string& name) { return kernel_->lookup(dir, name); }
  std::uint64_t node(std::uint64_t dir, const std::string& name) { return kernel_->node(dir, name); }

  vfs::StaticFileSystem tree_;
  Statistics statistics_;
  Adapter adapter_;
  std::optional<test::Kernel> kernel_;
  std::string missing_;
};

TEST_F(Protocol, InitAsksForReaddirplusAlways) {
  EXPECT_EQ(kernel_->init_answer().error, 0);
  const auto out = kernel_->init_answer().as<fuse_init_out>();
  EXPECT_NE(out.flags & FUSE_DO_READDIRPLUS, 0U);
  EXPECT_EQ(out.flags & FUSE_READDIRPLUS_AUTO, 0U);
  EXPECT_TRUE(adapter_.is_ready());
}

TEST_F(Protocol, LookupAnswersAttributesThatNeverExpire) {
  const Reply found = lookup(FUSE_ROOT_ID, "dir");
  ASSERT_EQ(found.error, 0);
  const auto entry = found.as<fuse_entry_out>();
  EXPECT_TRUE(S_ISDIR(entry.attr.mode));
  EXPECT_EQ(entry.attr.uid, 7U);
  EXPECT_EQ(entry.attr.gid, 8U);
  EXPECT_GT(entry.entry_valid, 1'000'000'000U);
  EXPECT_GT(entry.attr_valid, 1'000'000'000U);
}

TEST_F(Protocol, AbsentNamesAreKnownToBeAbsent) {
  const Reply missing = lookup(FUSE_ROOT_ID, "nope");
  ASSERT_EQ(missing.error, 0);
  EXPECT_EQ(missing.as<fuse_entry_out>().nodeid, 0U);
  EXPECT_GT(missing.as<fuse_entry_out>().entry_valid, 1'000'000'000U);
}

TEST_F(Protocol, OpenReadAndPastTheEnd) {
  const std::uint64_t file = node(node(FUSE_ROOT_ID, "dir"), "hello.txt");
  fuse_open_in how{};
  const Reply opened = ask(FUSE_OPEN, file, &how, sizeof(how));
  ASSERT_EQ(opened.error, 0);
  EXPECT_NE(opened.as<fuse_open_out>().open_flags & FOPEN_KEEP_CACHE, 0U);
  fuse_read_in read{};
  read.fh = opened.as<fuse_open_out>().fh;
  read.offset = 1;
  read.size = 100;
  EXPECT_EQ(ask(FUSE_READ, file, &read, sizeof(read)).body, "ello");
  read.offset = 5;
  EXPECT_EQ(ask(FUSE_READ, file, &read, sizeof(read)).body, "");
  fuse_release_in release{};
  release.fh = read.fh;
  EXPECT_EQ(ask(FUSE_RELEASE, file, &release, sizeof(release)).error, 0);
  how.flags = O_RDWR;
  EXPECT_EQ(ask(FUSE_OPEN, file, &how, sizeof(how)).error, EROFS);
}

/// A kernel that needs no opens.
class ModernProtocol : public Protocol {
 protected:
  ModernProtocol() : Protocol(FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT) {}
};

TEST_F(ModernProtocol, NothingThatNeverChangesIsOpened) {
  const std::uint64_t file = node(node(FUSE_ROOT_ID, "dir"), "hello.txt");
  fuse_open_in how{};
  EXPECT_EQ(ask(FUSE_OPEN, file, &how, sizeof(how)).error, ENOSYS);
  EXPECT_EQ(ask(FUSE_OPENDIR, FUSE_ROOT_ID, &how, sizeof(how)).error, ENOSYS);
  fuse_read_in read{};
  read.offset = 1;
  read.size = 3;
  EXPECT_EQ(ask(FUSE_READ, file, &read, sizeof(read)).body, "ell");
  read.offset = 5;
  EXPECT_EQ(ask(FUSE_READ, file, &read, sizeof(read)).body, "");
  EXPECT_EQ(ask(FUSE_READ, node(FUSE_ROOT_ID, "dir"), &read, sizeof(read)).error, EISDIR);
  how.flags = O_RDWR;
  EXPECT_EQ(ask(FUSE_OPEN, file, &how, sizeof(how)).error, EROFS);
  EXPECT_EQ(statistics_.requests(Request::kRead), 3U);
}

TEST(MemoryPressure, IsReadAsTheKernelWritesIt) {
  EXPECT_EQ(parse_pressure("some avg10=12.50 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00"), 12.5);
  EXPECT_EQ(parse_pressure("some avg10=0.00 avg60"), 0.0);
  EXPECT_EQ(parse_pressure("some avg10="), std::nullopt);
  EXPECT_EQ(parse_pressure(""), std::nullopt);
  EXPECT_FALSE(parse_pressure("full avg10=9.00"));
}

TEST_F(Protocol, ReaddirplusListsDotsAndEntriesWithAttributes) {
  fuse_open_in how{};
  const Reply opened = ask(FUSE_OPENDIR, FUSE_ROOT_ID, &how, sizeof(how));
  ASSERT_EQ(opened.error, 0);
  EXPECT_NE(opened.as<fuse_open_out>().open_flags & FOPEN_CACHE_DIR, 0U);
  std::vector<std::string> names;
  fuse_read_in read{};
  read.fh = opened.as<fuse_open_out>().fh;
  read.size = 300;  // a few at a time
  for (Reply part = ask(FUSE_READDIRPLUS, FUSE_ROOT_ID, &read, sizeof(read)); !part.body.empty();
       part = ask(FUSE_READDIRPLUS, FUSE_ROOT_ID, &read, sizeof(read))) {
    ASSERT_EQ(part.error, 0);
    for (std::size_t at = 0; at < part.body.size();) {
      fuse_direntplus entry{};
      std::memcpy(&entry, part.body.data() + at, sizeof(entry));
      names.push_back(part.body.substr(at + FUSE_NAME_OFFSET_DIRENTPLUS, entry.dirent.namelen));
      EXPECT_EQ(entry.entry_out.nodeid != 0, names.back()[0] != '.') << names.back();
      read.offset = entry.dirent.off;
      at += FUSE_DIRENTPLUS_SIZE(&entry);
    }
  }
  EXPECT_EQ(names, (std::vector<std::string>{".", "..", "dir", "x"}));
}

TEST_F(Protocol, ChangesAnswerErofsAndUnknownRequestsEnosys) {
  EXPECT_EQ(ask(FUSE_UNLINK, FUSE_ROOT_ID, "x", 2).error, EROFS);
  EXPECT_EQ(ask(FUSE_RMDIR, FUSE_ROOT_ID, "dir", 4).error, EROFS);
  struct {
    fuse_mkdir_in in;
    char name[4];
  } mkdir{{.mode = 0755, .umask = 0}, "new"};
  EXPECT_EQ(ask(FUSE_MKDIR, FUSE_ROOT_ID, &mkdir, sizeof(mkdir.in) + 4).error, EROFS);
  EXPECT_EQ(ask(static_cast<fuse_opcode>(4000), FUSE_ROOT_ID, "", 0).error, ENOSYS);
}

TEST_F(Protocol, StatfsShowsTheUsage) {
  const auto out = ask(FUSE_STATFS, FUSE_ROOT_ID, "", 0).as<fuse_statfs_out>();
  EXPECT_EQ(out.st.blocks, 2U);
  EXPECT_EQ(out.st.bfree, 0U);
  EXPECT_EQ(out.st.files, 3U);
  EXPECT_EQ(out.st.namelen, 255U);
}

TEST_F(Protocol, AttributesAreReadByNameAndNeverListed) {
  fuse_getxattr_in list{};
  list.size = 0;
  EXPECT_EQ(ask(FUSE_LISTXATTR, FUSE_ROOT_ID, &list, sizeof(list)).as<fuse_getxattr_out>().size, 0U);
  struct {
    fuse_getxattr_in in;
    char name[24];
  } unknown{{.size = 100, .padding = 0}, "user.other"};
  EXPECT_EQ(ask(FUSE_GETXATTR, FUSE_ROOT_ID, &unknown, sizeof(unknown)).error, ENODATA);
  struct {
    fuse_getxattr_in in;
    char name[24];
  } statistics{{.size = 8000, .padding = 0}, "user.pkgfs.stats"};
  EXPECT_EQ(ask(FUSE_GETXATTR, FUSE_ROOT_ID, &statistics, sizeof(statistics)).body, "{}");
  statistics.in.size = 0;
  EXPECT_GT(ask(FUSE_GETXATTR, FUSE_ROOT_ID, &statistics, sizeof(statistics)).as<fuse_getxattr_out>().size, 1000U)
      << "the numbers may have grown when it is read";
  EXPECT_EQ(ask(FUSE_GETXATTR, node(FUSE_ROOT_ID, "x"), &statistics, sizeof(statistics)).error, ENODATA)
      << "of the root only";
}

}  // namespace
}  // namespace pkgfs::fuse
