// SPDX-License-Identifier: MIT
// Risk: a file is overwritten by a socket, a living server loses its socket, or a dead one keeps the path for ever.
#include "daemon/http/unix_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <optional>
#include <utility>

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "tests/support/fixtures.h"
#include "tests/support/http.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Access = UnixListener::Access;

class Listener : public ::testing::Test {
 protected:
  [[nodiscard]] std::string path() const { return directory_.path() / "s"; }
  /// The code of the error, and its message.
  static std::pair<std::optional<ErrorCode>, std::string> refused(const std::string& path) {
    try {
      const UnixListener listener(path, "Unable to listen", Access::kUmask);
    } catch (const Error& error) {
      return {error.code(), error.what()};
    }
    return {};
  }

  TempDir directory_;
};

TEST_F(Listener, TheSocketComesAndGoesWithIt) {
  {
    const UnixListener listener(path(), "Unable to listen", Access::kOwnerOnly);
    EXPECT_EQ(listener.path(), path());
    struct stat status{};
    ASSERT_EQ(::lstat(path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode, S_IFSOCK | 0600U);
    EXPECT_TRUE(connect_to("unix:" + path()));
  }
  EXPECT_FALSE(fs::exists(path()));
  const UnixListener moved = [&] { return UnixListener(path(), "Unable to listen", Access::kUmask); }();
  EXPECT_TRUE(connect_to("unix:" + path()));
}

TEST_F(Listener, AnotherServersSocketStays) {
  const auto first = std::make_unique<UnixListener>(path(), "Unable to listen", Access::kUmask);
  const auto [code, message] = refused(path());
  EXPECT_EQ(code, ErrorCode::kBusy);
  EXPECT_NE(message.find("another process listens there"), std::string::npos) << message;
  EXPECT_TRUE(connect_to("unix:" + path())) << "the first one still listens";
}

TEST_F(Listener, ASocketThatAKilledServerLeftIsReplaced) {
  const fs::path aside = directory_.path() / "aside";
  {
    const UnixListener killed(path(), "Unable to listen", Access::kUmask);
    fs::rename(path(), aside);
  }
  fs::rename(aside, path());
  ASSERT_TRUE(fs::is_socket(path()));
  ASSERT_FALSE(connect_to("unix:" + path()));
  const UnixListener listener(path(), "Unable to listen", Access::kUmask);
  EXPECT_TRUE(connect_to("unix:" + path()));
}

TEST_F(Listener, APathThatAnotherSocketHasTakenIsNotRemoved) {
  auto first = std::make_unique<UnixListener>(path(), "Unable to listen", Access::kUmask);
  fs::remove(path());
  const UnixListener second(path(), "Unable to listen", Access::kUmask);
  first.reset();
  EXPECT_TRUE(connect_to("unix:" + path()));
}

TEST_F(Listener, WhatCannotBeUsedIsNamedAndKept) {
  const fs::path file = directory_.write("file", "precious");
  const auto [code, message] = refused(file);
  EXPECT_EQ(code, ErrorCode::kUsage);
  EXPECT_NE(message.find("is not a socket"), std::string::npos) << message;
  EXPECT_EQ(read_text(file), "precious");
  EXPECT_EQ(refused(directory_.path() / std::string(110, 'x')).first, ErrorCode::kUsage);
  EXPECT_EQ(refused(directory_.path() / "absent/s").first, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace pkgfs::test
