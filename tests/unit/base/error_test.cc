// SPDX-License-Identifier: MIT
#include "core/base/error.h"

#include <cerrno>
#include <stdexcept>
#include <string>

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

}  // namespace
}  // namespace pkgfs
