// SPDX-License-Identifier: MIT
#include "tests/mounted/mounted.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

namespace pkgfs::test {

const std::string kPkgfs = PKGFS_BINARY;

namespace {

/// Nobody's login and cache play a part, and a test that forgets to say where its packages are asks a port of this
/// machine on which nobody listens.
class NobodysHome : public ::testing::Environment {
 public:
  void SetUp() override {
    // NOLINTBEGIN(concurrency-mt-unsafe): before any test
    ::setenv("WASMER_DIR", home_.emplace().path().c_str(), 1);
    ::setenv("WASMER_REGISTRY", "http://127.0.0.1:1/graphql", 1);
    for (const char* variable : {"WASMER_CACHE_DIR", "WASMER_TOKEN", "WASMER_WEBC_VERSION"}) {
      ::unsetenv(variable);
    }
    // NOLINTEND(concurrency-mt-unsafe)
  }
  void TearDown() override { home_.reset(); }

 private:
  std::optional<TempDir> home_;
};

const auto* const kHome = ::testing::AddGlobalTestEnvironment(new NobodysHome);  // GoogleTest owns it

}  // namespace

std::vector<std::string> fixture_names(const std::string& folder, const std::string& suffix) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(fixtures() / folder)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(suffix)) {
      names.push_back(name.substr(0, name.size() - suffix.size()));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

void expect_refused(const MountedPackage& mount) {
  const ProcessResult& result = mount.result();
  EXPECT_FALSE(result.timed_out) << result.describe();
  EXPECT_EQ(result.signal, 0) << result.describe();
  EXPECT_GT(result.exit_code, 0) << result.describe();
  EXPECT_LT(result.exit_code, 64) << "not one of our exit codes; " << result.describe();
  EXPECT_FALSE(result.err.empty()) << "no message";
  EXPECT_FALSE(find_mount(mount.path()).has_value()) << mount.path() << " is mounted";
  EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).empty(); })) << "a daemon is left";
}

}  // namespace pkgfs::test
