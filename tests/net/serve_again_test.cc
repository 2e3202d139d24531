// SPDX-License-Identifier: MIT
// Risk: a package of a served directory that was closed can't be opened again, because nothing but a URL, or an
// artifact of a lock file, names a part of it.
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/unique_fd.h"
#include "tests/net/lazy_url.h"
#include "tests/net/oci_registry.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::size_t kLarge = std::size_t{12} << 20U;

/// Waits until the package of `path` is closed, while the kernel knows its root directory. The result keeps that.
UniqueFd closed(const MountedPackage& served, const std::string& path) {
  UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_TRUE(root) << path;
  EXPECT_TRUE(eventually(
      [&] { return nlohmann::json::parse(run({kPkgfs, "stats", "--json", served.path()}).out)["packages"].empty(); },
      20s));
  return root;
}

std::string error_of(const fs::path& path) {
  return run({"getfattr", "--only-values", "-n", "user.pkgfs.error", path}).out;
}

/// A registry directory with local/uses, which shows a file of acme/big in `/big`. It names that by its URL.
class ServedUrl : public LazyUrl {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    if (const std::string why = fuse_missing(); !IsSkipped() && !why.empty()) {
      GTEST_SKIP() << why;
    }
    if (!IsSkipped()) {
      serve(kLarge);
      PackageBuilder("local/uses@1.0.0")
          .use("acme/big", url_)
          .file("own", "version", "1.0.0\n")
          .mount("/own", "own")
          .mount("/big", "data", "acme/big")
          .publish(registry());
    }
  }
  [[nodiscard]] fs::path registry() const { return home_.path() / "registry"; }
  [[nodiscard]] std::unique_ptr<MountedPackage> serve_packages(Arguments options = {}) const {
    options.insert(options.begin(), {"--registry", registry(), "--timeout", "3", "--idle=1s"});
    auto served =
        std::make_unique<MountedPackage>(kPkgfs, kServed, options, ProcessOptions{.environment = environment()});
    EXPECT_TRUE(served->ok()) << served->result().describe();
    return served;
  }
};

TEST_F(ServedUrl, WhatWasReadInPartsIsOpenedAgain) {
  const auto served = serve_packages({"--background=off"});
  const std::string path = *served / "local/uses@1.0.0";
  ASSERT_EQ(read_text(path + "/big/" + name_of(3)), content_of(3)) << error_of(path);
  EXPECT_FALSE(fs::exists(url_entry())) << "it is complete: the test shows nothing";
  const UniqueFd root = closed(*served, path);
  EXPECT_EQ(read_text(path + "/big/" + name_of(30)), content_of(30)) << error_of(path);
  const UniqueFd file(::openat(root.get(), "own/version", O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(file) << "it is another tree";
}

TEST_F(ServedUrl, WhatIsGoneFromTheCacheAndTheServerIsFoundAnew) {
  const auto served = serve_packages({"--lazy=off"});
  const std::string path = *served / "local/uses@1.0.0";
  ASSERT_EQ(read_text(path + "/big/" + name_of(3)), content_of(3)) << error_of(path);
  UniqueFd root = closed(*served, path);
  fs::remove_all(cache() / "downloads");
  EXPECT_EQ(read_text(path + "/big/" + name_of(4)), content_of(4)) << error_of(path);
  root = closed(*served, path);
  fs::remove_all(cache() / "downloads");
  replace(kLarge);
  EXPECT_EQ(read_text(path + "/big/a-new"), "new") << error_of(path);
}

TEST_F(ServedUrl, ALockedPackageOfAPrivateServerIsShown) {
  const fs::path locks = home_.path() / "locks";
  fs::create_directory(locks);
  ASSERT_TRUE(pkgfs({"resolve", "--lock", locks / "big.lock", url_}).ok());
  fs::remove_all(cache());
  const auto served = serve_packages({"--locks", locks});
  const std::string path = *served / "locked/big";
  ASSERT_EQ(read_text(path + "/" + name_of(3)), content_of(3)) << error_of(path);
  const UniqueFd root = closed(*served, path);
  fs::remove_all(cache());
  EXPECT_EQ(read_text(path + "/" + name_of(4)), content_of(4)) << error_of(path);
}

class ServedArtifact : public OciTest {};

TEST_F(ServedArtifact, OfALockFileIsShownAndOpenedAgain) {
  if (const std::string why = fuse_missing(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const fs::path container = home_.path() / "app.webc";
  PackageBuilder("acme/app@1.0.0").file("data", "content", "one").mount("/", "data").write(container);
  const std::string name = push(container, "acme/app:1");
  const fs::path locks = home_.path() / "locks";
  fs::create_directory(locks);
  fs::create_directory(home_.path() / "registry");
  ASSERT_TRUE(oci({"resolve", "--lock", locks / "app.lock", name}).ok());
  fs::remove_all(cache());
  const MountedPackage served(
      kPkgfs, kServed, {"--registry", home_.path() / "registry", "--locks", locks, "--timeout", "3", "--idle=1s"},
      {.environment = variables()});
  ASSERT_TRUE(served.ok()) << served.result().describe();
  const std::string path = served / "locked/app";
  ASSERT_EQ(read_text(path + "/content"), "one") << error_of(path);
  const UniqueFd root = closed(served, path);
  fs::remove_all(cache());
  EXPECT_EQ(read_text(path + "/content"), "one") << error_of(path);
}

}  // namespace
}  // namespace pkgfs::test
