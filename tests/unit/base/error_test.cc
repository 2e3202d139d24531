// SPDX-License-Identifier: MIT
#include "core/base/error.h"

#include <sys/resource.h>

#include <cerrno>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include <gtest/gtest.h>

#include "core/base/message.h"

namespace pkgfs {
namespace {

TEST(Error, ChainPrintsOutermostFirst) {
  Error error(ErrorCode::kCorrupt, "offset 17 is beyond the section");
  error.context("Unable to parse the volume \"atom\"").context("Unable to open \"x.webc\"");
  EXPECT_EQ(std::string(error.what()),
            "Unable to open \"x.webc\"\n"
            "  caused by: Unable to parse the volume \"atom\"\n"
            "  caused by: offset 17 is beyond the section");
  EXPECT_EQ(error.message(), "Unable to open \"x.webc\"");
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.chain().size(), 3U);
}

TEST(Error, CauseThatTheOuterTextEndsWithIsPrintedOnce) {
  const Error error(ErrorCode::kResolve,
                    std::vector<std::string>{"failed to query package 'a/b': not found", "not found"});
  EXPECT_EQ(std::string(error.what()), "failed to query package 'a/b': not found");
  EXPECT_EQ(error.chain().size(), 2U);
}

// Risk: a name from outside prints a line of its own.
TEST(Error, EveryMessageIsOnePrintableLine) {
  Error error(ErrorCode::kCorrupt, std::vector<std::string>{"a\nb", "c\x1b"});
  error.context("outer\r").caused_by("inner\n");
  EXPECT_EQ(std::string(error.what()),
            "outer\\x0d\n  caused by: a\\x0ab\n  caused by: c\\x1b\n  caused by: inner\\x0a");
  const Error copy(ErrorCode::kIo, Error(ErrorCode::kBusy, "two\nlines\x7f", Error::LineBreaks::kKept));
  EXPECT_EQ(copy.message(), "two\nlines\\x7f") << "those that the author wrote stay";
  EXPECT_EQ(copy.code(), ErrorCode::kIo);
  EXPECT_LT(Error(ErrorCode::kIo, std::string(1'000'000, 'x')).message().size(), 2100U);
}

TEST(Message, ArgumentsAreShownSafely) {
  const Error error = Error(ErrorCode::kIo, "in\nner").context("outer");
  EXPECT_EQ(format_message("{}\n{} {:>3}", "a\nb", std::string("c\x1b"), 7), "a\\x0ab\nc\\x1b   7");
  EXPECT_EQ(format_message("{}", error), "outer\n  caused by: in\\x0aner") << "an Error keeps its lines";
  EXPECT_EQ(format_message("{}", std::runtime_error("x\ny")), "x\\x0ay");
}

TEST(Error, EmptyChainIsStillAnError) {
  const Error error(ErrorCode::kInternal, std::vector<std::string>{});
  EXPECT_FALSE(error.message().empty());
}

TEST(Error, ContextOnATemporaryKeepsTheCode) {
  try {
    throw Error(ErrorCode::kBusy, "inner").context("outer");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBusy);
    EXPECT_EQ(error.message(), "outer");
  }
}

TEST(Error, ErrnoDecidesTheCode) {
  EXPECT_EQ(system_error("open x", ENOENT).code(), ErrorCode::kNotFound);
  EXPECT_EQ(system_error("open x", ENOTDIR).code(), ErrorCode::kNotFound);
  EXPECT_EQ(system_error("open x", EACCES).code(), ErrorCode::kPermission);
  EXPECT_EQ(system_error("open x", EPERM).code(), ErrorCode::kPermission);
  EXPECT_EQ(system_error("open x", EBUSY).code(), ErrorCode::kBusy);
  EXPECT_EQ(system_error("open x", EIO).code(), ErrorCode::kIo);
  EXPECT_EQ(system_error("open x", ENOENT).message(), "open x: No such file or directory");
}

// Risk: a limit of the process is told as damage of the file, or as a bug in pkgfs.
TEST(Error, ALimitIsNamedWithItsValueAndItsCommand) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{77, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const Error error = system_error("Unable to open \"x\"", EMFILE);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(error.message(), "Unable to open \"x\": Too many open files (the limit is 77; raise it with ulimit -n)");
  EXPECT_TRUE(error.is_of_machine());
  EXPECT_TRUE(error.is_of_run());
  EXPECT_FALSE(system_error("x", ENOENT).is_of_run());
  EXPECT_TRUE(Error(ErrorCode::kInterrupted, "x").is_of_run());
  Error outer(ErrorCode::kIo, "outer");
  outer.caused_by(error);
  EXPECT_TRUE(outer.is_of_machine()) << "a cause is kept with what it says of the machine";
}

TEST(Error, AStartSaysWhatMayForbidIt) {
  const Error denied = start_error("Unable to start a process", EPERM);
  EXPECT_EQ(denied.code(), ErrorCode::kPermission);
  EXPECT_NE(denied.message().find("seccomp"), std::string::npos);
  const Error scarce = start_error("Unable to start a process", EAGAIN);
  EXPECT_EQ(scarce.code(), ErrorCode::kIo);
  EXPECT_TRUE(scarce.is_of_machine());
  EXPECT_TRUE(scarce.message().find("ulimit") != std::string::npos ||
              scarce.message().find("pids.max") != std::string::npos);
}

/// `current_error` of `thrown`.
template <typename Thrown>
Error caught(const Thrown& thrown) {
  try {
    throw thrown;
  } catch (...) {
    return current_error();
  }
}

TEST(Error, EveryExceptionHasOne) {
  EXPECT_EQ(caught(Error(ErrorCode::kBusy, "x")).code(), ErrorCode::kBusy);
  EXPECT_EQ(caught(std::bad_alloc()).code(), ErrorCode::kIo);
  EXPECT_TRUE(caught(std::bad_alloc()).is_of_machine());
  EXPECT_EQ(caught(std::runtime_error("x")).message(), "internal error: x");
  EXPECT_EQ(caught(7).code(), ErrorCode::kInternal);
  const Error thread = caught(std::system_error(EAGAIN, std::generic_category()));
  EXPECT_EQ(thread.code(), ErrorCode::kIo);
  EXPECT_TRUE(thread.message().starts_with("Unable to start a thread: ")) << thread.message();
  EXPECT_EQ(caught(std::system_error(EAGAIN, std::generic_category(), "other")).code(), ErrorCode::kInternal);
}

}  // namespace
}  // namespace pkgfs
