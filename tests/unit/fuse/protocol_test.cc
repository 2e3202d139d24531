// SPDX-License-Identifier: MIT
// The adapter without a kernel: this test is the other end of the device, over a socket pair.
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "core/vfs/static_file_system.h"
#include "fuse/adapter.h"
#include "fuse/memory_pressure.h"

namespace pkgfs::fuse {
namespace {

struct Reply {
  int error = 0;
  std::string body;

  template <typename T>
  [[nodiscard]] T as() const {
    T value{};
    std::memcpy(&value, body.data(), std::min(sizeof(T), body.size()));
    return value;
  }
};

Blob blob_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {std::make_shared<MemoryBytes>("text", std::vector<std::byte>(bytes.begin(), bytes.end())), 0, text.size()};
}

class Protocol : public testing::Test {
 protected:
  explicit Protocol(std::uint32_t capabilities = 0)
      : tree_({{.path = "/dir/hello.txt", .content = blob_of("Hello")}, {.path = "/x", .content = blob_of("x")}}),
        adapter_(tree_, statistics_, {.uid = 7, .gid = 8, .live_timeout = 1, .usage = [] { return Usage{5000, 3}; }}) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    kernel_ = ends[0];
    char name[] = "pkgfs";
    char* argv[] = {name, nullptr};
    fuse_args args = FUSE_ARGS_INIT(1, argv);
    session_ = fuse_session_new(&args, &Adapter::operations(), sizeof(fuse_lowlevel_ops), &adapter_);
    fuse_opt_free_args(&args);
    static const fuse_custom_io io = [] {
      fuse_custom_io functions{};
      functions.writev = [](int fd, iovec* iov, int count, void*) { return ::writev(fd, iov, count); };
      functions.read = [](int fd, void* buffer, size_t size, void*) { return ::read(fd, buffer, size); };
      return functions;
    }();
    const int result = fuse_session_custom_io(session_, &io, ends[1]);
    if (result == -ENOTSUP) {  // by default since 3.18
      ::close(ends[1]);
      return;
    }
    EXPECT_EQ(result, 0);
    server_ = std::thread([this] { fuse_session_loop(session_); });
    fuse_init_in init{};
    init.major = FUSE_KERNEL_VERSION;
    init.minor = 34;
    init.max_readahead = 65536;
    init.flags = FUSE_DO_READDIRPLUS | FUSE_CACHE_SYMLINKS | FUSE_ASYNC_READ | capabilities;
    init_ = ask(FUSE_INIT, 0, &init, sizeof(init));
  }

  ~Protocol() override {
    ::close(kernel_);
    if (server_.joinable()) {
      server_.join();
    }
    fuse_session_destroy(session_);
  }

  void SetUp() override {
    if (!server_.joinable()) {
      GTEST_SKIP() << "libfuse " << fuse_pkgversion() << " was built without fuse_session_custom_io";
    }
  }

  Reply ask(fuse_opcode opcode, std::uint64_t node, const void* body, std::size_t size) {
    fuse_in_header header{};
    header.len = static_cast<std::uint32_t>(sizeof(header) + size);
    header.opcode = opcode;
    header.unique = ++unique_;
    header.nodeid = node;
    std::string request(reinterpret_cast<const char*>(&header), sizeof(header));
    request.append(static_cast<const char*>(body), size);
    EXPECT_EQ(::write(kernel_, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    std::string answer(1U << 18U, '\0');
    pollfd waiting{.fd = kernel_, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, 5000) != 1) {
      ADD_FAILURE() << "no answer to opcode " << opcode;
      return {.error = -1, .body = {}};
    }
    const ssize_t length = ::read(kernel_, answer.data(), answer.size());
    fuse_out_header out{};
    std::memcpy(&out, answer.data(), sizeof(out));
    EXPECT_EQ(out.unique, unique_);
    EXPECT_EQ(out.len, static_cast<std::uint32_t>(length));
    return {.error = -out.error, .body = answer.substr(sizeof(out), static_cast<std::size_t>(length) - sizeof(out))};
  }

  Reply lookup(std::uint64_t dir, const std::string& name) {
    return ask(FUSE_LOOKUP, dir, name.c_str(), name.size() + 1);
  }
  std::uint64_t node(std::uint64_t dir, const std::string& name) {
    return lookup(dir, name).as<fuse_entry_out>().nodeid;
  }

  vfs::StaticFileSystem tree_;
  Statistics statistics_;
  Adapter adapter_;
  int kernel_ = -1;
  fuse_session* session_ = nullptr;
  std::thread server_;
  std::uint64_t unique_ = 0;
  Reply init_;
};

TEST_F(Protocol, InitAsksForReaddirplusAlways) {
  EXPECT_EQ(init_.error, 0);
  const auto out = init_.as<fuse_init_out>();
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
  EXPECT_NE(ask(FUSE_GETXATTR, FUSE_ROOT_ID, &statistics, sizeof(statistics)).body.find("\"listxattr\":1,"),
            std::string::npos);
  EXPECT_EQ(ask(FUSE_GETXATTR, node(FUSE_ROOT_ID, "x"), &statistics, sizeof(statistics)).error, ENODATA)
      << "of the root only";
}

}  // namespace
}  // namespace pkgfs::fuse
