// SPDX-License-Identifier: MIT
#include "core/base/error.h"

#include <cerrno>
#include <string>

#include <gtest/gtest.h>

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
