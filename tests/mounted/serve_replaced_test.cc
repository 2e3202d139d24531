// SPDX-License-Identifier: MIT
// Risk: a served directory shows a container that was replaced while its package was closed, although a lock file or a
// file beside it states another hash.
#include <fcntl.h>

#include <memory>
#include <string>

#include "core/base/unique_fd.h"
#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class ServeReplaced : public MountedTest {
 protected:
  void publish(const std::string& content) const {
    PackageBuilder("acme/app@1.0.0").mount("/data", "data").file("data", "version", content).publish(registry());
  }
  [[nodiscard]] fs::path registry() const { return dir_.path() / "registry"; }
  [[nodiscard]] fs::path container() const { return registry() / "acme/app/1.0.0.webc"; }
  [[nodiscard]] std::unique_ptr<MountedPackage> serve(Arguments options = {}) const {
    options.insert(options.end(),
                   {"--idle=1s", "--offline", "--cache-dir", dir_.path() / "cache", "--registry", registry()});
    auto served = std::make_unique<MountedPackage>(kPkgfs, kServed, options);
    EXPECT_TRUE(served->ok()) << served->result().describe();
    return served;
  }
  /// Waits until the package of `path` is closed, while the kernel knows its root directory. The result keeps that.
  [[nodiscard]] UniqueFd closed(const MountedPackage& served, const std::string& path) const {
    UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    EXPECT_TRUE(root) << path;
    EXPECT_TRUE(eventually(
        [&] {
          return run({"find", "/proc/" + std::to_string(served.daemon()) + "/fd", "-lname", container()}).out.empty();
        },
        std::chrono::seconds(20)));
    return root;
  }
  static void expect_refused(const std::string& path, const std::string& why) {
    const ProcessResult read = run({"cat", path + "/data/version"});
    EXPECT_EQ(read.out, "");
    EXPECT_NE(read.err.find("Input/output error"), std::string::npos) << read.describe();
    const std::string error = run({"getfattr", "--only-values", "-n", "user.pkgfs.error", path}).out;
    EXPECT_NE(error.find(why), std::string::npos) << error;
  }

  TempDir dir_;
};

TEST_F(ServeReplaced, IsRefusedByTheLockFile) {
  publish("1.0.0\n");
  const fs::path locks = dir_.path() / "locks";
  fs::create_directory(locks);
  ASSERT_TRUE(run({kPkgfs, "resolve", "--quiet", "--offline", "--registry", registry(),
                   "--lock=" + (locks / "prod.lock").string(), "acme/app@=1.0.0"})
                  .ok());
  const auto served = serve({"--locks", locks});
  const std::string path = *served / "locked/prod";
  ASSERT_EQ(read_text(path + "/data/version"), "1.0.0\n");
  UniqueFd root = closed(*served, path);
  EXPECT_EQ(read_text(path + "/data/version"), "1.0.0\n");
  root = closed(*served, path);
  publish("other\n");
  expect_refused(path, "has changed since it was locked");
}

TEST_F(ServeReplaced, IsRefusedByTheHashBesideIt) {
  publish("1.0.0\n");
  const fs::path stated = registry() / "acme/app/1.0.0.sha256";
  ASSERT_TRUE(run({"sh", "-c", "sha256sum < \"$0\" | cut -c1-64 > \"$1\"", container(), stated}).ok());
  const auto served = serve();
  const std::string path = *served / "acme/app@1.0.0";
  ASSERT_EQ(read_text(path + "/data/version"), "1.0.0\n");
  UniqueFd root = closed(*served, path);
  EXPECT_EQ(read_text(path + "/data/version"), "1.0.0\n");
  root = closed(*served, path);
  publish("other\n");
  expect_refused(path, "sha256 mismatch");
}

}  // namespace
}  // namespace pkgfs::test
