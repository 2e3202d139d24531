// SPDX-License-Identifier: MIT
// Risk: a version that a registry has, but that can't be used, is said not to exist.
#include "tests/net/net.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Kind = Fault::Kind;
using Where = Fault::Where;

class UnusableVersion : public NetTest {
 protected:
  TestRegistry server_{{fixtures() / "registry/chain-v3"}};
};

TEST_F(UnusableVersion, DependencyThatCannotBeUsedSaysWhy) {
  server_.set_fault({.kind = Kind::kBadManifest, .where = Where::kGraphql, .match = "acme/base"});
  const ProcessResult damaged = pkgfs({"tree", "acme/app", "--registry", server_.endpoint()});
  EXPECT_EQ(damaged.exit_code, 4) << damaged.describe();
  EXPECT_NE(damaged.err.find("was found, but it can't be used"), std::string::npos) << damaged.describe();
  fs::remove_all(cache());
  server_.set_fault({.kind = Kind::kNullFields, .where = Where::kGraphql, .match = "acme/base"});
  const ProcessResult missing = pkgfs({"tree", "acme/app", "--registry", server_.endpoint()});
  EXPECT_EQ(missing.exit_code, 11) << missing.describe();
  EXPECT_NE(missing.err.find("the registry gives no download URL"), std::string::npos) << missing.describe();
}

TEST_F(UnusableVersion, NewestVersionThatCannotBeUsedIsNamed) {
  const fs::path packages = home_.path() / "packages";
  for (const char* version : {"1.0.0", "1.1.0"}) {
    PackageBuilder(std::string("test/one@") + version).file("data", "f", version).mount("/", "data").publish(packages);
  }
  TestRegistry server({packages});
  server.set_fault({.kind = Kind::kBadManifest, .where = Where::kGraphql, .match = "test/one@1.1.0"});
  const ProcessResult result = pkgfs({"tree", "test/one", "--registry", server.endpoint()});
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_NE(result.err.find("\"test/one@1.1.0\" can't be used, so that 1.0.0 is the newest"), std::string::npos)
      << result.describe();
}

TEST_F(UnusableVersion, TextsOfServersAreShortened) {
  server_.set_fault({.kind = Kind::kGraphqlErrors, .where = Where::kGraphql, .body = std::string(100'000, 'x')});
  const ProcessResult result = pkgfs({"tree", "acme/app", "--registry", server_.endpoint()});
  EXPECT_EQ(result.exit_code, 11);
  EXPECT_LT(result.err.size(), 2000U);
}

}  // namespace
}  // namespace pkgfs::test
