// SPDX-License-Identifier: MIT
// Risk: Wasmer's own runtime makes another tree of the same package from the same registry.
#include <algorithm>
#include <map>
#include <sstream>

#include "tests/net/net.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSdk = "@wasmer/sdk@0.9.0";

/// Lists what is in the first five levels with bash's own means: "d PATH" or "f PATH". This bash ends at redirections
/// and at functions that call themselves.
constexpr const char* kWalk =
    "for f in /* /.[!.]* /*/* /*/*/* /*/*/*/* /*/*/*/*/*; do "
    "if [ -d \"$f\" ]; then echo \"d $f\"; elif [ -e \"$f\" ]; then echo \"f $f\"; fi; done";

using Listing = std::map<std::string, char>;  // by path: 'd' or 'f'

/// What only one of the two shows, and why. Whole directories.
struct OnlyThere {
  const char* path;
  const char* reason;
};
constexpr OnlyThere kOnlyInTheRuntime[] = {
    {"/dev", "devices that the runtime makes"},
    {"/tmp", "made by the runtime"},
    {"/etc", "made by the runtime"},
    {"/.app", "made by the runtime"},
    {"/.private", "made by the runtime"},
    {"/bin/wasmer", "made by the runtime"},
};

bool is_only_in_the_runtime(const std::string& path) {
  return std::any_of(std::begin(kOnlyInTheRuntime), std::end(kOnlyInTheRuntime), [&](const OnlyThere& there) {
    return path == there.path || path.starts_with(std::string(there.path) + "/");
  });
}

Listing listing_of(const std::string& text) {
  Listing listing;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("d /") || line.starts_with("f /")) {
      listing[line.substr(2)] = line[0];
    }
  }
  return listing;
}

Listing listing_of(const fs::path& root) {
  Listing listing;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    listing["/" + entry.path().lexically_relative(root).string()] = entry.is_directory() ? 'd' : 'f';
  }
  return listing;
}

class WasmerSdk : public NetTest {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    if (const std::string why = fuse_missing(); !why.empty()) {
      GTEST_SKIP() << why;
    }
    if (!shared_fixtures()) {
      GTEST_SKIP() << "the shared fixtures with a bash package aren't here";
    }
    if (!have_program("node") || !have_program("npm")) {
      GTEST_SKIP() << "there is no node or no npm to run Wasmer's SDK with";
    }
    const ProcessResult installed = run({"npm", "install", "--silent", "--no-audit", "--prefix", sdk_.path(), kSdk},
                                        {.timeout = std::chrono::minutes(2)});
    if (!installed.ok()) {
      GTEST_SKIP() << "npm can't install " << kSdk << ": " << installed.describe();
    }
  }

  static std::string bash_package() {
    for (const auto& file : fs::directory_iterator(*shared_fixtures() / "third-party")) {
      if (file.path().filename().string().starts_with("bash-") && file.path().extension() == ".webc") {
        return file.path();
      }
    }
    return "(no bash)";
  }

  TempDir sdk_;
};

TEST_F(WasmerSdk, SeesTheTreeThatTheMountShows) {
  const TempDir dir;
  PackageBuilder root("acme/probe@1.0.0");
  root.file("own", "hello.txt", "from the root\n").mount("/probe", "own");
  root.use("app", "acme/app@^2");
  // bash itself is published as version 2 only, and the runtime takes nothing but version 3 from a registry.
  const ProcessResult bash =
      pkgfs({"cat", "--registry", (*shared_fixtures() / "registry/stubs").string(), bash_package(), "/bin/bash"});
  ASSERT_TRUE(bash.ok()) << bash.err;
  root.command("bash", bash.out);
  root.publish(dir.path());
  TestRegistry server({dir.path(), chain_});

  const MountedPackage mount(kPkgfs, "acme/probe", {"--registry", server.endpoint()}, {.environment = environment()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Listing ours = listing_of(mount.path());

  const std::string script = source_directory() / "tests/net/wasmer_sdk.mjs";
  const ProcessResult result =
      run({"node", script, sdk_.path(), server.endpoint(), "acme/probe", "bash", "-c", kWalk},
          {.timeout = std::chrono::minutes(2), .environment = {{"http_proxy", ""}, {"https_proxy", ""}}});
  std::string asked;
  for (const auto& request : server.requests()) {
    asked += request.method + " " + request.path + " " + std::to_string(request.status) + "\n";
  }
  ASSERT_TRUE(result.ok()) << result.describe() << "\n" << asked;
  Listing theirs = listing_of(result.out);
  std::erase_if(theirs, [](const auto& entry) { return is_only_in_the_runtime(entry.first); });

  EXPECT_TRUE(ours.contains("/probe/hello.txt"));
  EXPECT_EQ(theirs, ours) << result.out;
}

}  // namespace
}  // namespace pkgfs::test
