// SPDX-License-Identifier: MIT
// Risk: a library that is loaded late is missing or another one, and the message doesn't say so.
#include "core/base/shared_library.h"

#include <functional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pkgfs {
namespace {

using testing::HasSubstr;

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    return error.what();
  }
  return "(no error)";
}

TEST(SharedLibrary, GivesItsFunctions) {
  const SharedLibrary library("libm.so.6", "to count", "libc6");
  double (*root)(double) = nullptr;
  library.bind(root, "sqrt");
  ASSERT_NE(root, nullptr);
  EXPECT_EQ(root(9), 3);
}

TEST(SharedLibrary, NamesTheOneThatIsMissing) {
  const std::string text = message_of([] { const SharedLibrary library("libnot-here.so.1", "to fly", "libnothere1"); });
  EXPECT_THAT(
      text,
      HasSubstr("Unable to load libnot-here.so.1, which is needed to fly; Debian has it in the package libnothere1"));
  EXPECT_THAT(text, HasSubstr("No such file"));
}

TEST(SharedLibrary, NamesTheFunctionThatIsMissing) {
  const SharedLibrary library("libm.so.6", "to count", "libc6");
  int (*function)() = nullptr;
  const std::string text = message_of([&] { library.bind(function, "no_such_function"); });
  EXPECT_THAT(text, HasSubstr("libm.so.6"));
  EXPECT_THAT(text, HasSubstr("no_such_function"));
}

}  // namespace
}  // namespace pkgfs
