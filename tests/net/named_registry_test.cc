// SPDX-License-Identifier: MIT
// Risk: a specifier names a registry, another registry answers, and pkgfs doesn't warn.
#include "tests/net/net.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

class NamedRegistry : public NetTest {
 protected:
  TestRegistry server_{{fixtures() / "registry/chain-v3"}};

  /// A package with these dependencies, in a directory of its own.
  [[nodiscard]] std::string package(const std::vector<std::string>& uses) const {
    PackageBuilder builder("test/root@1.0.0");
    builder.file("data", "file", "x").mount("/data", "data");
    for (const std::string& use : uses) {
      builder.use("alias" + std::to_string(&use - uses.data()), use);
    }
    return builder.publish(home_.path() / "packages");
  }
  [[nodiscard]] ProcessResult resolve(const std::string& what) const {
    return pkgfs({"resolve", what, "--registry", server_.endpoint()});
  }
  static std::size_t warnings(const ProcessResult& result) {
    std::size_t count = 0;
    for (std::size_t at = result.err.find("warning:"); at != std::string::npos;
         at = result.err.find("warning:", at + 1)) {
      ++count;
    }
    return count;
  }
};

TEST_F(NamedRegistry, ThatIsNotAskedIsAWarning) {
  const ProcessResult result = resolve("other.example:acme/base@0.3.0");
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_EQ(warnings(result), 1U) << result.describe();
  EXPECT_NE(result.err.find("\"other.example:acme/base@^0.3.0\" names the registry \"other.example\""),
            std::string::npos)
      << result.describe();
}

TEST_F(NamedRegistry, OfADependencyCountsAsWell) {
  const ProcessResult result = resolve(package({"other.example:acme/base@0.3.0"}));
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_EQ(warnings(result), 1U) << result.describe();
  EXPECT_NE(result.err.find("\"other.example:acme/base@^0.3.0\" names the registry \"other.example\""),
            std::string::npos)
      << result.describe();
}

TEST_F(NamedRegistry, IsWarnedOfOnce) {
  const ProcessResult result =
      resolve(package({"other.example:acme/base@0.3.0", "other.example:acme/lib@1.0.0", "third.example:acme/lib@1"}));
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_EQ(warnings(result), 2U) << result.describe();
}

TEST_F(NamedRegistry, ThatIsAskedIsNoWarning) {
  const std::string authority = server_.authority().substr(std::string("http://").size());
  const ProcessResult result = resolve(package({authority + ":acme/base@0.3.0"}));
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_EQ(result.err, "");
}

TEST_F(NamedRegistry, IsNamedWhereNothingIsFound) {
  const ProcessResult result = resolve(package({"other.example:acme/absent@1"}));
  EXPECT_EQ(result.exit_code, 6) << result.describe();
  EXPECT_EQ(warnings(result), 1U) << result.describe();
  EXPECT_NE(result.err.find("Unable to find \"other.example:acme/absent@^1\" in the registry"), std::string::npos)
      << result.describe();
}

}  // namespace
}  // namespace pkgfs::test
