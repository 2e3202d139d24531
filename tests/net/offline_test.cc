// SPDX-License-Identifier: MIT
// Risk: a package that was downloaded can't be used without the network, or another one than the locked one is used.
#include <fstream>

#include <nlohmann/json.hpp>

#include "tests/net/net.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class Offline : public NetTest {
 protected:
  TestRegistry server_{{fixtures() / "registry/chain-v3"}};
  const std::string app_ = "acme/app@2.0.0";

  [[nodiscard]] ProcessResult tree(const Arguments& more = {}, const std::string& what = "acme/app@2.0.0") const {
    Arguments arguments{"tree", what, "--registry", server_.endpoint()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return pkgfs(arguments);
  }
  /// Gives every kept answer another age.
  void set_age_of_queries(std::int64_t seconds) const {
    for (const auto& file : fs::recursive_directory_iterator(cache() / "queries")) {
      if (file.is_regular_file()) {
        auto document = read_json(file.path());
        document["unix_timestamp"] = static_cast<std::int64_t>(std::time(nullptr)) - seconds;
        std::ofstream(file.path()) << document;
      }
    }
  }
};

TEST_F(Offline, SecondTimeNeedsNoNetwork) {
  if (!shell("unshare -n true").ok()) {
    GTEST_SKIP() << "no network namespace can be made here";
  }
  const ProcessResult first = tree();
  ASSERT_TRUE(first.ok()) << first.describe();
  server_.clear_requests();
  // A network namespace of its own has not even a loopback interface that is up.
  const std::string line = "unshare -n '" + kPkgfs + "' tree --offline --registry " + server_.endpoint() + " " + app_;
  const ProcessResult second = shell(line, {.environment = environment()});
  EXPECT_TRUE(second.ok()) << second.describe();
  EXPECT_EQ(first.out, second.out);
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(Offline, SecondMountByNameMakesNoConnection) {
  if (const std::string why = fuse_missing(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  ASSERT_TRUE(pkgfs({"pull", "acme/app@^2", "--registry", server_.endpoint()}).ok());
  server_.clear_requests();
  const fs::path mountpoint = home_.path() / "mnt";
  const std::string log = home_.path() / "calls";
  fs::create_directory(mountpoint);
  for (const bool offline : {false, true}) {
    Arguments arguments{"strace", "-f",          "-e",         "trace=network",    "-o",      log, kPkgfs,
                        "mount",  "acme/app@^2", "--registry", server_.endpoint(), mountpoint};
    if (offline) {
      arguments.emplace_back("--offline");
    }
    auto environment = this->environment();
    environment.emplace_back("ASAN_OPTIONS", "detect_leaks=0");  // it wants to be the tracer itself
    const MountGuard guard(mountpoint);
    Process traced(arguments, {.environment = environment});
    ASSERT_TRUE(eventually([&] { return find_mount(mountpoint).has_value(); })) << traced.err();
    EXPECT_FALSE(fs::is_empty(mountpoint));
    EXPECT_TRUE(pkgfs({"unmount", mountpoint}).ok());
    EXPECT_TRUE(traced.wait().ok()) << traced.wait().describe();
    const std::string calls = read_text(log);
    EXPECT_NE(calls.find("exited with 0"), std::string::npos) << "nothing was traced: " << calls;
    EXPECT_EQ(calls.find("AF_INET"), std::string::npos) << calls;
  }
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(Offline, NeverFetchedIsOneClearError) {
  const ProcessResult result = tree({"--offline"});
  EXPECT_EQ(result.exit_code, 11) << result.describe();
  EXPECT_NE(result.err.find("there is no cached answer for \"acme/app\""), std::string::npos) << result.describe();
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(Offline, ResolvedButNotFetchedNamesTheContainer) {
  ASSERT_TRUE(pkgfs({"resolve", app_, "--registry", server_.endpoint()}).ok());
  const ProcessResult result = tree({"--offline"});
  EXPECT_EQ(result.exit_code, 11) << result.describe();
  EXPECT_NE(result.err.find("isn't in the cache"), std::string::npos) << result.describe();
}

TEST_F(Offline, OldAnswersAreUsedWithTheirAge) {
  ASSERT_TRUE(tree().ok());
  set_age_of_queries(3 * 86400);
  const ProcessResult result = tree({"--offline"});
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_NE(result.err.find("is from 3 days ago"), std::string::npos) << result.describe();
}

TEST_F(Offline, RegistryThatIsDownIsReplacedByWhatItSaid) {
  ASSERT_TRUE(tree().ok());
  set_age_of_queries(7200);
  server_.stop();
  const ProcessResult result = tree();
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_NE(result.err.find("2 hours ago"), std::string::npos) << result.describe();
}

TEST_F(Offline, RegistryThatIsDownCostsOneWarning) {
  ASSERT_TRUE(tree().ok());
  set_age_of_queries(7200);
  server_.stop();
  const std::string err = tree().err;
  EXPECT_NE(err.find("can't be used"), std::string::npos) << err;
  EXPECT_EQ(err.find("can't be used"), err.rfind("can't be used")) << err;
}

TEST_F(Offline, WhatATokenMaySeeIsNotShownWithoutIt) {
  ASSERT_TRUE(tree({"--token", "secret"}).ok());
  EXPECT_TRUE(tree({"--offline", "--token", "secret"}).ok());
  EXPECT_EQ(tree({"--offline"}).exit_code, 11);
}

TEST_F(Offline, PortalPageIsNoAnswer) {
  ASSERT_TRUE(tree().ok());
  set_age_of_queries(7200);
  server_.set_fault({.kind = Fault::Kind::kHtml, .where = Fault::Where::kGraphql});
  const ProcessResult result = tree();
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_NE(result.err.find("Unable to deserialize the response"), std::string::npos) << result.describe();
}

TEST_F(Offline, ClockThatWasSetBackMeansAskingAgain) {
  ASSERT_TRUE(tree().ok());
  set_age_of_queries(-86400);
  server_.clear_requests();
  ASSERT_TRUE(tree().ok());
  EXPECT_EQ(count_graphql(server_), 3U);
  set_age_of_queries(-86400);
  const ProcessResult result = tree({"--offline"});
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_NE(result.err.find("an unknown time ago"), std::string::npos) << result.describe();
}

TEST_F(Offline, AnswerWithoutAMatchIsNotTrusted) {
  ASSERT_TRUE(pkgfs({"resolve", "acme/base@0.3.0", "--registry", server_.endpoint()}).ok());
  server_.add_package(chain_ / "acme/base/0.3.0.webc", "acme/base", "0.4.0");
  EXPECT_TRUE(pkgfs({"resolve", "acme/base@0.4.0", "--registry", server_.endpoint()}).ok());
}

TEST_F(Offline, BrokenQueryFilesAreReplaced) {
  ASSERT_TRUE(tree().ok());
  for (const auto& file : fs::recursive_directory_iterator(cache() / "queries")) {
    if (file.is_regular_file()) {
      fs::resize_file(file.path(), fs::file_size(file.path()) / 2);
    }
  }
  const ProcessResult result = tree();
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_NE(result.err.find("checking the local query cache"), std::string::npos) << result.describe();
  EXPECT_EQ(tree().err, "") << "replaced by good ones";
}

TEST_F(Offline, HashIsFoundInTheCacheAlone) {
  ASSERT_TRUE(tree().ok());
  const ProcessResult result = tree({"--offline"}, "sha256:" + server_.sha256("acme/base@0.3.0"));
  EXPECT_TRUE(result.ok()) << result.describe();
}

class Lock : public Offline {
 protected:
  [[nodiscard]] std::string lock() const { return home_.path() / "app.lock"; }
  /// The registry is named, because the lock file alone may lead to no server of this machine.
  [[nodiscard]] ProcessResult locked_tree(const std::string& package) const {
    return pkgfs({"tree", "--lock", lock(), package, "--registry", server_.endpoint()});
  }
  void SetUp() override {
    Offline::SetUp();
    if (!IsSkipped()) {
      const ProcessResult written =
          pkgfs({"resolve", "--lock", lock(), "acme/app@2", "--registry", server_.endpoint()});
      ASSERT_TRUE(written.ok()) << written.describe();
    }
  }
};

TEST_F(Lock, NamesIdsHashesUrlsAndEdges) {
  const auto document = read_json(lock());
  const auto& packages = document.at("packages");
  ASSERT_EQ(packages.size(), 3U);
  EXPECT_EQ(packages[0].at("id"), app_);
  EXPECT_EQ(packages[0].at("sha256"), server_.sha256(app_));
  EXPECT_EQ(packages[0].at("url"), server_.file_url(app_));
  EXPECT_EQ(packages[0].at("dependencies")[0].at("id"), "acme/lib@1.0.0");
}

TEST_F(Lock, MayBeReadLikeAnyFile) {
  EXPECT_EQ(fs::status(lock()).permissions(), fs::status(home_.write("plain", "")).permissions());
}

TEST_F(Lock, KeepsWhatWasChosen) {
  const ProcessResult before = tree();
  ASSERT_TRUE(before.ok());
  server_.add_package(chain_ / "acme/base/0.3.0.webc", "acme/app", "2.9.0");
  server_.clear_requests();
  const ProcessResult locked = locked_tree("acme/app@2");
  ASSERT_TRUE(locked.ok()) << locked.describe();
  EXPECT_EQ(locked.out, before.out);
  EXPECT_EQ(count_graphql(server_), 0U);
  EXPECT_NE(pkgfs({"resolve", "acme/app@2", "--registry", server_.endpoint(), "--cache-dir", home_.path() / "other"})
                .out.find("acme/app@2.9.0"),
            std::string::npos)
      << "without the lock the new one is taken";
}

TEST_F(Lock, NamesUrlsAlsoOfWhatTheCacheHas) {
  ASSERT_TRUE(tree().ok());
  const std::string hash = "sha256:" + server_.sha256("acme/base@0.3.0");
  ASSERT_TRUE(pkgfs({"resolve", "--lock", lock(), hash, "--registry", server_.endpoint()}).ok());
  EXPECT_EQ(read_json(lock()).at("packages")[0].at("url"), server_.file_url("acme/base@0.3.0"));
  fs::remove_all(cache());
  EXPECT_TRUE(locked_tree(hash).ok());
}

TEST_F(Lock, WhatWasFetchedByItsUrlIsNotFetchedAgain) {
  const std::string url = server_.file_url("acme/base@0.3.0");
  const ProcessResult written = pkgfs({"resolve", "--lock", lock(), url});
  ASSERT_TRUE(written.ok()) << written.describe();
  server_.clear_requests();
  EXPECT_TRUE(pkgfs({"tree", "--lock", lock(), url}).ok());
  EXPECT_EQ(count_files(server_), 0U);
  const ProcessResult offline = pkgfs({"pull", "--offline", "--lock", lock(), url});
  EXPECT_TRUE(offline.ok()) << offline.describe();
  EXPECT_NE(offline.out.find(cache() / "downloads"), std::string::npos) << offline.describe();
  for (const auto& file : fs::directory_iterator(cache() / "downloads")) {
    if (file.is_regular_file() && file.path().extension() != ".etag") {
      std::ofstream(file.path(), std::ios::app) << "more";
    }
  }
  EXPECT_TRUE(pkgfs({"tree", "--lock", lock(), url}).ok());
  EXPECT_EQ(count_files(server_), 1U) << "another content isn't what was locked";
}

TEST_F(Lock, OtherContentIsRefused) {
  server_.set_fault({.kind = Fault::Kind::kWrongBytes, .where = Fault::Where::kFiles, .match = "acme/lib@1.0.0"});
  const ProcessResult result = locked_tree(app_);
  EXPECT_EQ(result.exit_code, 4) << result.describe();
  EXPECT_NE(result.err.find("image hash mismatch"), std::string::npos) << result.describe();
}

TEST_F(Lock, IsForOnePackage) {
  const ProcessResult result = locked_tree("acme/base@0.3.0");
  EXPECT_EQ(result.exit_code, 2) << result.describe();
}

TEST_F(Lock, NonsenseIsRefusedByName) {
  const std::string good = read_text(lock());
  for (std::size_t cut = 0; cut < good.size(); cut += good.size() / 37 + 1) {
    std::ofstream(lock()) << good.substr(0, cut);
    const ProcessResult result = locked_tree(app_);
    EXPECT_EQ(result.exit_code, 4) << cut << result.describe();
    EXPECT_NE(result.err.find(lock()), std::string::npos) << result.describe();
  }
}

TEST_F(Lock, LocalFilesAreLockedByContent) {
  const fs::path copy = home_.path() / "r";
  fs::copy(chain_, copy, fs::copy_options::recursive);
  ASSERT_TRUE(pkgfs({"resolve", "--lock", lock(), app_, "--registry", copy}).ok());
  ASSERT_TRUE(locked_tree(app_).ok());
  fs::copy_file(copy / "acme/base/0.3.0.webc", copy / "acme/lib/1.0.0.webc", fs::copy_options::overwrite_existing);
  const ProcessResult result = locked_tree(app_);
  EXPECT_EQ(result.exit_code, 4) << result.describe();
  EXPECT_NE(result.err.find("has changed since it was locked"), std::string::npos) << result.describe();
}

}  // namespace
}  // namespace pkgfs::test
