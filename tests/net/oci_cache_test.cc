// SPDX-License-Identifier: MIT
// Risk: `pkgfs cache` leaves what pkgfs knows of OCI registries for ever, or removes it under a mount that needs it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <random>
#include <thread>

#include <nlohmann/json.hpp>

#include "tests/net/oci_registry.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

class OciCache : public OciTest {
 protected:
  static constexpr std::size_t kLarge = std::size_t{12} << 20U;

  /// A container with the files `content` and, unless it is empty, `large`.
  [[nodiscard]] std::string package(const std::string& content, const std::string& large = {}) const {
    const fs::path path = home_.path() / "app.webc";
    PackageBuilder builder("acme/app@1.0.0");
    builder.file("data", "content", content);
    if (!large.empty()) {
      builder.file("data", "large", large);
    }
    builder.mount("/", "data").write(path);
    return path;
  }
  [[nodiscard]] ProcessResult cat(const std::string& name, Arguments more = {}) const {
    more.insert(more.begin(), "cat");
    more.insert(more.end(), {name, "/content"});
    return oci(more);
  }
  /// The entries of `pkgfs cache list` that are artifacts.
  [[nodiscard]] std::vector<json> artifacts() const {
    std::vector<json> found;
    for (const json& row : json::parse(oci({"cache", "list", "--json"}).out)) {
      if (row.at("kind") == "artifact") {
        found.push_back(row);
      }
    }
    return found;
  }
  /// The paths of those with this ending.
  [[nodiscard]] std::vector<fs::path> paths(const std::string& ending) const {
    std::vector<fs::path> found;
    for (const json& row : artifacts()) {
      if (const std::string path = row.at("path"); path.ends_with(ending)) {
        found.emplace_back(path);
      }
    }
    return found;
  }
  static void make_old(const fs::path& path) {
    const timespec time{.tv_sec = std::time(nullptr) - 48 * 3600, .tv_nsec = 0};
    const std::array<timespec, 2> both{time, time};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), both.data(), 0), 0);
  }
};

TEST_F(OciCache, WhatIsKnownOfARegistryIsListedAndPruned) {
  const std::string tag = registry_->url("acme/app:1");
  const std::string name = push(package("one"), "acme/app:1");
  ASSERT_EQ(cat(tag).out, "one");
  EXPECT_EQ(paths(".json").size(), 2U) << "the manifest and the lock file";
  EXPECT_EQ(paths(".tag").size(), 1U);
  const ProcessResult listed = oci({"cache", "list"});
  EXPECT_THAT(listed.out, HasSubstr("  (artifact)  " + paths(".tag").at(0).string() + "\n")) << listed.describe();
  EXPECT_THAT(listed.out, HasSubstr("\n1 package, 3 files of artifacts, "));

  for (const char* options : {"--older-than=1d", "--max-size=1"}) {
    ASSERT_TRUE(oci({"cache", "prune", options}).ok());
    EXPECT_EQ(artifacts().size(), 3U) << options;
  }
  ASSERT_EQ(cat(name).out, "one") << "the container was removed for its size";
  const ProcessResult trial = oci({"cache", "prune", "--dry-run"});
  EXPECT_THAT(trial.out, HasSubstr("  (artifact)\n")) << trial.describe();
  EXPECT_EQ(artifacts().size(), 3U);
  const ProcessResult pruned = oci({"cache", "prune"});
  EXPECT_THAT(pruned.out, HasSubstr("  (artifact)\n")) << pruned.describe();
  EXPECT_EQ(artifacts().size(), 0U);
  for (const auto& login : fs::directory_iterator(cache() / "oci")) {
    EXPECT_EQ(login.path().filename(), "salt");
  }
  EXPECT_THAT(cat(tag, {"--offline"}).err, HasSubstr("isn't in the cache"));
  EXPECT_EQ(cat(tag).out, "one");
}

TEST_F(OciCache, UsedFilesAreNotOld) {
  const std::string tag = registry_->url("acme/app:1");
  const std::string name = push(package("one"), "acme/app:1");
  ASSERT_EQ(cat(tag).out, "one");
  for (const json& row : artifacts()) {
    make_old(row.at("path").get<std::string>());
  }
  ASSERT_EQ(cat(tag, {"--offline"}).out, "one");
  EXPECT_THAT(cat(tag, {"--offline"}).err, HasSubstr("was last looked up 2 days ago")) << "a use is no look-up";
  ASSERT_TRUE(oci({"cache", "prune", "--older-than=1d"}).ok());
  EXPECT_EQ(artifacts().size(), 3U);
  make_old(paths(".tag").at(0));
  ASSERT_EQ(cat(name, {"--offline"}).out, "one") << "needs no tag";
  ASSERT_TRUE(oci({"cache", "prune", "--older-than=1d"}).ok());
  EXPECT_EQ(paths(".tag").size(), 0U);
  EXPECT_EQ(cat(name, {"--offline"}).out, "one");
}

