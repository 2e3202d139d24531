// SPDX-License-Identifier: MIT
// Risk: a credential helper keeps pkgfs from its end, or a daemon looks for its logins in another directory.
#include "daemon/packages/registry_logins.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <thread>

#include "core/base/error.h"
#include "daemon/packages/credential_helper.h"
#include "tests/support/fixtures.h"

namespace pkgfs {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

class CredentialHelper : public ::testing::Test {
 protected:
  CredentialHelper() { ::setenv("PATH", (place_.path().string() + ":" + path_).c_str(), 1); }
  ~CredentialHelper() override { ::setenv("PATH", path_.c_str(), 1); }

  void write(const std::string& name, const std::string& text) const {
    const auto file = place_.write("docker-credential-" + name, "#!/bin/sh\n" + text);
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  }
  std::string failure(const std::string& name, std::chrono::milliseconds limit = 20s) {
    try {
      const auto found = ask_helper(name, "example.com", cancel_, limit);
      return found ? "found " + found->username : "none";
    } catch (const Error& error) {
      code_ = error.code();
      return error.what();
    }
  }

  std::string path_ = std::getenv("PATH");
  test::TempDir place_;
  CancelFlag cancel_;
  ErrorCode code_ = ErrorCode::kInternal;
};

TEST_F(CredentialHelper, IsAskedAndMayHaveNone) {
  write("good", "echo '{\"Username\": \"alice\", \"Secret\": \"s\"}'\n");
  write("none", "echo not found; exit 1\n");
  write("long", "head -c 70000 /dev/zero\n");
  EXPECT_EQ(failure("good"), "found alice");
  EXPECT_EQ(failure("none"), "none");
  EXPECT_THAT(failure("long"), HasSubstr("answers more than"));
  EXPECT_THAT(failure("missing"), HasSubstr("isn't installed"));
}

TEST_F(CredentialHelper, ThatHangsEndsAtTheLimitOrWhenCancelled) {
  write("silent", "exec sleep 60\n");
  write("closed", "exec >&-\nexec sleep 60\n");
  const auto begun = Clock::now();
  EXPECT_THAT(failure("silent", 200ms), HasSubstr("doesn't answer"));
  EXPECT_THAT(failure("closed", 200ms), HasSubstr("doesn't end"));
  for (const char* name : {"silent", "closed"}) {
    CancelFlag cancel;
    std::thread other([&] {
      std::this_thread::sleep_for(200ms);
      cancel.cancel();
    });
    EXPECT_THROW(static_cast<void>(ask_helper(name, "example.com", cancel, 30s)), Error) << name;
    other.join();
  }
  EXPECT_LT(Clock::now() - begun, 20s);
}

TEST_F(CredentialHelper, ThatHangsEndsAtTheLimitInSpiteOfASignal) {
  write("silent", "exec sleep 15\n");
  struct sigaction before{};
  struct sigaction ignored{};
  ignored.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGUSR1, &ignored, &before), 0);
  std::thread other([target = ::pthread_self()] {
    std::this_thread::sleep_for(200ms);
    ::pthread_kill(target, SIGUSR1);
  });
  const auto begun = Clock::now();
  EXPECT_THAT(failure("silent", 1s), HasSubstr("doesn't answer"));
  EXPECT_LT(Clock::now() - begun, 10s);
  other.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

Environment environment_of(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

TEST(RegistryLogins, RelativePathsCountFromTheDirectoryOfTheCommand) {
  EXPECT_THAT(RegistryLogins(environment_of({{"REGISTRY_AUTH_FILE", "x/../auth.json"}}), "/some/dir").files(),
              ElementsAre("/some/dir/auth.json"));
  EXPECT_THAT(RegistryLogins(environment_of({{"REGISTRY_AUTH_FILE", "auth.json"}}), "").files(),
              ElementsAre((std::filesystem::current_path() / "auth.json").string()));
  EXPECT_THAT(
      RegistryLogins(environment_of({{"HOME", "/home/a"}, {"XDG_RUNTIME_DIR", "/run/a"}, {"DOCKER_CONFIG", "d"}}), "/w")
          .files(),
      ElementsAre("/run/a/containers/auth.json", "/home/a/.config/containers/auth.json", "/w/d/config.json"));
}

TEST(RegistryLogins, AnIdentityIsThatOfTheLogin) {
  const auto identity = [](const std::string& auths, const std::string& name = "example.com/a") {
    return RegistryLogins(environment_of({{"DOCKER_AUTH_CONFIG", "{\"auths\": {" + auths + "}}"}}), "")
        .identity(oci::Reference::parse("oci://" + name));
  };
  const std::string one = R"("example.com": {"username": "a", "password": "b"})";
  EXPECT_EQ(identity(one), identity(R"("other.com": {"auth": "YTpi"}, )" + one)) << "of this repository only";
  EXPECT_NE(identity(one), identity(R"("example.com": {"username": "a", "password": "c"})"));
  EXPECT_NE(identity(one), identity(R"("example.com": {"username": "ab", "password": ""})"));
  EXPECT_NE(identity(one), "");
  EXPECT_EQ(identity(one, "example.org/a"), "");
  EXPECT_EQ(identity(""), "");

  const test::TempDir place;
  const auto file = place.write("auth.json", R"({"credHelpers": {"example.com": "no-such-program"}})");
  const RegistryLogins helped(environment_of({{"REGISTRY_AUTH_FILE", file.string()}}), "");
  EXPECT_NE(helped.identity(oci::Reference::parse("oci://example.com/a")), "");
  EXPECT_EQ(helped.identity(oci::Reference::parse("oci://example.org/a")), "");
}

}  // namespace
}  // namespace pkgfs