TEST_F(OciCache, DamagedFilesAreFoundAndFetchedAgain) {
  const std::string tag = registry_->url("acme/app:1");
  const std::string name = push(package("one"), "acme/app:1");
  ASSERT_EQ(cat(tag).out, "one");
  EXPECT_EQ(oci({"cache", "verify"}).out, "every entry has the hash in its name\n");
  std::vector<fs::path> damaged = paths(".json");
  damaged.push_back(paths(".tag").at(0));
  for (const fs::path& path : damaged) {
    fs::resize_file(path, fs::file_size(path) - 1);
  }
  const ProcessResult trial = oci({"cache", "verify", "--dry-run"});
  EXPECT_EQ(trial.exit_code, 4) << trial.describe();
  const ProcessResult verified = oci({"cache", "verify"});
  EXPECT_EQ(verified.exit_code, 4);
  for (const fs::path& path : damaged) {
    EXPECT_THAT(trial.out, HasSubstr("damaged: " + path.string() + ": its content "));
    EXPECT_THAT(verified.out, HasSubstr("damaged, removed: " + path.string() + ": its content "));
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_TRUE(oci({"cache", "verify"}).ok());
  EXPECT_EQ(cat(name).out, "one");
  EXPECT_EQ(paths(".json").size(), 2U);
}

TEST_F(OciCache, AMountOutlivesAPruneAndSoDoesItsSuccessor) {
  std::mt19937 random(1);
  std::string large(kLarge, '\0');
  std::ranges::generate(large, [&random] { return static_cast<char>(random()); });
  const std::string tag = registry_->url("acme/app:1");
  (void)push(package("one", large), "acme/app:1");
  const MountedPackage mount(kPkgfs, tag, {"--lazy=on", "--background=off"}, {.environment = variables()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  ASSERT_EQ(read_text(mount / "content"), "one");
  const ProcessResult pruned = oci({"cache", "prune"});
  ASSERT_TRUE(pruned.ok()) << pruned.describe();
  EXPECT_EQ(artifacts().size(), 0U);
  json before;
  const auto stats = [&] {
    return json::parse(run({kPkgfs, "stats", "--json", mount.path()}, {.timeout = 5s}).out, nullptr, false);
  };
  ASSERT_TRUE(eventually([&] { return (before = stats()).contains("keeper"); }));
  ASSERT_EQ(::kill(before.at("pid").get<pid_t>(), SIGKILL), 0);
  EXPECT_TRUE(read_text(mount / "large") == large);
  (void)push(package("two"), "acme/app:1");
  const ProcessResult refreshed = oci({"refresh", mount.path()});
  EXPECT_TRUE(refreshed.ok()) << refreshed.describe();
  EXPECT_EQ(read_text(mount / "content"), "two");
}

TEST_F(OciCache, PrunesAndUsesAtTheSameTime) {
  const std::string tag = registry_->url("acme/app:1");
  const std::string name = push(package("one"), "acme/app:1");
  const auto login = registry_->environment();  // it writes a file
  const auto use = [&](const std::string& each) { return pkgfs({"cat", each, "/content"}, login); };
  ASSERT_EQ(use(tag).out, "one");
  const std::vector<json> files = artifacts();
  std::atomic<bool> done = false;
  std::atomic<int> prunes = 0;
  std::thread pruning([&] {
    while (!done) {
      for (const json& row : files) {  // so that only these are old
        ::utimensat(AT_FDCWD, row.at("path").get<std::string>().c_str(), std::array<timespec, 2>{}.data(), 0);
      }
      const ProcessResult pruned = pkgfs({"cache", "prune", "--older-than=1000d"}, login);
      EXPECT_TRUE(pruned.ok()) << pruned.describe();
      ++prunes;
    }
  });
  for (int i = 0; i < 10; ++i) {
    for (const std::string& each : {tag, name}) {
      const ProcessResult used = use(each);
      EXPECT_EQ(used.out, "one") << used.describe();
    }
  }
  done = true;
  pruning.join();
  EXPECT_GT(prunes, 1);
}

}  // namespace
}  // namespace pkgfs::test
